use super::*;
use crate::{
    drift::fixtures::{Dice, domain},
    terms::DnsOutcome,
};

const HOUR: i64 = 3_600;
/// The simulated year begins after a time in which habits were learnt.
const YEAR: std::ops::Range<i64> = 60 * DAY..425 * DAY;

fn name(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

/// Reports of one reporter on the days that `writes` says, each late by up to `lag` seconds.
fn reports(
    reporter: Option<&str>,
    lag: i64,
    dice: &mut Dice,
    writes: impl Fn(i64, &mut Dice) -> bool,
) -> Vec<Heard> {
    let mut heard = Vec::new();
    for day in 0..425 {
        if writes(day, dice) {
            heard.push(Heard {
                reporter: reporter.map(name),
                at: day * DAY + 2 * HOUR + dice.below(lag.max(1)),
            });
        }
    }
    heard
}

/// What opens and closes, looked at four times a day: the time, the kind, whether it opened.
fn year(
    mut heard: Vec<Heard>,
    is_watched: impl Fn(i64) -> bool,
    patience: Option<i64>,
) -> Vec<(i64, FindingKind, bool)> {
    heard.sort_by_key(|heard| heard.at);
    let mut open: Vec<Open> = Vec::new();
    let mut events = Vec::new();
    let mut since = YEAR.start;
    for now in YEAR.step_by(usize::try_from(6 * HOUR).unwrap()) {
        if !is_watched(now) {
            since = now + 6 * HOUR;
            continue;
        }
        let from = heard.partition_point(|heard| heard.at < now - LOOKED_BACK);
        let to = heard.partition_point(|heard| heard.at <= now);
        let watched = Watched {
            since,
            now,
            patience,
        };
        let found = silence(&domain(), &heard[from..to], watched, &open);
        open.retain(|open| {
            let stays = found
                .iter()
                .any(|f| f.kind == open.kind && f.subject == open.subject);
            if !stays {
                events.push((now, open.kind, false));
            }
            stays
        });
        for Finding { kind, subject, .. } in found {
            if !open.iter().any(|o| o.kind == kind && o.subject == subject) {
                events.push((now, kind, true));
                open.push(Open {
                    kind,
                    subject,
                    since: now,
                });
            }
        }
    }
    events
}

fn always(_: i64) -> bool {
    true
}

#[test]
fn who_goes_on_writing_is_never_silent_in_a_year() {
    let dice = &mut Dice(4_711);
    let daily = |_: i64, _: &mut Dice| true;
    let weekdays = |day: i64, _: &mut Dice| day % 7 < 5;
    let weekly = |day: i64, _: &mut Dice| day % 7 == 2;
    let fortnightly_bursts = |day: i64, _: &mut Dice| day % 14 < 6;
    for lag in [0, 12 * HOUR, 3 * DAY] {
        for one in [
            reports(Some("google.com"), lag, dice, daily),
            reports(Some("google.com"), lag, dice, weekdays),
            reports(Some("google.com"), lag, dice, weekly),
            reports(Some("google.com"), lag, dice, fortnightly_bursts),
        ] {
            assert_eq!(year(one, always, None), [], "late by {lag}");
        }
        // All together, with somebody whom nobody knows.
        let mut all = reports(None, lag, dice, daily);
        all.extend(reports(Some("google.com"), lag, dice, weekdays));
        all.extend(reports(Some("mail.ru"), lag, dice, weekly));
        assert_eq!(year(all, always, None), [], "late by {lag}");
    }
}

#[test]
fn who_writes_when_there_was_mail_hardly_ever_seems_silent() {
    let dice = &mut Dice(42);
    for percent in [10, 30, 50, 60, 70, 80, 90] {
        let mut alarms = 0;
        for _ in 0..5 {
            let some = |_: i64, dice: &mut Dice| dice.below(100) < percent;
            let heard = reports(Some("google.com"), HOUR, dice, some);
            alarms += year(heard, always, None).len();
        }
        assert_eq!(alarms, 0, "{percent} % of all days");
    }
}

#[test]
fn a_lost_report_and_a_long_weekend_are_no_silence() {
    let dice = &mut Dice(7);
    let heard = reports(Some("google.com"), HOUR, dice, |day, _| {
        day != 100 && !(200..202).contains(&day)
    });
    assert_eq!(year(heard, always, None), []);
}

#[test]
fn a_known_reporter_that_stops_is_found_and_closes_when_it_writes_again() {
    let dice = &mut Dice(7);
    let pause = |day: i64, _: &mut Dice| !(200..230).contains(&day);
    let mut heard = reports(Some("google.com"), HOUR, dice, |_, _| true);
    heard.extend(reports(Some("mail.ru"), HOUR, dice, pause));
    // A stranger's silence is nothing.
    heard.extend(reports(None, HOUR, dice, pause));
    let events = year(heard, always, None);
    let kinds: Vec<_> = events.iter().map(|event| (event.1, event.2)).collect();
    let kind = FindingKind::ReporterSilent;
    assert_eq!(kinds, [(kind, true), (kind, false)]);
    assert!((202 * DAY..204 * DAY).contains(&events[0].0), "{events:?}");
    assert!((230 * DAY..231 * DAY).contains(&events[1].0), "{events:?}");
}

#[test]
fn a_domain_that_all_stop_writing_about_is_one_finding() {
    let dice = &mut Dice(7);
    let pause = |day: i64, _: &mut Dice| !(200..230).contains(&day);
    let mut heard = reports(Some("google.com"), HOUR, dice, pause);
    heard.extend(reports(Some("mail.ru"), HOUR, dice, pause));
    let events = year(heard, always, None);
    let kinds: Vec<_> = events.iter().map(|event| (event.1, event.2)).collect();
    let kind = FindingKind::ReportsStopped;
    assert_eq!(kinds, [(kind, true), (kind, false)]);
}

#[test]
fn a_time_that_nobody_watched_is_no_silence() {
    let dice = &mut Dice(7);
    // Down for a month, and what was written meanwhile is lost; a minute of watch now and then.
    let down = |at: i64| !(200 * DAY..230 * DAY).contains(&at) || at % (2 * DAY) == 0;
    let heard = reports(Some("google.com"), HOUR, dice, |day, _| {
        !(200..232).contains(&day)
    });
    assert_eq!(year(heard, down, None), []);
    // After a break in the watch a finding stays, as nobody has written.
    let heard = reports(Some("google.com"), HOUR, dice, |day, _| {
        !(200..230).contains(&day)
    });
    let events = year(heard, |at| !(210 * DAY..212 * DAY).contains(&at), None);
    assert_eq!(events.len(), 2, "{events:?}");
}

#[test]
fn a_domain_without_any_report_is_found_after_its_time() {
    let found = |quiet: i64, patience: Option<i64>| {
        let watched = Watched {
            since: 0,
            now: quiet,
            patience,
        };
        let found = silence(&domain(), &[], watched, &[]);
        found.first().map(|f| (f.kind, f.severity))
    };
    let none = Some((FindingKind::ReportsNone, Severity::Low));
    assert_eq!((found(14 * DAY, None), found(15 * DAY, None)), (None, none));
    assert_eq!(found(4 * DAY, Some(3 * DAY)), none);
}

#[test]
fn the_configured_time_takes_the_place_of_the_learnt_one() {
    let dice = &mut Dice(7);
    let heard = reports(Some("google.com"), HOUR, dice, |day, _| {
        !(200..205).contains(&day)
    });
    assert_eq!(year(heard.clone(), always, None).len(), 2);
    assert_eq!(year(heard, always, Some(10 * DAY)), []);
}

#[test]
fn an_import_of_years_is_no_habit() {
    let at = 100 * DAY;
    let heard: Vec<_> = (0..1_000)
        .map(|n| Heard {
            reporter: Some(name("google.com")),
            at: at + n,
        })
        .collect();
    let watched = Watched {
        since: 0,
        now: at + 60 * DAY,
        patience: None,
    };
    assert_eq!(silence(&domain(), &heard, watched, &[]), []);
}

#[test]
fn the_watch_begins_where_it_named_us_without_a_break() {
    let period = |text: &str, first_seen, last_seen| Period {
        outcome: DnsOutcome::Found,
        texts: vec![text.into()],
        first_seen: first_seen * HOUR,
        last_seen: last_seen * HOUR,
        ttl: 60,
    };
    let history = [
        period("us", 0, 10),
        period("them", 11, 20),
        period("us", 21, 30),
        period("us, too", 32, 40),
        period("us", 50, 60),
    ];
    let since = |periods, now| {
        let names_us = |period: &Period| period.texts[0].starts_with(b"us");
        named_since(&history[..periods], names_us, 3 * HOUR, now * HOUR).map(|at| at / HOUR)
    };
    assert_eq!(since(4, 41), Some(21));
    assert_eq!(since(5, 61), Some(50));
    assert_eq!(since(2, 21), None);
    assert_eq!(since(5, 64), None);
    assert_eq!(since(0, 1), None);
}

#[test]
fn the_detail_tells_the_habit() {
    let dice = &mut Dice(7);
    let heard = reports(Some("google.com"), 0, dice, |day, _| day < 100);
    let watched = Watched {
        since: 0,
        now: 104 * DAY,
        patience: None,
    };
    let found = silence(&domain(), &heard, watched, &[]);
    assert_eq!(
        found[0].detail,
        "no report from anybody for 4 days; before, one came on 42 of 42 days, at most 24 hours apart"
    );
}
