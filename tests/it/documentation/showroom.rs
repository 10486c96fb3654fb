//! Two weeks of reports about two domains, for what the pages show and ask. Nothing runs, and all times
//! are fixed, so that it looks the same every day.

use std::{fs, path::Path};

use super::machine::{furnish, led, shell};
use crate::lab::{mails, nsd::Nsd, open_dir};

/// The day after the last report, in place of today.
pub const NOW: &str = "'2025-03-15'";
/// 2025-03-01, UTC midnight.
const FIRST_DAY: i64 = 1_740_787_200;
const DAY: i64 = 86_400;

const CONFIG: &str = r#"data_dir = "/var/lib/rua-milter"
[recipients]
hosts = ["reports.example"]
[[domain]]
name = "example.com"
rua = ["rua@reports.example"]
wanted = "v=DMARC1; p=quarantine; rua=mailto:rua@reports.example"
[[domain]]
name = "example.org"
rua = ["rua@reports.example"]
wanted = "v=DMARC1; p=reject; rua=mailto:rua@reports.example"
[limits]
min_free_bytes = 1048576
"#;

/// One domain publishes what is wanted, the other less.
const ZONES: &[(&str, &str)] = &[
    (
        "com",
        "_dmarc.example TXT \"v=DMARC1; p=quarantine; rua=mailto:rua@reports.example\"",
    ),
    (
        "org",
        "_dmarc.example TXT \"v=DMARC1; p=none; rua=mailto:rua@reports.example\"",
    ),
    ("example", "*._report._dmarc.reports TXT \"v=DMARC1;\""),
];

/// What a source sends on a day in the name of a domain, and what comes of it.
struct Source {
    /// What stands before the domain in From.
    below: &'static str,
    ip: &'static str,
    /// Messages on a working day, and the first day.
    count: i64,
    since: i64,
    disposition: &'static str,
    dkim: &'static str,
    spf: &'static str,
}

const fn source(ip: &'static str, count: i64) -> Source {
    Source {
        below: "",
        ip,
        count,
        since: 0,
        disposition: "none",
        dkim: "pass",
        spf: "pass",
    }
}

const SOURCES: &[Source] = &[
    source("192.0.2.10", 412),
    source("2001:db8:25::10", 118),
    // A mailing list, which breaks SPF.
    Source {
        spf: "fail",
        ..source("198.51.100.7", 23)
    },
    // A shop that nobody gave a key.
    Source {
        dkim: "fail",
        below: "news.",
        ..source("198.51.100.40", 61)
    },
    // Somebody else.
    Source {
        since: 9,
        disposition: "quarantine",
        dkim: "fail",
        spf: "fail",
        ..source("203.0.113.99", 147)
    },
];

/// The store, and what commands say of it.
pub struct Showroom {
    dir: tempfile::TempDir,
    _nsd: Nsd,
}

impl Showroom {
    pub fn open() -> Self {
        let dir = open_dir();
        let at = dir.path();
        furnish(at);
        let nsd = Nsd::start(ZONES);
        let config = format!("{CONFIG}[dns]\nservers = [\"{}\"]\n", nsd.address());
        fs::write(at.join("etc/rua-milter.toml"), led(at, &config)).expect("to write");
        let folder = at.join("home/showroom");
        fs::create_dir(&folder).expect("a folder");
        for day in 0..14 {
            for (reporter, share) in [
                ("mail.example", 6),
                ("big.example", 3),
                ("small.example", 1),
            ] {
                write(&folder, reporter, share, day, "example.com");
            }
        }
        // It falls silent.
        for day in 0..5 {
            write(&folder, "big.example", 1, day, "example.org");
        }
        let tls = mails::tls("rua@reports.example", "tls-1", "example.com");
        fs::write(folder.join("tls.eml"), tls).expect("to write");
        let said = shell(at, "rua-milter import ~/showroom");
        assert_eq!(said.code, 0, "{said:?}");
        Self { dir, _nsd: nsd }
    }

    /// What a command prints, as a page shows it.
    pub fn types(&self, command: &str) -> String {
        let said = shell(self.dir.path(), command);
        assert!(said.stderr.is_empty(), "{command}: {said:?}");
        said.stdout
    }

    /// The store, to read from.
    pub fn store(&self) -> rusqlite::Connection {
        let path = self.dir.path().join("data/reports.sqlite");
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
        rusqlite::Connection::open_with_flags(path, flags).expect("a store")
    }
}

/// Writes the report of a reporter, who sees so many tenths of the mail, about a day.
fn write(folder: &Path, reporter: &str, tenths: i64, day: i64, domain: &str) {
    let begin = FIRST_DAY + day * DAY;
    let end = begin + DAY - 1;
    // 2025-03-01 was a Saturday.
    let is_weekend = [0, 1].contains(&(day % 7));
    let records: String = SOURCES
        .iter()
        .filter(|source| source.since <= day)
        .map(|source| {
            let count = (source.count * tenths / 10 + day % 5) / if is_weekend { 4 } else { 1 };
            record(source, domain, count)
        })
        .collect();
    let xml = format!(
        "<?xml version=\"1.0\"?>\n<feedback><version>1.0</version><report_metadata>\
         <org_name>{reporter}</org_name><email>dmarc@{reporter}</email>\
         <report_id>{domain}-{day}</report_id>\
         <date_range><begin>{begin}</begin><end>{end}</end></date_range></report_metadata>\
         <policy_published><domain>{domain}</domain><adkim>r</adkim><aspf>r</aspf><p>quarantine</p>\
         <pct>100</pct></policy_published>\n{records}</feedback>\n"
    );
    fs::write(folder.join(format!("{reporter}-{domain}-{day}.xml")), xml).expect("to write");
}

fn record(source: &Source, domain: &str, count: i64) -> String {
    let Source {
        below,
        ip,
        disposition,
        dkim,
        spf,
        ..
    } = source;
    let (from, count) = (format!("{below}{domain}"), count.max(1));
    format!(
        "<record><row><source_ip>{ip}</source_ip><count>{count}</count><policy_evaluated>\
         <disposition>{disposition}</disposition><dkim>{dkim}</dkim><spf>{spf}</spf>\
         </policy_evaluated></row><identifiers><header_from>{from}</header_from></identifiers>\
         <auth_results><dkim><domain>{from}</domain><selector>s1</selector><result>{dkim}</result>\
         </dkim><spf><domain>{from}</domain><result>{spf}</result></spf></auth_results></record>\n"
    )
}
