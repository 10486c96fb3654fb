//! Each kind of finding by a zone of its own, through the program and a real DNS server.
//!
//! Comments of the zone are `;: KEY = VALUE` in the configuration of the domain, `;@ LABEL` if that is a
//! name below the zone, `;+ LINE` in the zone `KIND-host.test` of a host that takes its reports; those
//! of all others go to `reports.test`, which agrees to take any.

use std::{fs, process::Command};

use rua_milter::terms::FindingKind;

use crate::lab::{nsd::Nsd, zones::Fixture};

/// One fixture.
struct Case {
    kind: FindingKind,
    zone: String,
    lines: String,
    domain: String,
    /// The host that takes its reports, and lines of that zone if it is its own.
    host: String,
    at_host: String,
    keys: String,
}

impl Case {
    fn read(kind: FindingKind) -> Self {
        let fixture = Fixture::read(kind);
        let marked = |mark| {
            let lines = fixture.marked(mark).map(|line| line.to_owned() + "\n");
            lines.collect::<String>()
        };
        let zone = format!("{}.test", fixture.name);
        let domain = match marked(";@ ").trim_end() {
            "" => zone.clone(),
            label => format!("{label}.{zone}"),
        };
        let at_host = marked(";+ ");
        let host = match at_host.as_str() {
            "" => "reports.test".to_owned(),
            _ => format!("{}-host.test", fixture.name),
        };
        let keys = marked(";: ");
        Self {
            kind,
            zone,
            lines: fixture.lines,
            domain,
            host,
            at_host,
            keys,
        }
    }
}

/// The kinds that the DNS alone shows.
fn cases() -> Vec<Case> {
    // Those of drift_reported.rs.
    let of_reports = [
        FindingKind::ReportedDiffers,
        FindingKind::ReporterDiffers,
        FindingKind::ReporterStale,
        FindingKind::ReportRevised,
        FindingKind::ReportsStopped,
        FindingKind::ReporterSilent,
        FindingKind::ReportsNone,
    ];
    let kinds = FindingKind::ALL.iter().copied();
    kinds
        .filter(|kind| !of_reports.contains(kind))
        .map(Case::read)
        .collect()
}

#[test]
fn drift_prints_exactly_the_kind_of_each_zone() {
    let cases = cases();
    let agreed = "*._report._dmarc TXT \"v=DMARC1;\"\n";
    let mut zones = vec![("test", "@ TXT x\n"), ("reports.test", agreed)];
    let own = cases.iter().filter(|case| !case.at_host.is_empty());
    zones.extend(own.map(|case| (case.host.as_str(), case.at_host.as_str())));
    zones.extend(
        cases
            .iter()
            .map(|case| (case.zone.as_str(), case.lines.as_str())),
    );
    let nsd = Nsd::start(&zones);
    let dir = tempfile::tempdir().expect("a directory");
    let list = dir.path().join("suffixes");
    fs::write(&list, "test\n").expect("written");
    let mut config = format!(
        "[dns]\nservers = [\"{}\"]\npublic_suffix_list = {list:?}\n",
        nsd.address()
    );
    for Case {
        domain, keys, host, ..
    } in &cases
    {
        let lines = [
            "[[domain]]\nname = \"",
            domain,
            "\"\nrua = [\"rua@",
            host,
            "\"]\n",
            keys,
        ];
        config.extend(lines);
    }
    let path = dir.path().join("rua-milter.toml");
    fs::write(&path, config).expect("written");
    let printed = Command::new(env!("CARGO_BIN_EXE_rua-milter"))
        .arg("--config")
        .arg(&path)
        .args(["drift", "--json"])
        .output()
        .expect("it runs");
    assert_eq!(printed.status.code(), Some(1), "{printed:?}");
    let printed = String::from_utf8(printed.stdout).expect("UTF-8");
    let objects: Vec<serde_json::Value> = printed
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(objects.len(), cases.len());
    let mut wrong = Vec::new();
    for case in &cases {
        let object = objects
            .iter()
            .find(|object| object["domain"] == *case.domain);
        let object = object.expect("a line for each domain");
        let findings = object["findings"].as_array().expect("findings");
        let kinds: Vec<_> = findings
            .iter()
            .filter_map(|it| it["kind"].as_str())
            .collect();
        let told = findings
            .iter()
            .all(|it| it["next_step"].as_str().is_some_and(|it| it.ends_with('.')));
        if kinds != [case.kind.as_str()] || !told || object["undecided"] != serde_json::json!([]) {
            wrong.push(format!("{}: {object:#}", case.kind));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
