//! All of the watch's rules together: a truth table, and years in which nothing is wrong.

use std::collections::HashSet;

use super::{
    compare::Past,
    expected::Expected,
    fixtures::{Dice, domain, policy_published},
    history::Watch,
    published::{Absence, Seen, judge},
    reported,
};
use crate::{
    config::{
        address::Recipient,
        domains::{Demands, Details, DomainList},
    },
    dns::{
        Answer, Period,
        walk::{Known, Walk},
    },
    domain::Domain,
    report::{PolicyPublished, Reported, Stated, reporters::Reporters},
    terms::{Alignment, DiscoveryMethod, DnsOutcome, FindingKind, Policy, YesNo},
};

const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;
const WATCH: Watch = Watch {
    gap: 3 * HOUR,
    propagation: 2 * DAY,
};

const POLICIES: [Policy; 3] = [Policy::None, Policy::Quarantine, Policy::Reject];

fn text(policy: Policy) -> String {
    format!("v=DMARC1; p={policy}; rua=mailto:rua@ours.example")
}

fn period(policy: Option<Policy>, first_seen: i64, last_seen: i64) -> Period {
    Period {
        outcome: policy.map_or(DnsOutcome::NxDomain, |_| DnsOutcome::Found),
        texts: policy.into_iter().map(|p| text(p).into_bytes()).collect(),
        first_seen,
        last_seen,
        ttl: 3_600,
    }
}

fn reported(history: &[Period], reports: &[Reported]) -> Vec<FindingKind> {
    let domain = domain();
    let past = Past::new(&domain, history, WATCH, true);
    let compared: Vec<_> = reports.iter().filter_map(|r| past.compare(r)).collect();
    let found = reported::findings(&domain, &compared, &Reporters::default());
    found.into_iter().map(|f| f.kind).collect()
}

/// What is found in the record of now.
fn published(wanted: Want, now: Option<Policy>) -> Vec<FindingKind> {
    let details = Details {
        rua: vec![Recipient::parse(b"rua@ours.example").unwrap()],
        wanted: match wanted {
            Want::Record(policy) => Some(text(policy)),
            Want::Nothing | Want::AtLeast(_) => None,
        },
        demands: match wanted {
            Want::AtLeast(policy) => Demands {
                policy: Some(policy),
                ..Demands::default()
            },
            Want::Nothing | Want::Record(_) => Demands::default(),
        },
        ..Details::default()
    };
    let entries = [(domain(), details)].into_iter().collect();
    let list = DomainList::new(entries, HashSet::new(), None, "+".into());
    let expected = Expected::of(&list, list.get(&domain()).unwrap());
    let absent = Answer::absent(DnsOutcome::NxDomain, 60);
    let answer = now.map_or(absent.clone(), |p| {
        Answer::found(vec![text(p).into_bytes()], 60)
    });
    let mut walk = Walk::new(domain());
    walk.add(&answer);
    walk.add(&absent);
    let seen = Seen {
        domain: domain(),
        answer,
        walk,
        absence: Known::Yes(Absence::Plain),
        hosts: Vec::new(),
        has_unknown_host: false,
        tls: absent,
    };
    let found = judge(&seen, &expected, None).findings;
    found.into_iter().map(|f| f.kind).collect()
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Want {
    Nothing,
    AtLeast(Policy),
    Record(Policy),
}

/// What the record of now should bring. The policy of names below, which follows, is not told twice.
fn expected_of_record(wanted: Want, now: Option<Policy>) -> Vec<FindingKind> {
    let Some(now) = now else {
        return vec![FindingKind::RecordMissing];
    };
    match wanted {
        Want::AtLeast(wanted) | Want::Record(wanted) if now < wanted => {
            vec![FindingKind::PolicyWeaker]
        }
        Want::Record(wanted) if now > wanted => vec![FindingKind::PolicyStronger],
        Want::Nothing | Want::AtLeast(_) | Want::Record(_) => vec![],
    }
}

/// What two reports on [`begin`, `end`) should bring if the record changed at `change`: the old one
/// may be seen until two days after it, the new one by who looks a day late; and who finds none
/// may use the policy of a domain above.
fn expected_of_reports(
    [old, new]: [Option<Policy>; 2],
    change: i64,
    (begin, end): (i64, i64),
    said: [Policy; 2],
) -> Vec<FindingKind> {
    let old_may_be = begin <= change + 2 * DAY;
    let new_may_be = end > change - DAY;
    if old_may_be && old.is_none() || new_may_be && new.is_none() {
        return vec![];
    }
    let may_be = |p| old_may_be && old == Some(p) || new_may_be && new == Some(p);
    let mut wrong = said.into_iter().filter(|p| !may_be(*p));
    match (wrong.next(), wrong.next()) {
        (None, _) => vec![],
        (Some(p), None) if !old_may_be && old == Some(p) => vec![FindingKind::ReporterStale],
        (Some(_), None) => vec![FindingKind::ReporterDiffers],
        (Some(_), Some(_)) => vec![FindingKind::ReportedDiffers],
    }
}

/// Holds every pair of reports against a record that changed from `old` to `new`.
fn rows_of_reports(old: Option<Policy>, new: Option<Policy>) -> usize {
    let change = 30 * DAY;
    let history = [period(old, 0, change - HOUR), period(new, change, 60 * DAY)];
    let said = POLICIES
        .iter()
        .flat_map(|one| POLICIES.map(|other| [*one, other]));
    let mut rows = 0;
    for (half_days, days, said) in (52..68)
        .flat_map(|begin| [1, 2, 7].map(|days| (begin, days)))
        .flat_map(|(begin, days)| said.clone().map(move |said| (begin, days, said)))
    {
        let begin = half_days * 12 * HOUR;
        let end = begin + days * DAY;
        let report = |org_name: &str, p| Reported {
            org_name: org_name.to_owned(),
            email: String::new(),
            begin,
            end: end - 1,
            policy: policy_published(p),
        };
        let reports = [report("google.com", said[0]), report("Yahoo", said[1])];
        assert_eq!(
            reported(&history, &reports),
            expected_of_reports([old, new], change, (begin, end), said),
            "{old:?} to {new:?}; {said:?} from {begin} for {days} days"
        );
        rows += 1;
    }
    rows
}

/// Wanted × published before and now × what each of two reporters saw × when and how long.
#[test]
fn the_truth_table_of_wanted_published_reported_and_time() {
    let wants = [Want::Nothing]
        .into_iter()
        .chain(POLICIES.map(Want::AtLeast))
        .chain(POLICIES.map(Want::Record));
    let maybe = [None].into_iter().chain(POLICIES.map(Some));
    let mut rows = 0;
    for (wanted, new) in wants.flat_map(|wanted| maybe.clone().map(move |new| (wanted, new))) {
        let found = published(wanted, new);
        assert_eq!(
            found,
            expected_of_record(wanted, new),
            "{wanted:?}, {new:?}"
        );
        for old in maybe.clone().filter(|old| *old != new) {
            rows += rows_of_reports(old, new);
        }
    }
    assert_eq!(rows, 7 * 12 * 16 * 3 * 9);
}

/// A record as it was published from some time on; `None`: there was none.
#[derive(Clone, Copy, Debug)]
struct Version {
    from: i64,
    ttl: i64,
    record: Option<(Policy, Option<Policy>, Alignment, u8, YesNo)>,
}

impl Version {
    fn text(&self) -> Option<String> {
        let (p, sp, adkim, pct, t) = self.record?;
        let sp = sp.map_or_else(String::new, |sp| format!(" sp={sp};"));
        Some(format!(
            "v=DMARC1; p={p};{sp} adkim={adkim}; pct={pct}; t={t}"
        ))
    }
}

/// A domain whose owner changes the record every now and then.
fn versions(dice: &mut Dice, days: i64) -> Vec<Version> {
    let mut at = 0;
    let mut versions = Vec::new();
    while at < days * DAY {
        let record = (
            dice.one_of(&POLICIES),
            dice.one_of(&[None, Some(Policy::None), Some(Policy::Reject)]),
            dice.one_of(&[Alignment::Relaxed, Alignment::Strict]),
            dice.one_of(&[100, 100, 50]),
            dice.one_of(&[YesNo::No, YesNo::Yes]),
        );
        versions.push(Version {
            from: at,
            ttl: dice.one_of(&[60, 300, 3_600, 86_400, 3 * 86_400]),
            record: (dice.below(10) > 0).then_some(record),
        });
        let longest = dice.one_of(&[2, 20, 60]) * DAY;
        at += 6 * HOUR + dice.below(longest);
    }
    versions
}

fn at(versions: &[Version], time: i64) -> &Version {
    let after = versions.partition_point(|version| version.from <= time);
    &versions[after.saturating_sub(1)]
}

/// What a reporter states that finds `version`: newer ones other tags than older ones, some with
/// defaults filled in.
fn states(version: &Version, is_newer: bool, dice: &mut Dice) -> PolicyPublished {
    // Who finds none goes by the record of a domain above, and may call that ours.
    let none = (Policy::None, None, Alignment::Relaxed, 100, YesNo::No);
    let (p, sp, adkim, pct, t) = version.record.unwrap_or(none);
    let mut policy = policy_published(p);
    if version.record.is_none() && dice.below(2) == 0 {
        policy.domain = Domain::parse("com").unwrap();
    }
    policy.sp = match sp {
        Some(sp) => Stated::Known(sp),
        None if dice.below(2) == 0 => Stated::Known(p),
        None => Stated::Not,
    };
    policy.adkim = Stated::Known(adkim);
    policy.aspf = dice
        .one_of(&[true, false])
        .then_some(Alignment::Relaxed)
        .map_or(Stated::Not, Stated::Known);
    if is_newer {
        policy.np = Stated::Known(sp.unwrap_or(p));
        policy.testing = Stated::Known(t);
        policy.discovery_method = Stated::Known(DiscoveryMethod::Treewalk);
    } else {
        policy.pct = Some(u64::from(pct).try_into().unwrap());
    }
    policy
}

/// A report, and when it comes.
struct Mail {
    comes: i64,
    report: Reported,
}

/// A reporter writes about one day, two, or a week. It looks until a day late, and what it sees may
/// have been kept for the TTL, or for two days.
fn mails(name: &str, versions: &[Version], days: i64, dice: &mut Dice) -> Vec<Mail> {
    let length = dice.one_of(&[1, 1, 1, 2, 7]) * DAY;
    let (offset, is_newer) = (dice.below(DAY), dice.below(2) == 0);
    let mut mails = Vec::new();
    let mut begin = offset;
    while begin < days * DAY {
        let end = begin + length;
        let looks = begin + dice.below(length + DAY);
        let kept_from = (looks - dice.below(4 * DAY)).max(0);
        let kept = at(versions, kept_from);
        let gone = versions
            .iter()
            .find(|next| next.from > kept_from)
            .map_or(i64::MAX, |next| next.from);
        let may_be_kept = looks - kept.ttl.max(WATCH.propagation) < gone;
        let version = if may_be_kept {
            kept
        } else {
            at(versions, looks)
        };
        mails.push(Mail {
            comes: looks.max(end) + dice.below(DAY),
            report: Reported {
                org_name: name.to_owned(),
                email: String::new(),
                begin,
                end: end - 1,
                policy: states(version, is_newer, dice),
            },
        });
        begin = end;
    }
    mails
}

/// One look of the watch, recorded as the store does.
fn look(history: &mut Vec<Period>, now: i64, version: &Version) {
    let texts: Vec<_> = version.text().into_iter().map(String::into_bytes).collect();
    let ttl = u32::try_from(version.ttl).unwrap();
    match history.last_mut() {
        Some(last) if last.texts == texts && now - last.last_seen <= WATCH.gap => {
            last.last_seen = now;
            last.ttl = last.ttl.max(ttl);
        }
        _ => history.push(Period {
            outcome: if texts.is_empty() {
                DnsOutcome::NoData
            } else {
                DnsOutcome::Found
            },
            texts,
            first_seen: now,
            last_seen: now,
            ttl,
        }),
    }
}

/// Whether anything was compared, and what was found from day to day.
fn live(
    versions: &[Version],
    mails: &[Mail],
    days: i64,
    dice: &mut Dice,
) -> (usize, Vec<(i64, FindingKind)>) {
    let (mut history, mut found, mut compared) = (Vec::new(), Vec::new(), 0);
    let (mut next_day, mut fails_until, mut now) = (DAY, 0, 0);
    while now < days * DAY {
        // DNS, or the machine, is down for a while now and then.
        if dice.below(400) == 0 {
            let longest = dice.one_of(&[2, 30]) * HOUR;
            fails_until = now + dice.below(longest);
        }
        if now >= fails_until {
            look(&mut history, now, at(versions, now));
            if now >= next_day {
                next_day = now + DAY;
                let came = mails
                    .iter()
                    .filter(|mail| mail.comes <= now && mail.report.end >= now - 3 * DAY);
                let reports: Vec<_> = came.map(|mail| mail.report.clone()).collect();
                let domain = domain();
                let past = Past::new(&domain, &history, WATCH, true);
                compared += reports.iter().filter(|r| past.compare(r).is_some()).count();
                found.extend(
                    reported(&history, &reports)
                        .into_iter()
                        .map(|kind| (now / DAY, kind)),
                );
            }
        }
        now += 54 * 60 + dice.below(12 * 60);
    }
    (compared, found)
}

const REPORTERS: [&str; 6] = [
    "google.com",
    "Yahoo",
    "mail.ru",
    "Comcast",
    "GMX",
    "stranger.example",
];

#[test]
fn a_year_of_changes_and_of_reporters_with_lag_is_no_drift() {
    let mut compared = 0;
    for seed in 1..=20 {
        let mut dice = Dice(seed * 0x9E37_79B9);
        let versions = versions(&mut dice, 365);
        let mails: Vec<_> = REPORTERS
            .iter()
            .flat_map(|name| mails(name, &versions, 365, &mut dice))
            .collect();
        let (number, found) = live(&versions, &mails, 365, &mut dice);
        assert_eq!(found, [], "year {seed}: {versions:#?}");
        compared += number;
    }
    // Most could be compared, on the three days that each is looked at.
    println!("{compared} comparisons");
    assert!(compared > 20 * 365 * 5, "{compared}");
}

#[test]
fn what_two_see_in_such_a_year_that_never_was_is_found_and_closes() {
    for seed in 1..=5 {
        let mut dice = Dice(seed * 0x9E37_79B9);
        // Where nothing is published for a time, nobody can say; a change is in this year, too.
        let record = |from: i64, p| Version {
            from: from * DAY,
            ttl: 3_600,
            record: Some((p, None, Alignment::Relaxed, 100, YesNo::No)),
        };
        let versions = [record(0, Policy::None), record(195, Policy::Reject)];
        let names = REPORTERS.iter();
        let mut mails: Vec<_> = names
            .flat_map(|name| mails(name, &versions, 365, &mut dice))
            .collect();
        for Mail { report, .. } in &mut mails {
            let is_inside = ["google.com", "Yahoo"].contains(&report.org_name.as_str());
            if is_inside && (200 * DAY..220 * DAY).contains(&report.begin) {
                report.policy.aspf = Stated::Known(Alignment::Strict);
            }
        }
        let (_, found) = live(&versions, &mails, 365, &mut dice);
        let both = |(_, kind): &&(i64, FindingKind)| *kind == FindingKind::ReportedDiffers;
        let first = found.iter().find(both).expect("it is found").0;
        // Two that write weekly may begin to see it late.
        assert!((201..=217).contains(&first), "year {seed}: day {first}");
        let days = found.iter().map(|(day, _)| *day);
        assert!(days.clone().min() >= Some(201), "year {seed}: {found:?}");
        assert!(days.max() <= Some(232), "year {seed}: {found:?}");
    }
}
