//! Many watched domains: each looked at soon, at a bounded rate, in memory that does not grow.

use std::{
    fmt::Write as _,
    fs,
    path::Path,
    time::{Duration, Instant, SystemTime},
};

use rua_milter::{domain::Domain, store::Reader};

use crate::lab::{
    SOON,
    daemon::{Daemon, Settings, cpu_secs, memory, release},
    nsd::Nsd,
    open_dir, until,
};

/// The usual: a record with a destination at another organization, and a TLS-RPT record. Of each
/// hundred one has no record at all, and one a destination that has not agreed.
fn zone(domains: usize) -> String {
    let mut zone = String::from("*._report._dmarc.reports TXT \"v=DMARC1;\"\n");
    for n in (0..domains).filter(|n| n % 100 != 0) {
        let other = match n % 100 {
            1 => ",mailto:rua@silent.test",
            _ => "",
        };
        let _ = writeln!(
            zone,
            "_dmarc.customer-{n} TXT \"v=DMARC1; p=reject; rua=mailto:rua@reports.test{other}\"\n\
             _smtp._tls.customer-{n} TXT \"v=TLSRPTv1; rua=mailto:rua@reports.test\""
        );
    }
    zone
}

fn daemon(dir: &Path, domains: usize, dns: &str) -> Daemon {
    let mut list = String::new();
    for n in 0..domains {
        let _ = writeln!(list, "customer-{n}.test");
    }
    fs::write(dir.join("list"), list).expect("to write");
    let mut settings = Settings::new(&dir.join("data"));
    settings.program = release();
    settings.recipients = "template = \"rua@reports.test\"".into();
    settings.domains = String::new();
    settings.domain_files = vec!["list".into()];
    settings.listen = vec![format!("unix:{}/rua.sock", dir.display())];
    settings.dns = dns.into();
    Daemon::stopped(&dir.join("rua-milter.toml"), &settings)
}

/// Waits until every domain was looked at in or after this second.
fn all_seen_since(daemon: &Daemon, domains: usize, second: i64, limit: Duration) {
    let store = daemon.data().join("reports.sqlite");
    until("the store is there", SOON, || Reader::open(&store).is_ok());
    let mut seen = 0;
    until("every domain is looked at", limit, || {
        let reader = Reader::open(&store).expect("a store");
        while seen < domains {
            let domain = Domain::parse(&format!("customer-{seen}.test")).expect("a domain");
            let history = reader.history(&domain).expect("it reads");
            if history.last().is_none_or(|last| last.last_seen < second) {
                return false;
            }
            seen += 1;
        }
        true
    });
}

fn now() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    i64::try_from(now.expect("after 1970").as_secs()).expect("before the end of time")
}

/// Looks at every domain twice, each time within `limit`, and holds that memory has not grown.
fn two_rounds(domains: usize, dns: &str, limit: Duration) {
    let nsd = Nsd::start(&[("test", &zone(domains))]);
    let dir = open_dir();
    let dns = format!("servers = [\"{}\"]\n{dns}", nsd.address());
    let mut daemon = daemon(dir.path(), domains, &dns);
    daemon.restart();
    let mut rounds = [0; 2];
    for (n, round) in rounds.iter_mut().enumerate() {
        let (began, second) = (Instant::now(), now());
        let cpu = cpu_secs(daemon.pid());
        all_seen_since(&daemon, domains, second, limit);
        let (took, kib) = (began.elapsed(), memory(daemon.pid(), "VmRSS"));
        let cpu = cpu_secs(daemon.pid()) - cpu;
        println!("round {n}: {domains} domains in {took:?}, {cpu:.1} s of CPU, {kib} KiB");
        *round = kib;
    }
    let open = daemon.log().matches("finding opened").count();
    println!("{open} findings opened");
    assert!(open >= domains / 50, "{}", daemon.log());
    let [first, second] = rounds;
    assert!(second <= first + SLACK_KIB, "{first} KiB, then {second}");
}

/// What memory may differ by for other reasons.
const SLACK_KIB: u64 = 1 << 10;

#[test]
fn hundreds_of_domains_are_looked_at_in_seconds() {
    two_rounds(500, "queries_per_second = 1000\ninterval_secs = 4", SOON);
}

#[test]
#[ignore = "takes minutes"]
fn thousands_of_domains_are_looked_at_within_three_minutes() {
    // By default an hour goes by until the second round.
    two_rounds(5_000, "interval_secs = 100", Duration::from_mins(3));
}
