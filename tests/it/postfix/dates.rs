//! H29: dates that cannot be, or that are not to be believed, by the way of a session.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::lab::{
    Lab, RUA, SOON,
    daemon::Stored,
    mails::{self, Report},
    until,
};

const DAY: u64 = 86_400;
const YEAR_2010: u64 = 1_262_304_000;

/// A mail with a report of two messages about this range.
fn ranged(id: &str, begin: &str, end: &str) -> Vec<u8> {
    let xml = Report::new(id, "example.com", &[2]).xml();
    let (before, rest) = xml.split_once("<begin>").expect("a range");
    let (_, after) = rest.split_once("</end>").expect("a range");
    let xml = format!("{before}<begin>{begin}</begin><end>{end}</end>{after}");
    mails::attached(RUA, &mails::gzip(xml.as_bytes()))
}

#[test]
fn h29_a_range_that_is_not_to_be_believed_is_taken_and_parked() {
    let lab = Lab::start();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("later");
    let now = now.as_secs();
    let from = |begin: u64, seconds: u64| (begin.to_string(), (begin + seconds).to_string());
    let of = |begin: &str, end: &str| (begin.to_owned(), end.to_owned());
    // What is parked, and what from a stranger only: the operator's own files are believed.
    let (always, strangers) = (true, false);
    let cases = [
        ("none", of("", ""), always),
        ("end first", from(now - DAY, 0), always),
        ("milliseconds", from((now - DAY) * 1_000, DAY), always),
        ("ahead", from(now, 3 * DAY), always),
        ("1970", from(100_000, DAY), strangers),
        ("2009", from(YEAR_2010 - 1, DAY), strangers),
        (
            "a year and a day",
            from(now - 400 * DAY, 366 * DAY + 1),
            strangers,
        ),
    ];
    let mut client = lab.client();
    for (id, (begin, end), _) in &cases {
        let end = if *id == "end first" { "1" } else { end };
        let reply = client.submit(&[RUA], &ranged(id, begin, end));
        assert!(reply.starts_with("250"), "{id}: {reply}");
    }
    for (id, (begin, end)) in [
        ("first day", from(YEAR_2010, DAY)),
        ("a leap year", from(now - 400 * DAY, 366 * DAY)),
        ("a day ahead", from(now, DAY)),
    ] {
        let reply = client.submit(&[RUA], &ranged(id, &begin, &end));
        assert!(reply.starts_with("250"), "{id}: {reply}");
    }
    lab.settle();
    assert_eq!(lab.daemon.spool("parked"), vec!["bad_dates"; cases.len()]);
    let believed = Stored {
        reports: 3,
        messages: 6,
    };
    lab.daemon.expect_stored("example.com", believed);

    let mut vouched = believed;
    for (id, (begin, end), always) in &cases {
        let end = if *id == "end first" { "1" } else { end };
        lab.daemon
            .run_with(&["import", "-"], &ranged(id, begin, end));
        let more = u64::from(!always);
        vouched.reports += more;
        vouched.messages += 2 * more;
    }
    until("they are worked through", SOON, || {
        lab.daemon.spool("new").is_empty()
    });
    lab.daemon.expect_stored("example.com", vouched);
}
