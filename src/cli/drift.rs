//! `drift`: looks published records up now, and prints what is amiss.
//!
//! It needs no store, and no configuration when domains are named: then it says what is wrong
//! with a record by itself. What is configured of a domain is compared as well.

use std::{
    io::Write,
    net::{IpAddr, SocketAddr},
    process::ExitCode,
    sync::Arc,
};

use anyhow::{Context, bail};
use tokio::{sync::Semaphore, task::JoinSet};

use crate::{
    config::{self, Config},
    dns::{Answer, Finding, lookup::Resolver, printable},
    domain::Domain,
    drift::compare::{self, Expected},
    limits,
    terms::{DnsOutcome, DnsTrouble, Severity},
};

/// The command's arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Domains to look up [default: every configured domain]
    #[arg(value_parser = domain)]
    pub domains: Vec<Domain>,
    /// Print one JSON object a line for each domain
    #[arg(long)]
    pub json: bool,
    /// How to print, and which exit codes to use
    #[arg(long, value_enum, default_value_t = Format::Text, conflicts_with = "json")]
    pub format: Format,
    /// Ask this DNS server (ADDRESS or ADDRESS:PORT) instead; may be repeated
    #[arg(long, value_name = "ADDRESS", value_parser = server)]
    pub server: Vec<SocketAddr>,
}

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people. Exit code: 0 no finding, 1 findings, 3 unknown
    Text,
    /// For Nagios and its kin. Exit code: 0 no finding, 1 low or medium, 2 high, 3 unknown
    Nagios,
}

fn domain(text: &str) -> Result<Domain, &'static str> {
    Domain::parse(text).ok_or("not a domain name")
}

fn server(text: &str) -> Result<SocketAddr, &'static str> {
    let bare = || text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53));
    text.parse()
        .or_else(|_| bare())
        .map_err(|_| "not an IP address, or one with a port")
}

/// What is known of one domain.
#[derive(serde::Serialize)]
struct Checked {
    domain: Domain,
    outcome: DnsOutcome,
    /// Why nothing is known.
    trouble: Option<&'static str>,
    ttl: u32,
    /// The TXT records, escaped where they are not printable ASCII.
    texts: Vec<String>,
    findings: Vec<Finding>,
    /// What to publish instead.
    publish: Option<String>,
}

/// Looks up, compares and prints. Fails if no question could be asked at all.
pub async fn run(
    args: Args,
    config: Option<&Config>,
    out: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    let checked = check(&args, config).await?;
    match (args.json, args.format) {
        (true, _) => json(&checked, out),
        (false, Format::Text) => checked.iter().try_for_each(|one| text(one, out)),
        (false, Format::Nagios) => nagios(&checked, out),
    }
    .context("printing the findings")?;
    Ok(ExitCode::from(exit_code(&checked, args.format)))
}

async fn check(args: &Args, config: Option<&Config>) -> anyhow::Result<Vec<Checked>> {
    let mut domains = args.domains.clone();
    if domains.is_empty() {
        let configured = config.into_iter().flat_map(|config| config.domains.iter());
        domains.extend(configured.map(|entry| entry.name.clone()));
    }
    domains.sort();
    domains.dedup();
    if domains.is_empty() {
        bail!("no domains: name some, or a configuration that lists them");
    }
    let default = config::Dns::default();
    let dns = config.map_or(&default, |config| &config.dns);
    let servers = match args.server.as_slice() {
        [] => &dns.servers,
        given => given,
    };
    let resolver = Resolver::new(servers, dns.timeout)?;
    let answers = look_up(&resolver, &domains).await?;
    let checked = |(domain, answer)| {
        let list = config.map(|config| &config.domains);
        let entry = list.and_then(|list| Some((list, list.get(&domain)?)));
        let expected = entry.map_or_else(Expected::default, |(list, e)| Expected::of(list, e));
        judge(domain, &expected, &answer)
    };
    Ok(answers.into_iter().map(checked).collect())
}

/// The answers in the order of `domains`.
async fn look_up(resolver: &Resolver, domains: &[Domain]) -> anyhow::Result<Vec<(Domain, Answer)>> {
    let room = Arc::new(Semaphore::new(limits::DNS_CONCURRENCY));
    let mut looks = JoinSet::new();
    let mut answers = Vec::with_capacity(domains.len());
    for domain in domains.iter().cloned() {
        let permit = room.clone().acquire_owned().await?;
        let resolver = resolver.clone();
        looks.spawn(async move {
            let answer = resolver.txt(&format!("_dmarc.{domain}")).await;
            drop(permit);
            (domain, answer)
        });
    }
    while let Some(look) = looks.join_next().await {
        answers.push(look.context("a lookup ended badly")?);
    }
    answers.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(answers)
}

fn judge(domain: Domain, expected: &Expected<'_>, answer: &Answer) -> Checked {
    let findings = compare::published(&domain, expected, answer).unwrap_or_default();
    let advice = || compare::advice(expected, answer);
    Checked {
        publish: if findings.is_empty() { None } else { advice() },
        domain,
        outcome: answer.outcome,
        trouble: answer.detail.map(DnsTrouble::as_str),
        ttl: answer.ttl,
        texts: answer.texts.iter().map(|t| printable(t).into()).collect(),
        findings,
    }
}

fn exit_code(checked: &[Checked], format: Format) -> u8 {
    let worst = checked
        .iter()
        .flat_map(|one| one.findings.iter().map(|finding| finding.severity))
        .max();
    let unknown = checked.iter().any(|one| one.outcome == DnsOutcome::Unknown);
    match worst {
        Some(Severity::High) if format == Format::Nagios => 2,
        Some(_) => 1,
        None if unknown => 3,
        None => 0,
    }
}

fn json(checked: &[Checked], out: &mut dyn Write) -> anyhow::Result<()> {
    for one in checked {
        serde_json::to_writer(&mut *out, one)?;
        writeln!(out)?;
    }
    Ok(())
}

fn text(one: &Checked, out: &mut dyn Write) -> anyhow::Result<()> {
    let state = match (one.outcome, one.findings.len()) {
        (DnsOutcome::Unknown, _) => format!("unknown: {}", one.trouble.unwrap_or_default()),
        (_, 0) => "ok".to_owned(),
        (_, 1) => "1 finding".to_owned(),
        (_, number) => format!("{number} findings"),
    };
    writeln!(out, "{}: {state}", one.domain)?;
    for record in &one.texts {
        writeln!(out, "  published       {record}")?;
    }
    if one.texts.is_empty() && one.outcome != DnsOutcome::Unknown {
        writeln!(out, "  published       nothing ({})", one.outcome)?;
    }
    for finding in &one.findings {
        let Finding {
            kind,
            severity,
            detail,
            ..
        } = finding;
        writeln!(out, "  {severity:<6}  {kind:<16}  {detail}")?;
    }
    if let Some(record) = &one.publish {
        writeln!(out, "  publish instead {record}")?;
    }
    Ok(())
}

/// The first line is what a monitor shows; the rest is for who looks closer.
fn nagios(checked: &[Checked], out: &mut dyn Write) -> anyhow::Result<()> {
    let state = match exit_code(checked, Format::Nagios) {
        0 => "OK",
        1 => "WARNING",
        2 => "CRITICAL",
        _ => "UNKNOWN",
    };
    let unknown = checked
        .iter()
        .filter(|one| one.outcome == DnsOutcome::Unknown);
    let (unknown, domains) = (unknown.count(), checked.len());
    let findings: usize = checked.iter().map(|one| one.findings.len()).sum();
    writeln!(
        out,
        "DMARC {state} - {domains} domains, {findings} findings, {unknown} unknown \
         | findings={findings} unknown={unknown}"
    )?;
    for one in checked {
        if let Some(trouble) = one.trouble {
            writeln!(out, "{} unknown: {trouble}", one.domain)?;
        }
        for Finding {
            kind,
            severity,
            detail,
            ..
        } in &one.findings
        {
            writeln!(out, "{} {severity} {kind}: {detail}", one.domain)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terms::FindingKind;

    fn checked(answer: &Answer) -> Checked {
        let domain = Domain::parse("example.com").unwrap();
        judge(domain, &Expected::default(), answer)
    }

    fn codes(answers: &[Answer]) -> (u8, u8) {
        let checked: Vec<_> = answers.iter().map(checked).collect();
        (
            exit_code(&checked, Format::Text),
            exit_code(&checked, Format::Nagios),
        )
    }

    #[test]
    fn the_exit_code_is_the_worst_that_is_known() {
        let good = Answer::found(vec![b"v=DMARC1; p=none".to_vec()], 60);
        let low = Answer::found(vec![b"v=DMARC1; p=none; x=y".to_vec()], 60);
        let high = Answer::absent(DnsOutcome::NxDomain, 60);
        let unknown = Answer::unknown(DnsTrouble::Timeout);
        assert_eq!(codes(std::slice::from_ref(&good)), (0, 0));
        assert_eq!(codes(std::slice::from_ref(&unknown)), (3, 3));
        assert_eq!(codes(&[good.clone(), unknown.clone()]), (3, 3));
        assert_eq!(codes(&[low.clone(), unknown.clone()]), (1, 1));
        assert_eq!(codes(&[good, low, unknown, high]), (1, 2));
    }

    #[test]
    fn a_record_is_shown_with_what_is_amiss_and_escaped() {
        let answer = Answer::found(vec![b"v=DMARC1; p=none; x=\x1b[1m".to_vec()], 60);
        let one = checked(&answer);
        assert_eq!(one.findings[0].kind, FindingKind::RecordSyntax);
        let mut out = Vec::new();
        text(&one, &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "example.com: 1 finding\n  published       v=DMARC1; p=none; x=\\x1b[1m\n  \
             low     record_syntax     an unknown tag at byte 18\n  \
             publish instead v=DMARC1; p=none\n"
        );
    }

    #[test]
    fn a_server_may_have_a_port() {
        let read = |text| server(text).map(|address| address.to_string());
        assert_eq!(read("127.0.0.1").as_deref(), Ok("127.0.0.1:53"));
        assert_eq!(read("::1").as_deref(), Ok("[::1]:53"));
        assert_eq!(read("[::1]:5353").as_deref(), Ok("[::1]:5353"));
        assert!(read("ns.example").is_err());
    }
}
