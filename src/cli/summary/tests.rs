//! What `summary` prints about a store of a few reports.

use clap::Parser;

use super::*;
use crate::{
    report::{aggregate::Hints, tls},
    store::{
        Batch, Reader,
        fixtures::{Place, arrival, example, failure, plain},
    },
};

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    args: Args,
}

fn printed_for(place: &Place, words: &[&str]) -> String {
    let command = Command::parse_from([&["summary"], words].concat());
    let reader = Reader::open(&place.path()).unwrap();
    let mut out = Vec::new();
    run(&command.args, &reader, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn place() -> Place {
    let mut place = Place::new();
    place.add(&arrival(1), &plain("r", 1));
    place.add(&arrival(2), &plain("r", 2));
    let mut later = plain("s", 3);
    later.0.metadata.begin += 2 * 86_400;
    later.0.metadata.org_name = "Evil\u{1b}[2J\u{202e}".into();
    place.add(&arrival(3), &later);
    place
}

#[test]
fn json_adds_up() {
    let json = printed_for(&place(), &["--json"]);
    assert!(!json.contains(['\u{1b}', '\u{202e}']));
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["first_day"], "2023-11-14");
    assert_eq!(value["last_day"], "2023-11-16");
    let (totals, domain) = (&value["totals"], &value["domains"][0]);
    for key in [
        "reports",
        "revisions",
        "messages",
        "pass",
        "fail",
        "unknown",
        "dispositions",
    ] {
        assert_eq!(totals[key], domain[key], "{key}");
    }
    assert_eq!(
        (&totals["reports"], &totals["messages"]),
        (&2.into(), &30.into())
    );
    assert_eq!((&totals["pass"], &totals["fail"]), (&14.into(), &16.into()));
    assert_eq!(totals["revisions"], 1);
    assert_eq!(totals["dispositions"]["none"], 30);
    assert_eq!(totals["dispositions"]["unknown"], 0);
    let sum = |list: &str| -> u64 {
        let rows = domain[list].as_array().unwrap().iter();
        rows.map(|row| row["messages"].as_u64().unwrap()).sum()
    };
    assert_eq!(
        (sum("sources"), sum("reporters"), sum("days")),
        (30, 30, 30)
    );
    assert_eq!(domain["reporters_in_all"], 2);
    assert_eq!(domain["reporters"][0]["org_name"], "Evil\u{1b}[2J\u{202e}");
}

#[test]
fn a_person_reads_a_table_and_a_bar() {
    let text = printed_for(&place(), &[]);
    assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text}");
    for part in [
        "Reports of 2023-11-14 to 2023-11-16, UTC",
        "reports 2, messages 30, DMARC pass 46.6 %, revisions left out 1",
        "disposition: none 30",
        "messages  █·█  a column is a day",
        "failing   ▄·▄",
        "192.0.2.2        14       0.0 %",
        "Evil\\u{1b}[2J\\u{202e}",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

#[test]
fn a_domain_without_reports_has_none() {
    let place = place();
    assert_eq!(
        printed_for(&place, &["other.example"]),
        "No reports about other.example.\n"
    );
    let json = printed_for(&place, &["other.example", "--json"]);
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["totals"]["messages"], 0);
    assert_eq!(value["first_day"], serde_json::Value::Null);
}

#[test]
fn a_long_time_is_folded_into_few_columns() {
    let mut place = place();
    let mut old = plain("old", 9);
    old.0.metadata.begin -= 4_000 * 86_400;
    place.add(&arrival(9), &old);
    let text = printed_for(&place, &["example.com", "--days", "0"]);
    assert!(text.contains("a column is 67 days"), "{text}");
    let bar = text
        .lines()
        .find(|line| line.contains("messages  "))
        .unwrap();
    assert_eq!(bar.chars().filter(|c| "·▁▂▃▄▅▆▇█".contains(*c)).count(), 60);
}

fn add_tls(place: &mut Place) {
    let text = r#"{"organization-name":"R\u001b[2J","report-id":"1","policies":[{
        "policy":{"policy-type":"sts","policy-domain":"example.com"},
        "summary":{"total-successful-session-count":20,"total-failure-session-count":2},
        "failure-details":[{"result-type":"certificate-expired","failed-session-count":2}]}],
        "date-range":{"start-datetime":"2023-11-14T00:00:00Z","end-datetime":"2023-11-14T23:59:59Z"}}"#;
    let read = tls::read_whole(|| text.as_bytes(), &Hints::default(), usize::MAX).unwrap();
    let domain = Domain::parse("example.com").unwrap();
    let ours = [(domain.clone(), domain.clone())].into();
    let add = |batch: &mut Batch<'_>| {
        batch.add_tls(&arrival(9), &domain, &ours, &read.report, |sink| {
            read.policies.iter().flatten().for_each(sink);
            Ok(())
        })
    };
    place.store.transaction(add).unwrap();
}

#[test]
fn tls_reports_are_shown_if_there_are_any() {
    let json = |place: &Place| -> serde_json::Value {
        serde_json::from_str(&printed_for(place, &["--json"])).unwrap()
    };
    let mut place = place();
    assert_eq!(json(&place).get("tls"), None);
    assert!(!printed_for(&place, &[]).contains("TLS"));
    add_tls(&mut place);
    let tls = &json(&place)["tls"][0];
    assert_eq!(
        (&tls["domain"], &tls["reports"]),
        (&"example.com".into(), &1.into())
    );
    let sts =
        serde_json::json!({"successful": 20, "failed": 2, "failures": {"certificate-expired": 2}});
    assert_eq!(tls["policies"]["sts"], sts);
    assert_eq!(tls["reporters"][0]["sessions"], 22);
    for text in [
        printed_for(&place, &[]),
        printed_for(&place, &["example.com"]),
    ] {
        assert!(!text.contains('\u{1b}'), "{text}");
        for part in [
            "reports 2, messages 30",
            "TLS reports 1\n",
            "certificate-expired 2",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }
}

#[test]
fn tls_reports_alone_are_shown_too() {
    let mut place = Place::new();
    add_tls(&mut place);
    let text = printed_for(&place, &[]);
    assert!(text.starts_with("example.com\n  TLS reports 1\n"), "{text}");
}

#[test]
fn failure_reports_are_shown_if_there_are_any() {
    let mut place = Place::new();
    assert!(!printed_for(&place, &["--json"]).contains("failures"));
    let report = failure("one");
    let add = |batch: &mut Batch<'_>| batch.add_failure(&arrival(1), &example(), &report);
    place.store.transaction(add).unwrap();
    let json: serde_json::Value = serde_json::from_str(&printed_for(&place, &["--json"])).unwrap();
    let sums = &json["failures"][0];
    assert_eq!(
        (&sums["domain"], &sums["messages"]),
        (&"example.com".into(), &3.into())
    );
    assert_eq!(
        sums["sources"][0],
        serde_json::json!({"ip": "192.0.2.7", "messages": 3})
    );
    assert_eq!(sums["reporters"][0]["org_name"], "reporter.example");
    for part in [
        "example.com\n  failure reports 1, messages 3\n  failure: dmarc 3\n",
        "192.0.2.7",
    ] {
        let text = printed_for(&place, &[]);
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    assert!(printed_for(&place, &["other.example"]).starts_with("No reports"));
}
