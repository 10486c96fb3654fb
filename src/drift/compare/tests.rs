use super::{
    Comparison::{NotStated, Same},
    RecordTag as T, *,
};
use crate::{
    drift::fixtures::{domain, policy_published},
    report::Stated,
    terms::{Alignment, DiscoveryMethod, DnsOutcome, YesNo},
};

const DAY: i64 = 86_400;
const WATCH: Watch = Watch {
    gap: 10_800,
    propagation: 2 * DAY,
};

fn seen(text: &str, first_seen: i64, last_seen: i64) -> Period {
    Period {
        outcome: DnsOutcome::Found,
        texts: vec![text.into()],
        first_seen,
        last_seen,
        ttl: 3_600,
    }
}

fn report(change: impl FnOnce(&mut PolicyPublished)) -> Reported {
    let mut policy = policy_published(Policy::Reject);
    change(&mut policy);
    Reported {
        org_name: "google.com".to_owned(),
        email: String::new(),
        begin: 10 * DAY,
        end: 11 * DAY - 1,
        policy,
    }
}

/// The fields that differ, and until when the report was right; `None`: nobody can say.
fn differing(
    history: &[Period],
    is_organizational: bool,
    change: impl FnOnce(&mut PolicyPublished),
) -> Option<(Vec<RecordTag>, Option<i64>)> {
    let (domain, report) = (domain(), report(change));
    let past = Past::new(&domain, history, WATCH, is_organizational);
    let compared = past.compare(&report)?;
    let differs = |(tag, it): &(_, _)| matches!(it, Comparison::Differs { .. }).then_some(*tag);
    let fields = compared.fields.iter().filter_map(differs).collect();
    Some((fields, compared.former))
}

#[test]
fn a_reported_field_is_the_same_differs_or_is_not_stated() {
    let history = [seen("v=DMARC1; p=reject", 5 * DAY, 12 * DAY)];
    let domain = domain();
    let past = Past::new(&domain, &history, WATCH, true);
    let compare = |tag, change: fn(&mut PolicyPublished)| {
        let report = report(change);
        let fields = past.compare(&report).unwrap().fields;
        fields.into_iter().find(|(of, _)| *of == tag).unwrap().1
    };
    let differs = |said: &str, published: &str| Comparison::Differs {
        said: said.into(),
        published: published.into(),
    };
    assert_eq!(compare(T::P, |_| ()), Same);
    assert_eq!(compare(T::P, |p| p.p = Stated::Not), NotStated);
    let unknown = |p: &mut PolicyPublished| p.p = Stated::Other("unknown".into());
    assert_eq!(compare(T::P, unknown), NotStated);
    let none = |p: &mut PolicyPublished| p.p = Stated::Known(Policy::None);
    assert_eq!(compare(T::P, none), differs("none", "reject"));
    // By default.
    assert_eq!(compare(T::Sp, |_| ()), NotStated);
    assert_eq!(
        compare(T::Sp, |p| p.sp = Stated::Known(Policy::Reject)),
        Same
    );
    assert_eq!(
        compare(T::Np, |p| p.np = Stated::Known(Policy::Reject)),
        Same
    );
    let sp = |p: &mut PolicyPublished| p.sp = Stated::Known(Policy::None);
    assert_eq!(compare(T::Sp, sp), differs("none", "reject"));
    let adkim = |p: &mut PolicyPublished| p.adkim = Stated::Known(Alignment::Relaxed);
    assert_eq!(compare(T::Adkim, adkim), Same);
    let aspf = |p: &mut PolicyPublished| p.aspf = Stated::Known(Alignment::Strict);
    assert_eq!(compare(T::Aspf, aspf), differs("s", "r"));
    assert_eq!(
        compare(T::T, |p| p.testing = Stated::Known(YesNo::No)),
        Same
    );
    let testing = |p: &mut PolicyPublished| p.testing = Stated::Known(YesNo::Yes);
    assert_eq!(compare(T::T, testing), differs("y", "n"));
    // Nothing without ruf.
    assert_eq!(compare(T::Fo, |p| p.fo = "1".into()), NotStated);
    // The default says nothing, and RFC 9990 has no pct.
    assert_eq!(compare(T::Pct, |p| p.pct = Some(100)), NotStated);
    assert_eq!(compare(T::Pct, |p| p.pct = Some(50)), differs("50", "100"));
    let newer = |p: &mut PolicyPublished| {
        p.pct = Some(50);
        p.discovery_method = Stated::Known(DiscoveryMethod::Treewalk);
    };
    assert_eq!(compare(T::Pct, newer), NotStated);
}

#[test]
fn the_policy_of_another_domain_is_not_compared() {
    let history = [seen("v=DMARC1; p=reject", 5 * DAY, 12 * DAY)];
    let inherited = |p: &mut PolicyPublished| {
        p.domain = Domain::parse("com").unwrap();
        p.p = Stated::Known(Policy::None);
    };
    assert_eq!(differing(&history, true, inherited), None);
    // Receivers look for sp and np at the organizational domain.
    let sp = |p: &mut PolicyPublished| p.sp = Stated::Known(Policy::None);
    assert_eq!(
        differing(&history, true, sp),
        Some((vec![RecordTag::Sp], None))
    );
    assert_eq!(differing(&history, false, sp), Some((vec![], None)));
}

#[test]
fn what_history_does_not_cover_is_not_compared() {
    let none = |p: &mut PolicyPublished| p.p = Stated::Known(Policy::None);
    let text = "v=DMARC1; p=reject";
    for history in [
        vec![],
        vec![seen(text, 8 * DAY + 1, 12 * DAY)],
        vec![seen(text, 5 * DAY, 10 * DAY)],
        vec![
            seen(text, 5 * DAY, 10 * DAY),
            seen(text, 11 * DAY, 12 * DAY),
        ],
    ] {
        assert_eq!(differing(&history, true, none), None, "{history:?}");
    }
}

#[test]
fn a_report_may_be_about_any_record_of_its_time() {
    let none = |p: &mut PolicyPublished| p.p = Stated::Known(Policy::None);
    let (old, new) = ("v=DMARC1; p=none", "v=DMARC1; p=reject");
    let changed = |at: i64| [seen(old, 0, at), seen(new, at + 60, 12 * DAY)];
    let same = Some((vec![], None));
    assert_eq!(differing(&changed(10 * DAY + 60), true, none), same);
    assert_eq!(differing(&changed(8 * DAY + 60), true, none), same);
    // Later it is stale, and it is known what it comes from.
    let stale = Some((vec![RecordTag::P], Some(7 * DAY)));
    assert_eq!(differing(&changed(7 * DAY), true, none), stale);
    let other = |p: &mut PolicyPublished| p.p = Stated::Known(Policy::Quarantine);
    let never = Some((vec![RecordTag::P], None));
    assert_eq!(differing(&changed(7 * DAY), true, other), never);
}

#[test]
fn a_time_without_a_single_record_allows_an_inherited_policy() {
    let none = |p: &mut PolicyPublished| p.p = Stated::Known(Policy::None);
    let mut absent = seen("", 0, 12 * DAY);
    absent.outcome = DnsOutcome::NxDomain;
    absent.texts.clear();
    assert_eq!(differing(&[absent], true, none), None);
}
