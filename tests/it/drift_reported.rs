//! Each kind of finding that rests on reports, or on that there are none: a zone, a history, reports
//! and times of its own, through the daemon and a real DNS server.
//!
//! The zones are as in `drift_kinds`, and have beside the records of now:
//!
//!   ;h FROM TO TEXT                  this was published from FROM to TO days ago
//!   ;r NAME POLICY DAYS [ID COUNT]   NAME saw POLICY on the day that ended DAYS days ago, or on each
//!                                    of the days FROM-TO; all came some hours later

use std::{
    fmt::Write as _,
    fs,
    path::Path,
    time::{Duration, Instant, SystemTime},
};

use rua_milter::terms::FindingKind;
use rusqlite::{Connection, params};

use crate::lab::{
    daemon::{Daemon, Settings},
    nsd::Nsd,
    zones::Fixture,
};

const DAY: i64 = 86_400;
const KINDS: [FindingKind; 7] = [
    FindingKind::ReportedDiffers,
    FindingKind::ReporterDiffers,
    FindingKind::ReporterStale,
    FindingKind::ReportRevised,
    FindingKind::ReportsStopped,
    FindingKind::ReporterSilent,
    FindingKind::ReportsNone,
];

struct Case {
    fixture: Fixture,
    domain: String,
}

impl Case {
    fn read(kind: FindingKind) -> Self {
        let fixture = Fixture::read(kind);
        let domain = format!("{}.test", fixture.name);
        Self { fixture, domain }
    }

    /// Its reports as mails.
    fn mails(&self, now: i64, dir: &Path) {
        for (number, line) in self.fixture.marked(";r ").enumerate() {
            let words: Vec<_> = line.split(' ').collect();
            let days = words[2].split_once('-').unwrap_or((words[2], words[2]));
            let day = |text: &str| text.parse::<i64>().expect("days");
            for ago in day(days.1)..=day(days.0) {
                let end = now - ago * DAY;
                let id = words
                    .get(3)
                    .map_or_else(|| format!("{number}.{ago}"), ToString::to_string);
                let count = words.get(4).unwrap_or(&"1");
                let mail = mail(&self.domain, words[0], words[1], &id, end, count);
                let file = format!("{}.{number}.{ago}.eml", self.domain);
                fs::write(dir.join(file), mail).expect("written");
            }
        }
    }

    /// What was published, as if it had been watched.
    fn history(&self, now: i64, store: &Connection) {
        for line in self.fixture.marked(";h ") {
            let mut words = line.splitn(3, ' ');
            let mut days = || {
                words
                    .next()
                    .and_then(|n| n.parse::<i64>().ok())
                    .expect("days")
            };
            let (from, to) = (now - days() * DAY, now - days() * DAY);
            let texts = serde_json::json!([words.next().expect("a text")]).to_string();
            let sql = "INSERT INTO published (domain, outcome, texts, ttl, first_seen, last_seen)
                VALUES (?1, 'found', ?2, 3600, ?3, ?4)";
            store
                .execute(sql, params![self.domain, texts, from, to])
                .expect("inserted");
        }
    }
}

fn mail(domain: &str, name: &str, policy: &str, id: &str, end: i64, count: &str) -> String {
    let begin = end - DAY + 1;
    format!(
        "From: reports@example.net\r\nTo: rua@reports.test\r\nSubject: Report domain: {domain}\r\n\
         MIME-Version: 1.0\r\nContent-Type: text/xml\r\n\r\n\
         <feedback><report_metadata><org_name>{name}</org_name><email>reports@example.net</email>\r\n\
         <report_id>{id}</report_id><date_range><begin>{begin}</begin><end>{end}</end></date_range>\r\n\
         </report_metadata><policy_published><domain>{domain}</domain><p>{policy}</p>\r\n\
         </policy_published><record><row><source_ip>192.0.2.1</source_ip><count>{count}</count>\r\n\
         <policy_evaluated><disposition>none</disposition><dkim>pass</dkim><spf>pass</spf>\r\n\
         </policy_evaluated></row><identifiers><header_from>{domain}</header_from></identifiers>\r\n\
         <auth_results/></record></feedback>\r\n"
    )
}

#[test]
fn drift_prints_exactly_the_kind_of_each_history() {
    let cases = KINDS.map(Case::read);
    let agreed = "*._report._dmarc TXT \"v=DMARC1;\"\n";
    let mut zones = vec![("test", "@ TXT x\n"), ("reports.test", agreed)];
    zones.extend(
        cases
            .iter()
            .map(|case| (case.domain.as_str(), case.fixture.lines.as_str())),
    );
    let nsd = Nsd::start(&zones);

    let dir = tempfile::tempdir().expect("a directory");
    let mails = dir.path().join("mails");
    fs::create_dir(&mails).expect("a directory");
    let mut settings = Settings::new(&dir.path().join("data"));
    settings.recipients = "hosts = [\"reports.test\"]".into();
    settings.domains.clear();
    settings.listen = vec![format!("unix:{}", dir.path().join("milter.sock").display())];
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.expect("after 1970").as_secs().cast_signed();
    for case in &cases {
        case.mails(now, &mails);
        let name = &case.domain;
        writeln!(
            settings.domains,
            "[[domain]]\nname = \"{name}\"\nrua = [\"rua@reports.test\"]"
        )
        .expect("it grows");
    }
    let mut daemon = Daemon::stopped(&dir.path().join("rua-milter.toml"), &settings);
    let imported = daemon.run(&["import", mails.to_str().expect("UTF-8")]);
    assert_eq!(imported.code, 0, "{imported:?}");

    let path = settings.data.join("reports.sqlite");
    let store = Connection::open(&path).expect("a store");
    for case in &cases {
        case.history(now, &store);
    }
    // As if each had come some hours after its day.
    let sql = "UPDATE document SET first_seen = (SELECT range_end + 21600 FROM report WHERE report.id = document.id)";
    store.execute(sql, []).expect("updated");
    let list = dir.path().join("suffixes");
    fs::write(&list, "test\n").expect("written");
    settings.dns = format!(
        "servers = [\"{}\"]\npublic_suffix_list = {list:?}",
        nsd.address()
    );
    daemon.configure(&settings);
    daemon.restart();
    let wait = Instant::now() + Duration::from_mins(1);
    let open = || {
        let sql = "SELECT count(DISTINCT domain) FROM finding WHERE closed_at IS NULL";
        let count = store.query_row(sql, [], |row| row.get::<_, usize>(0));
        count.expect("it reads")
    };
    while open() < KINDS.len() && Instant::now() < wait {
        std::thread::sleep(Duration::from_millis(50));
    }

    // Kinds of no severity leave the exit status alone.
    let printed = daemon.run(&["drift", "--json"]);
    assert_eq!(printed.code, 1, "{printed:?}");
    let mut wrong = Vec::new();
    for (case, object) in cases.iter().flat_map(|case| {
        let lines = printed.json_lines();
        let mine = lines
            .into_iter()
            .filter(|line| line["domain"] == *case.domain);
        mine.map(move |line| (case, line)).collect::<Vec<_>>()
    }) {
        let findings = object["findings"].as_array().expect("findings");
        let kinds: Vec<_> = findings
            .iter()
            .filter_map(|it| it["kind"].as_str())
            .collect();
        let is_told = findings.iter().all(|it| it["first_seen"].is_i64());
        if kinds != [case.fixture.kind.as_str()]
            || !is_told
            || object["undecided"] != serde_json::json!([])
        {
            wrong.push(format!("{}: {object:#}", case.fixture.kind));
        }
    }
    assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), daemon.log());
    assert_eq!(printed.json_lines().len(), cases.len());
    each_report_is_shown_beside_what_was_published(&daemon, now);
}

fn each_report_is_shown_beside_what_was_published(daemon: &Daemon, now: i64) {
    let shown = daemon.run(&["drift", "--reported", "reporter-stale.test", "--json"]);
    let shown = shown.json_lines();
    assert_eq!(shown.len(), 1);
    assert_eq!(shown[0]["reporter"], "google.com");
    let differs = serde_json::json!(
        {"field": "p", "comparison": "differs", "said": "none", "published": "reject"}
    );
    assert_eq!(shown[0]["fields"][0], differs);
    assert_eq!(shown[0]["published_until"], now - 10 * DAY);
}
