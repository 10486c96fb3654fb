//! Postfix's limits beside ours, and what it makes of bare newlines. Pure.

use super::{super::check::Check, attach::Attached, settings::Settings};
use crate::config::Config;

/// RFC 7489 section 8: a report of 10 MB has to be received.
const SMALLEST: u64 = 10 << 20;

/// Judges the settings that hold for all mail, and those of the smtpds that ask us.
pub fn judge(settings: &Settings, config: &Config, attached: &[Attached<'_>]) -> Vec<Check> {
    let mut checks = vec![
        judge_size(
            settings.main("message_size_limit"),
            config.limits.max_message as u64,
        ),
        judge_newline(settings.main("smtpd_forbid_bare_newline")),
    ];
    if !attached.is_empty() {
        let processes = attached.iter().map(|by| by.service.processes);
        checks.push(judge_processes(
            // One without a limit makes all of them unlimited.
            processes
                .clone()
                .all(|most| most > 0)
                .then(|| processes.sum()),
            config.milter.max_connections,
        ));
        checks.extend(attached.iter().filter_map(|by| {
            let most = settings.of(by.service, "smtpd_client_connection_count_limit");
            judge_client(&by.service.name, most, by.service.processes)
        }));
    }
    checks
}

fn judge_size(postfix: &str, ours: u64) -> Check {
    let Ok(limit) = postfix.parse::<u64>() else {
        return Check::unknown(
            "size",
            "message_size_limit is not known",
            "postconf message_size_limit",
        );
    };
    let says = format!("Postfix takes messages up to {limit} bytes, we up to {ours}");
    // Zero is no limit.
    if limit == 0 || limit >= ours || limit >= 2 * SMALLEST {
        Check::ok("size", says)
    } else {
        Check::warning(
            "size",
            format!("{says}: larger reports never get to us"),
            format!("postconf -e message_size_limit={}", ours.max(SMALLEST)),
        )
    }
}

fn judge_newline(postfix: &str) -> Check {
    let next = "postconf -e smtpd_forbid_bare_newline=yes";
    match postfix {
        "normalize" | "yes" | "reject" => Check::ok(
            "newline",
            format!("bare newlines end no message (smtpd_forbid_bare_newline={postfix})"),
        ),
        "" => Check::warning(
            "newline",
            "this Postfix does not know smtpd_forbid_bare_newline: mail can be smuggled in under \
             another sender (CVE-2023-51764)",
            "update Postfix to 3.5.23, 3.6.13, 3.7.9, 3.8.4 or later, or as the distribution patched it",
        ),
        other => Check::warning(
            "newline",
            format!(
                "mail can be smuggled in under another sender (CVE-2023-51764; \
                 smtpd_forbid_bare_newline={other})"
            ),
            next,
        ),
    }
}

fn judge_processes(smtpds: Option<usize>, ours: usize) -> Check {
    let says = match smtpds {
        Some(most) => format!("up to {most} processes of Postfix ask us"),
        None => "any number of processes of Postfix ask us".to_owned(),
    };
    let says = format!("{says}, milter.max_connections is {ours}");
    if smtpds.is_some_and(|most| most <= ours) {
        Check::ok("connections", says)
    } else {
        Check::warning(
            "connections",
            format!("{says}: what is above it waits"),
            "raise milter.max_connections, or limit the processes in master.cf",
        )
    }
}

/// One busy or hostile client should not hold every process.
fn judge_client(service: &str, limit: &str, processes: usize) -> Option<Check> {
    let limit: usize = limit.parse().ok()?;
    let all = limit == 0 || (processes > 0 && limit >= processes);
    all.then(|| {
        Check::warning(
            "connections",
            format!(
                "one client may hold all {processes} processes of {service} \
                 (smtpd_client_connection_count_limit={limit})"
            ),
            format!(
                "set smtpd_client_connection_count_limit to {}",
                (processes / 2).max(1)
            ),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terms::Health;

    #[test]
    fn a_limit_below_ours_is_told() {
        let ours = 20 << 20;
        let state = |limit: &str| judge_size(limit, ours).state;
        assert_eq!(state("52428800"), Health::Ok);
        assert_eq!(state("20971520"), Health::Ok);
        assert_eq!(state("0"), Health::Ok);
        assert_eq!(state("10240000"), Health::Warning);
        assert_eq!(state(""), Health::Unknown);
    }

    #[test]
    fn bare_newlines_have_to_be_forbidden() {
        for value in ["normalize", "yes", "reject"] {
            assert_eq!(judge_newline(value).state, Health::Ok);
        }
        for value in ["no", "note", ""] {
            assert_eq!(judge_newline(value).state, Health::Warning);
        }
    }

    #[test]
    fn postfix_may_ask_as_often_as_we_answer() {
        assert_eq!(judge_processes(Some(100), 500).state, Health::Ok);
        assert_eq!(judge_processes(Some(501), 500).state, Health::Warning);
        assert_eq!(judge_processes(None, 500).state, Health::Warning);
        assert!(judge_client("smtp/inet", "50", 100).is_none());
        assert!(judge_client("smtp/inet", "50", 0).is_none());
        assert!(judge_client("smtp/inet", "0", 100).is_some());
        assert!(judge_client("smtp/inet", "50", 50).is_some());
    }
}
