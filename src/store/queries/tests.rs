//! Questions to a store of a few reports.

use super::*;
use crate::{
    report::{Record, Stated},
    store::{
        fixtures::{Place, arrival, plain, record, report},
        retention::Stale,
    },
    terms::Kind,
};

const DAY: i64 = 1_699_920_000 / SECONDS_OF_A_DAY;

fn reader(place: &Place) -> Reader {
    Reader::open(&place.path()).unwrap()
}

fn domain(name: &str) -> Domain {
    Domain::parse(name).unwrap()
}

#[test]
fn a_summary_adds_up_and_leaves_revisions_out() {
    let mut place = Place::new();
    place.add(&arrival(1), &plain("r", 1));
    place.add(&arrival(2), &plain("r", 2));
    place.add(&arrival(3), &plain("s", 3));
    let summaries = reader(&place).summary(None, 30, 2).unwrap();
    let [summary] = &summaries[..] else {
        panic!("one configured domain has reports")
    };
    assert_eq!(summary.domain, "example.com");
    assert_eq!((summary.reports, summary.revisions), (2, 1));
    // An aligned SPF failure is stated in each record, so nothing is unknown.
    let counts = Counts {
        messages: 30,
        pass: 14,
        fail: 16,
        unknown: 0,
    };
    assert_eq!(summary.counts, counts);
    assert_eq!(summary.days, BTreeMap::from([(DAY, counts)]));
    let none = Some(Disposition::None);
    assert_eq!(summary.dispositions, BTreeMap::from([(none, 30)]));
    assert_eq!(summary.sources.of, 4);
    let first = &summary.sources.rows[0];
    assert_eq!(first.ip, IpAddr::from([192, 0, 2, 2]));
    assert_eq!((first.counts.messages, first.counts.fail), (14, 14));
    assert_eq!(summary.sources.rows.len(), 2);
    let reporter = Reporter {
        org_name: "Reporter".into(),
        reports: 2,
        messages: 30,
    };
    assert_eq!(summary.reporters.rows, [reporter]);
}

#[test]
fn the_sums_of_deleted_reports_are_summed_up() {
    let mut place = Place::new();
    place.add(&arrival(1), &plain("r", 1));
    let old = Stale::Reports(Kind::Aggregate);
    let stale = reader(&place).stale(old, i64::MAX, 10).unwrap();
    assert_eq!(place.store.forget(old, &stale, 100).unwrap(), 1);
    let summaries = reader(&place).summary(None, 30, 2).unwrap();
    let [summary] = &summaries[..] else {
        panic!("its sums remain")
    };
    assert_eq!((summary.reports, summary.counts.messages), (0, 15));
    assert_eq!(summary.sources.of, 0);
}

#[test]
fn a_domain_is_summed_with_the_names_below_it() {
    let mut place = Place::new();
    let mut odd = plain("odd", 2);
    odd.0.policy.domain = domain("mailXexample.com");
    place.add(&arrival(1), &plain("r", 1));
    place.add(&arrival(2), &odd);
    let summary = |name| reader(&place).summary(Some(&domain(name)), 0, 9).unwrap();
    for (name, messages) in [("com", 30), ("example.com", 15), ("mail.example.com", 15)] {
        let [found] = &summary(name)[..] else {
            panic!("{name} has reports")
        };
        assert_eq!(
            (found.domain.as_str(), found.counts.messages),
            (name, messages)
        );
        let sources = found
            .sources
            .rows
            .iter()
            .map(|source| source.counts.messages);
        assert_eq!(sources.sum::<u64>(), messages);
        assert_eq!(found.reporters.rows[0].messages, messages);
    }
    assert_eq!(summary("x.mail.example.com"), []);
    assert_eq!(summary("mail_example.com"), []);
}

#[test]
fn days_are_the_newest_that_have_messages() {
    let mut place = Place::new();
    for (n, days_ago) in [(1, 0), (2, 3), (3, 100)] {
        let mut report = plain(&format!("r{n}"), n);
        report.0.metadata.begin -= days_ago * SECONDS_OF_A_DAY;
        place.add(&arrival(n.into()), &report);
    }
    let reports = |days| reader(&place).summary(None, days, 9).unwrap()[0].reports;
    assert_eq!(
        [reports(1), reports(2), reports(30), reports(0)],
        [1, 2, 3, 3]
    );
}

#[test]
fn a_report_without_records_is_a_report() {
    let mut place = Place::new();
    place.add(&arrival(1), &report("empty", 1, Vec::new()));
    let summary = &reader(&place).summary(None, 30, 9).unwrap()[0];
    assert_eq!((summary.reports, summary.counts.messages), (1, 0));
    assert_eq!(summary.reporters.of, 1);
}

#[test]
fn sums_beyond_what_can_be_added_exactly_do_not_fail() {
    let mut place = Place::new();
    for n in 1..=9 {
        let rows = vec![record(1, crate::limits::MAX_MESSAGES, Stated::Not)];
        place.add(&arrival(n.into()), &report(&format!("r{n}"), n, rows));
    }
    let summary = &reader(&place).summary(None, 30, 9).unwrap()[0];
    assert_eq!(summary.counts.messages, 9 << 53);
}

#[test]
fn a_store_that_nobody_writes_can_be_read_and_knows_both_kinds_of_address() {
    let mut place = Place::new();
    let ip: IpAddr = "2001:db8::1".parse().unwrap();
    let mut row = record(1, 3, Stated::Not);
    row.source_ip = ip;
    place.add(&arrival(1), &report("r", 1, vec![row]));
    let Place { dir, store } = place;
    drop(store);
    let path = dir.path().join("reports.sqlite");
    assert!(!dir.path().join("reports.sqlite-wal").exists());
    let summary = Reader::open(&path).unwrap().summary(None, 30, 9).unwrap();
    assert_eq!(summary[0].sources.rows[0].ip, ip);
}

#[test]
fn a_view_spells_addresses_as_we_do() {
    let mut addresses: Vec<IpAddr> = ["0.0.0.0", "9.10.99.100", "192.0.2.1", "255.255.255.255"]
        .map(|text| text.parse().unwrap())
        .into();
    // Every order of eight fields of three kinds, with every run of zeros.
    addresses.extend((0..3_usize.pow(8)).map(|number| {
        let field = |place| [0, 0xb, 0x10a0][number / 3_usize.pow(place) % 3];
        IpAddr::from([0, 1, 2, 3, 4, 5, 6, 7].map(field))
    }));
    let mut place = Place::new();
    let rows = addresses.iter().map(|&source_ip| Record {
        source_ip,
        ..record(1, 1, Stated::Not)
    });
    place.add(&arrival(1), &report("r", 1, rows.collect()));
    let reader = reader(&place);
    let sql = "SELECT source_ip FROM dmarc_records ORDER BY seq";
    let mut statement = reader.connection.prepare(sql).unwrap();
    let spelled = statement.query_map([], |row| row.get::<_, String>(0));
    let spelled: Vec<_> = spelled.unwrap().map(Result::unwrap).collect();
    let ours: Vec<_> = addresses.iter().map(IpAddr::to_string).collect();
    assert_eq!(spelled, ours);
}

#[test]
fn the_views_add_up_to_what_is_summed() {
    let mut place = Place::new();
    place.add(&arrival(1), &plain("r", 1));
    place.add(&arrival(2), &plain("r", 2));
    place.add(&arrival(3), &plain("s", 3));
    for (sum, messages) in [
        ("SELECT sum(messages) FROM reports WHERE current", 30),
        ("SELECT sum(messages) FROM reports WHERE NOT current", 15),
        ("SELECT sum(count) FROM dmarc_records", 30),
        ("SELECT sum(messages) FROM dmarc_days", 30),
    ] {
        assert_eq!(place.number(sum), messages, "{sum}");
    }
    // By each result, what is not stated or not known included.
    let unlike = "SELECT count(*) FROM (
        SELECT day, domain, policy_domain, disposition, dkim, spf, dmarc, messages FROM dmarc_days
        EXCEPT
        SELECT day, domain, policy_domain, disposition,
               iif(dkim IN ('pass', 'fail'), dkim, NULL), iif(spf IN ('pass', 'fail'), spf, NULL),
               dmarc, sum(count) FROM dmarc_records GROUP BY 1, 2, 3, 4, 5, 6, 7)";
    assert_eq!(place.number(unlike), 0);
}
