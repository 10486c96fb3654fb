//! `drift`: looks published records up now, and prints what is amiss.
//!
//! It needs no store, and no configuration when domains are named: then it says what is wrong
//! with a record by itself. What is configured of a domain is compared as well, and what the daemon
//! found in reports is shown beside it.

pub mod history;
pub mod reported;
mod stored;

use std::{
    io::Write,
    net::{IpAddr, SocketAddr},
    process::ExitCode,
    sync::Arc,
};

use anyhow::{Context, bail};
use tokio::{sync::Semaphore, task::JoinSet};

use super::escape;
use crate::{
    cli::{progress::Progress, rows::minute},
    config::{self, Config},
    dns::{
        Finding,
        lookup::Resolver,
        printable,
        psl::SuffixList,
        record::{self, Parsed},
    },
    domain::Domain,
    drift::{
        advice,
        expected::Expected,
        look::look,
        published::{self, Seen},
    },
    limits,
    store::Reader,
    terms::{DnsOutcome, DnsTrouble, FindingKind, Severity},
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
    /// Look nothing up: show what the daemon saw published, and when
    #[arg(long, requires = "domains", conflicts_with_all = ["server", "format"])]
    pub history: bool,
    /// Look nothing up: show each report of the last month beside what was published
    #[arg(long, requires = "domains", conflicts_with_all = ["server", "format", "history"])]
    pub reported: bool,
}

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people. Exit code: 0 nothing amiss, 1 findings of low severity or more, 3 unknown
    Text,
    /// For Nagios and its kin. Exit code: 0 nothing amiss, 1 low or medium, 2 high, 3 unknown
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
    /// Places in them that could be better.
    lint: Vec<Lint>,
    findings: Vec<Shown>,
    /// Kinds of finding of which nothing is known, as a lookup that matters said nothing.
    undecided: Vec<FindingKind>,
    /// What to publish instead.
    publish: Option<String>,
}

/// A finding and what to do about it.
#[derive(serde::Serialize)]
struct Shown {
    #[serde(flatten)]
    finding: Finding,
    next_step: &'static str,
    /// Since when the daemon knows of it, UTC epoch seconds.
    first_seen: Option<i64>,
    /// When it last confirmed it.
    last_seen: Option<i64>,
}

/// One place in a DMARC record.
#[derive(serde::Serialize)]
struct Lint {
    /// Which of the texts.
    text: usize,
    /// Its bytes, from the first to the one behind the last.
    from: usize,
    to: usize,
    message: String,
    /// What should stand there; empty: nothing, not even the separator.
    better: Option<String>,
}

/// Looks up, compares and prints, with what `reader` knows of before. Fails if no question could be asked at all.
pub async fn run(
    args: Args,
    config: Option<&Config>,
    reader: Option<&Reader>,
    out: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    let mut checked = check(&args, config).await?;
    for one in &mut checked {
        if let Some(reader) = reader {
            stored::add(reader, &one.domain, &mut one.findings)?;
        }
    }
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
    let resolver = Resolver::new(servers, dns.timeout, dns.queries_per_second)?;
    let suffixes = dns
        .suffix_list()
        .context("reading the Public Suffix List")?;
    let checked = |seen: Seen| {
        let list = config.map(|config| &config.domains);
        let entry = list.and_then(|list| Some((list, list.get(&seen.domain)?)));
        let expected = entry.map_or_else(Expected::default, |(list, e)| Expected::of(list, e));
        judge(seen, &expected, suffixes.as_ref())
    };
    let looks = look_up(&resolver, domains).await?;
    Ok(looks.into_iter().map(checked).collect())
}

/// What is seen, in the order of `domains`.
async fn look_up(resolver: &Resolver, domains: Vec<Domain>) -> anyhow::Result<Vec<Seen>> {
    let room = Arc::new(Semaphore::new(limits::DNS_CONCURRENCY));
    let bar = Progress::of("domains", Some(domains.len() as u64));
    let mut looks = JoinSet::new();
    let mut seen = Vec::with_capacity(domains.len());
    for domain in domains {
        let permit = room.clone().acquire_owned().await?;
        while let Some(look) = looks.try_join_next() {
            seen.push(look.context("a lookup ended badly")?);
            bar.add(1);
        }
        let resolver = resolver.clone();
        looks.spawn(async move {
            let seen = look(&resolver, &domain).await;
            drop(permit);
            seen
        });
    }
    while let Some(look) = looks.join_next().await {
        seen.push(look.context("a lookup ended badly")?);
        bar.add(1);
    }
    seen.sort_by(|a, b| a.domain.cmp(&b.domain));
    Ok(seen)
}

fn judge(seen: Seen, expected: &Expected<'_>, suffixes: Option<&SuffixList>) -> Checked {
    let judged = published::judge(&seen, expected, suffixes);
    let shown = |finding: Finding| Shown {
        next_step: advice::next_step(finding.kind),
        finding,
        first_seen: None,
        last_seen: None,
    };
    let place = Domain::parse(&format!("_dmarc.{}", seen.domain));
    let mut publish = judged
        .findings
        .iter()
        .filter_map(|finding| finding.publish.as_ref());
    let publish = publish.find(|publish| Some(&publish.name) == place.as_ref());
    let answer = &seen.answer;
    Checked {
        publish: publish.map(|publish| publish.text.clone()),
        outcome: answer.outcome,
        trouble: answer.detail.map(DnsTrouble::as_str),
        ttl: answer.ttl,
        texts: answer.texts.iter().map(|t| printable(t).into()).collect(),
        lint: lint(&answer.texts),
        findings: judged.findings.into_iter().map(shown).collect(),
        undecided: judged.undecided,
        domain: seen.domain,
    }
}

fn lint(texts: &[Vec<u8>]) -> Vec<Lint> {
    let mut lint = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        let Parsed::Dmarc(record) = record::parse(text) else {
            continue;
        };
        lint.extend(record.problems.into_iter().map(|problem| Lint {
            text: index,
            from: problem.at.start,
            to: problem.at.end,
            message: problem.to_string(),
            better: problem.better,
        }));
    }
    lint
}

fn exit_code(checked: &[Checked], format: Format) -> u8 {
    let worst = checked
        .iter()
        .flat_map(|one| one.findings.iter().map(|shown| shown.finding.severity))
        .max();
    match worst {
        Some(Severity::High) if format == Format::Nagios => 2,
        Some(Severity::Low | Severity::Medium | Severity::High) => 1,
        _ if checked.iter().any(Checked::is_unknown) => 3,
        _ => 0,
    }
}

impl Checked {
    /// Whether something that matters is not known.
    fn is_unknown(&self) -> bool {
        self.outcome == DnsOutcome::Unknown || !self.undecided.is_empty()
    }

    /// The detail of a finding, with its subject where that is another domain.
    fn about(&self, finding: &Finding) -> String {
        let Finding {
            subject, detail, ..
        } = finding;
        if *subject == self.domain {
            detail.clone()
        } else {
            format!("{subject}: {detail}")
        }
    }
}

fn json(checked: &[Checked], out: &mut dyn Write) -> anyhow::Result<()> {
    for one in checked {
        writeln!(out, "{}", escape::json(&serde_json::to_string(one)?))?;
    }
    Ok(())
}

fn text(one: &Checked, out: &mut dyn Write) -> anyhow::Result<()> {
    let state = match (one.outcome, one.findings.len()) {
        (DnsOutcome::Unknown, _) => format!("unknown: {}", one.trouble.unwrap_or_default()),
        (_, 0) if one.is_unknown() => "unknown in part".to_owned(),
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
    let mut wanted = one.findings.iter().map(|it| &it.finding.evidence.wanted);
    if let Some(wanted) = wanted.find_map(Option::as_ref) {
        writeln!(out, "  wanted          {wanted}")?;
    }
    for shown in &one.findings {
        let Shown {
            finding, next_step, ..
        } = shown;
        let Finding {
            kind,
            severity,
            publish,
            ..
        } = finding;
        let about = one.about(finding);
        writeln!(out, "  {severity:<6}  {kind:<16}  {about}")?;
        writeln!(out, "          {next_step}")?;
        if let Some(since) = shown.first_seen {
            writeln!(out, "          Open since {}.", minute(since))?;
        }
        // That of the record itself is shown once, below.
        let publish = publish
            .as_ref()
            .filter(|it| Some(&it.text) != one.publish.as_ref());
        if let Some(publish) = publish {
            let text = printable(publish.text.as_bytes());
            writeln!(out, "          {} TXT \"{text}\"", publish.name)?;
        }
    }
    if one.outcome != DnsOutcome::Unknown && one.is_unknown() {
        let kinds: Vec<_> = one.undecided.iter().map(|kind| kind.as_str()).collect();
        writeln!(out, "  unknown         {}", kinds.join(", "))?;
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
    let unknown = checked.iter().filter(|one| one.is_unknown());
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
        for Shown { finding, .. } in &one.findings {
            let Finding { kind, severity, .. } = finding;
            let about = one.about(finding);
            writeln!(out, "{} {severity} {kind}: {about}", one.domain)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        dns::{
            Answer,
            walk::{Known, Walk},
        },
        drift::published::Absence,
    };

    fn checked(answer: &Answer) -> Checked {
        let domain = Domain::parse("example.com").unwrap();
        let none = Answer::absent(DnsOutcome::NxDomain, 60);
        let mut walk = Walk::new(domain.clone());
        walk.add(answer);
        walk.add(&none);
        let seen = Seen {
            domain,
            answer: answer.clone(),
            walk,
            absence: Known::Yes(Absence::Plain),
            hosts: Vec::new(),
            has_unknown_host: false,
            tls: none,
        };
        judge(seen, &Expected::default(), None)
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
        let info = Answer::found(vec![b"v=DMARC1; p=none; ri=1".to_vec()], 60);
        assert_eq!(codes(std::slice::from_ref(&good)), (0, 0));
        assert_eq!(codes(&[info]), (0, 0));
        assert_eq!(codes(std::slice::from_ref(&unknown)), (3, 3));
        assert_eq!(codes(&[good.clone(), unknown.clone()]), (3, 3));
        assert_eq!(codes(&[low.clone(), unknown.clone()]), (1, 1));
        assert_eq!(codes(&[good, low, unknown, high]), (1, 2));
    }

    #[test]
    fn a_record_is_shown_with_what_is_amiss_and_escaped() {
        let answer = Answer::found(vec![b"v=DMARC1; p=none; x=\x1b[1m".to_vec()], 60);
        let one = checked(&answer);
        assert_eq!(one.findings[0].finding.kind, FindingKind::TagUnknown);
        assert_eq!((one.lint[0].from, one.lint[0].to), (18, 24));
        let mut out = Vec::new();
        text(&one, &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "example.com: 1 finding\n  published       v=DMARC1; p=none; x=\\x1b[1m\n  \
             low     tag_unknown       an unknown tag at byte 18\n          \
             Leave the tag out, or correct its name.\n  publish instead v=DMARC1; p=none\n"
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
