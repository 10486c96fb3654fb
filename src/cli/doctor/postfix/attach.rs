//! Whether Postfix asks us, in which order, and what it does while we are away. Pure.

use std::path::Path;

use super::{
    super::check::Check,
    milters,
    settings::{Service, Settings},
};
use crate::config::{Listen, ListenAddress};

/// An smtpd that asks one of our listeners.
pub struct Attached<'a> {
    pub service: &'a Service,
    pub listen: ListenAddress,
    /// Place in the list, from 1, and the list's length.
    place: (usize, usize),
    /// What becomes of mail while we are away.
    action: &'a str,
}

/// Every smtpd that asks us.
pub fn find<'a>(settings: &'a Settings, listeners: &[&Listen]) -> Vec<Attached<'a>> {
    let queue = Path::new(settings.main("queue_directory"));
    let attached = settings.smtpds().filter_map(|service| {
        let list = list(settings, service);
        list.iter().enumerate().find_map(|(at, milter)| {
            let listen = listeners.iter().find(|listen| {
                milters::leads_to(milter.address, &listen.address, service.chroot, queue)
            })?;
            let general = settings.of(service, "milter_default_action");
            Some(Attached {
                service,
                listen: listen.address.clone(),
                place: (at + 1, list.len()),
                action: milter.default_action.unwrap_or(general),
            })
        })
    });
    attached.collect()
}

fn list<'a>(settings: &'a Settings, service: &'a Service) -> Vec<milters::Milter<'a>> {
    let overrides = settings.of(service, "receive_override_options");
    if milters::elements(overrides).any(|option| option == "no_milters") {
        return Vec::new();
    }
    milters::read(settings.of(service, "smtpd_milters"))
}

/// Whether mail is let in unseen while we are away.
pub fn fails_open(settings: &Settings, attached: &[Attached<'_>]) -> bool {
    if attached.is_empty() {
        return settings.main("milter_default_action") == "accept";
    }
    attached.iter().any(|by| by.action == "accept")
}

/// Judges who asks us and how.
pub fn judge(settings: &Settings, listeners: &[&Listen], attached: &[Attached<'_>]) -> Vec<Check> {
    if attached.is_empty() {
        return vec![judge_missing(settings, listeners)];
    }
    let mut checks = Vec::new();
    for by in attached {
        checks.push(judge_order(by));
        checks.push(judge_action(by));
        if !settings.of(by.service, "smtpd_proxy_filter").is_empty() {
            checks.push(Check::problem(
                "milters",
                format!(
                    "{} has smtpd_proxy_filter and shows us no message",
                    by.service.name
                ),
                "name the milter at the smtpd behind the filter, and at no other",
            ));
        }
    }
    checks.extend(judge_local(settings, listeners));
    checks
}

/// Nobody asks us; mostly it is the path.
fn judge_missing(settings: &Settings, listeners: &[&Listen]) -> Check {
    let queue = Path::new(settings.main("queue_directory"));
    let Some(listen) = listeners.first() else {
        return Check::warning(
            "milters",
            "no listener is for Postfix",
            "add a [[listen]] without peer, or leave Postfix out",
        );
    };
    for service in settings.smtpds() {
        for milter in list(settings, service) {
            // It would be found by a service with or without a chroot.
            let near = listeners.iter().find(|listen| {
                milters::leads_to(milter.address, &listen.address, !service.chroot, queue)
            });
            if let Some(listen) = near {
                return misnamed(service, milter.address, listen, queue);
            }
        }
    }
    let chroot = settings.smtpds().next().is_some_and(|smtpd| smtpd.chroot);
    let next = match milters::name(&listen.address, chroot, queue) {
        Some(name) => format!(
            "postconf -e 'smtpd_milters = {{ {name}, connect_timeout=5s, default_action=accept }}' \
             (add to what is there), and postfix reload"
        ),
        None => out_of_reach(queue),
    };
    Check::problem(
        "milters",
        "no smtpd of Postfix has one of our listeners in its smtpd_milters",
        next,
    )
}

fn misnamed(service: &Service, address: &str, listen: &Listen, queue: &Path) -> Check {
    let (name, chroot) = (&service.name, service.chroot);
    let confined = if chroot {
        "is chrooted"
    } else {
        "is not chrooted"
    };
    let looked = milters::socket(address, chroot, queue).unwrap_or_default();
    Check::problem(
        "milters",
        format!(
            "{name} {confined} and looks for {address} at {}, we listen at {}",
            looked.display(),
            listen.address
        ),
        match milters::name(&listen.address, chroot, queue) {
            Some(right) => format!("write {right} in its smtpd_milters"),
            None => out_of_reach(queue),
        },
    )
}

fn out_of_reach(queue: &Path) -> String {
    format!(
        "smtpd is chrooted: listen below {}, such as unix:{0}/rua-milter/rua.sock, or by inet",
        queue.display()
    )
}

fn judge_order(by: &Attached<'_>) -> Check {
    let (at, of) = by.place;
    let says = format!(
        "{} asks {} as milter {at} of {of}",
        by.service.name, by.listen
    );
    if at == of {
        Check::ok("milters", says)
    } else {
        Check::warning(
            "milters",
            says,
            "list it behind those that verify (OpenDKIM, OpenDMARC): their Authentication-Results \
             are kept with the report",
        )
    }
}

fn judge_action(by: &Attached<'_>) -> Check {
    let (name, action) = (&by.service.name, by.action);
    let says = |what| format!("while rua-milter is away {name} {what} (default_action={action})");
    match action {
        "tempfail" | "shutdown" => Check::ok("away", says("lets all mail wait outside")),
        "accept" => Check::ok("away", says("takes reports unseen, and the sink decides")),
        "quarantine" => Check::warning(
            "away",
            says("puts all mail on hold"),
            "set default_action=tempfail on an smtpd of its own, accept on a shared one",
        ),
        _ => Check::problem(
            "away",
            says("refuses all mail for good"),
            "set default_action=tempfail on an smtpd of its own, accept on a shared one",
        ),
    }
}

/// `non_smtpd_milters` need not be set; if it is, it should be known what that means.
fn judge_local(settings: &Settings, listeners: &[&Listen]) -> Option<Check> {
    let queue = Path::new(settings.main("queue_directory"));
    let cleanup = settings
        .services
        .iter()
        .find(|service| service.command == "cleanup");
    let chroot = cleanup.is_some_and(|service| service.chroot);
    let list = milters::read(settings.main("non_smtpd_milters"));
    let ours = list.iter().any(|milter| {
        let mut listeners = listeners.iter();
        listeners.any(|listen| milters::leads_to(milter.address, &listen.address, chroot, queue))
    });
    ours.then(|| {
        Check::ok(
            "milters",
            "mail of local programs is shown to us too (non_smtpd_milters): what would be refused is \
             parked",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terms::Health;

    fn settings(main: &str, chroot: &str, overrides: &str) -> Settings {
        let main = format!(
            "queue_directory = /var/spool/postfix\nmilter_default_action = tempfail\n{main}\n"
        );
        let master =
            format!("smtp inet n - {chroot} - - smtpd\ncleanup unix n - {chroot} - 0 cleanup");
        Settings::read(&main, &master, overrides)
    }

    fn checks(settings: &Settings, path: &str) -> Vec<Check> {
        let listen = Listen {
            address: ListenAddress::Unix {
                path: path.into(),
                mode: 0o660,
                group: None,
            },
            ..Listen::default()
        };
        let attached = find(settings, &[&listen]);
        judge(settings, &[&listen], &attached)
    }

    const BELOW: &str = "/var/spool/postfix/rua-milter/rua.sock";

    #[test]
    fn attached_as_recommended_all_is_well() {
        for action in ["accept", "tempfail"] {
            let main = format!(
                "smtpd_milters = inet:localhost:1, {{ unix:/rua-milter/rua.sock, default_action={action} }}"
            );
            let checks = checks(&settings(&main, "y", ""), BELOW);
            assert_eq!(checks.len(), 2);
            assert!(
                checks.iter().all(|check| check.state == Health::Ok),
                "{checks:?}"
            );
        }
    }

    #[test]
    fn a_path_from_the_wrong_root_is_named_with_the_right_one() {
        let whole = format!("smtpd_milters = unix:{BELOW}");
        for (main, chroot, right) in [
            (whole.as_str(), "y", "write unix:/rua-milter/rua.sock in"),
            (
                "smtpd_milters = unix:/rua-milter/rua.sock",
                "n",
                "write unix:/var/spool/postfix/rua-milter/rua.sock in",
            ),
        ] {
            let checks = checks(&settings(main, chroot, ""), BELOW);
            let next = checks[0].next.as_deref().unwrap_or_default();
            assert_eq!(checks[0].state, Health::Problem);
            assert!(next.starts_with(right), "{next}");
        }
    }

    #[test]
    fn a_socket_out_of_the_chroot_has_to_move() {
        for main in ["", "smtpd_milters = unix:/run/rua-milter/rua.sock"] {
            let checks = checks(&settings(main, "y", ""), "/run/rua-milter/rua.sock");
            let next = checks[0].next.as_deref().unwrap_or_default();
            assert!(next.contains("listen below /var/spool/postfix"), "{next}");
        }
    }

    #[test]
    fn order_action_and_filters_are_judged() {
        let state = |main: &str, overrides: &str| {
            let checks = checks(&settings(main, "y", overrides), BELOW);
            checks.iter().map(|check| check.state).collect::<Vec<_>>()
        };
        let (fine, warning, problem) = (Health::Ok, Health::Warning, Health::Problem);
        let ours = "unix:/rua-milter/rua.sock";
        let first = format!("smtpd_milters = {ours}, inet:localhost:1");
        assert_eq!(state(&first, ""), [warning, fine]);
        let reject = format!("smtpd_milters = {{ {ours}, default_action=reject }}");
        assert_eq!(state(&reject, ""), [fine, problem]);
        let held = format!("smtpd_milters = {ours}\nmilter_default_action = quarantine");
        assert_eq!(state(&held, ""), [fine, warning]);
        let filtered = format!("smtpd_milters = {ours}\nsmtpd_proxy_filter = 127.0.0.1:10024");
        assert_eq!(state(&filtered, ""), [fine, fine, problem]);
        let local = format!("smtpd_milters = {ours}\nnon_smtpd_milters = {ours}");
        assert_eq!(state(&local, ""), [fine, fine, fine]);
        let plain = format!("smtpd_milters = {ours}");
        for overrides in [
            "smtp/inet/receive_override_options = no_milters",
            "smtp/inet/smtpd_milters =",
        ] {
            assert_eq!(state(&plain, overrides), [problem]);
        }
        assert_eq!(state("", ""), [problem]);
    }
}
