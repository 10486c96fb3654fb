//! A published record against the wanted one, or against what is demanded at least. Pure.

use super::{
    compare::{destinations, effective},
    expected::Expected,
    lint::enforces,
    published::{Judgement, Seen},
};
use crate::{
    dns::{
        record::Record,
        uri::ReportUri,
        walk::{Applied, Existence, Known},
    },
    domain::Domain,
    terms::{Alignment, FindingKind, Policy, Psd, RecordTag, Severity, YesNo},
};

/// In what the record that applies falls short of what is demanded at least.
pub fn demanded(
    seen: &Seen,
    expected: &Expected<'_>,
    applied: &Applied<'_>,
    found: &mut Judgement,
) {
    let (domain, demands) = (&seen.domain, expected.demands);
    let own = [(RecordTag::P, Existence::Exists)];
    let own = falls_short(domain, demands.policy, Some(*applied), &own);
    found.add_joined(domain, FindingKind::PolicyWeaker, Severity::High, &own);
    if demands.subdomains.is_some() {
        let kind = FindingKind::SubdomainPolicyMismatch;
        let below = [
            (RecordTag::Sp, Existence::Exists),
            (RecordTag::Np, Existence::Missing),
        ];
        // Which is not the domain's own if another is its organizational domain.
        match seen.walk.inherited() {
            Known::Yes(applied) => {
                let below = falls_short(domain, demands.subdomains, applied, &below);
                found.add_joined(domain, kind, Severity::High, &below);
            }
            Known::No => found.undecided.push(kind),
        }
    }
    if let Some(alignment) = demands.alignment {
        alignments(domain, [alignment; 2], applied.record, found);
    }
}

/// In which of the tags the record asks for less than is wanted, and whose it is.
fn falls_short(
    domain: &Domain,
    want: Option<Policy>,
    applied: Option<Applied<'_>>,
    tags: &[(RecordTag, Existence)],
) -> Vec<String> {
    let word = |policy: Option<Policy>| policy.map_or("not applied", Policy::as_str);
    let above = applied.filter(|applied| applied.domain != domain);
    let short = tags.iter().filter_map(|&(tag, existence)| {
        // What t and pct make of the domain's own record is a finding by itself.
        let have = match above {
            Some(above) => above.enforced(existence),
            None => applied.and_then(|own| own.policy(existence)),
        };
        let (want_word, have_word) = (word(want), word(have));
        (have < want).then(|| format!("{tag}: at least {want_word} is wanted, is {have_word}"))
    });
    let mut short: Vec<_> = short.collect();
    if let Some(above) = above.filter(|_| !short.is_empty()) {
        let lowered = if above.record.is_lowered() {
            ", where t or pct lowers the policy"
        } else {
            ""
        };
        let place = above.domain;
        short.push(format!("receivers use the record of {place}{lowered}"));
    }
    short
}

/// In what the domain's own record differs from the wanted one. `is_lost`: none of its destinations is
/// ours, which is said already.
pub fn differences(
    domain: &Domain,
    expected: &Expected<'_>,
    wanted: &Record,
    record: &Record,
    is_lost: bool,
    found: &mut Judgement,
) {
    policies(domain, wanted, record, found);
    subdomains(domain, wanted, record, found);
    let alignment = [wanted.dkim_alignment(), wanted.spf_alignment()];
    alignments(domain, alignment, record, found);
    let (mut extra, mut other) = (Vec::new(), Vec::new());
    // Failure reports tell of single messages.
    let (mut worst_extra, mut worst_other) = (Severity::Medium, Severity::Low);
    for (tag, want, have) in [
        (RecordTag::Rua, &wanted.rua, &record.rua),
        (RecordTag::Ruf, &wanted.ruf, &record.ruf),
    ] {
        if is_lost && tag == RecordTag::Rua {
            continue;
        }
        let foreign = lacking(expected, want, have);
        if foreign > 0 {
            extra.push(format!("{tag}: {foreign} that are not wanted"));
            if tag == RecordTag::Ruf {
                worst_extra = Severity::High;
            }
        }
        if lacking(expected, have, want) > 0 {
            other.push(format!("{tag}: a destination that is wanted is not there"));
            worst_other = Severity::Medium;
        }
    }
    found.add_joined(domain, FindingKind::RuaExtra, worst_extra, &extra);
    other.extend(minor(wanted, record));
    found.add_joined(domain, FindingKind::RecordDiffers, worst_other, &other);
}

/// How many of `there` are neither ours nor among `here`.
fn lacking(expected: &Expected<'_>, here: &[ReportUri], there: &[ReportUri]) -> usize {
    let spelled = |uri: &ReportUri| destinations(std::slice::from_ref(uri));
    let here: Vec<_> = here.iter().map(spelled).collect();
    let others = there.iter().filter(|uri| !expected.is_ours(uri));
    others.filter(|uri| !here.contains(&spelled(uri))).count()
}

/// `p`, and what `t` and `pct` make of it.
fn policies(domain: &Domain, wanted: &Record, record: &Record, found: &mut Judgement) {
    let (want, have) = (wanted.policy(), record.policy());
    let both_enforce = enforces(wanted) && enforces(record);
    let (want_pct, have_pct) = (wanted.percentage(), record.percentage());
    let is_tested = |record: &Record| record.testing() == YesNo::Yes;
    let differ = |tags: &[(bool, RecordTag)]| {
        let tags = tags.iter().filter(|(is_so, _)| *is_so);
        tags.map(|(_, tag)| difference(wanted, record, *tag))
            .collect::<Vec<_>>()
    };
    // Where the wanted record has neither, t=y and pct are findings by themselves.
    let weaker = differ(&[
        (have < want, RecordTag::P),
        (
            both_enforce && have_pct < want_pct && want_pct < 100,
            RecordTag::Pct,
        ),
    ]);
    found.add_joined(domain, FindingKind::PolicyWeaker, Severity::High, &weaker);
    let stronger = differ(&[
        (have > want, RecordTag::P),
        (both_enforce && have_pct > want_pct, RecordTag::Pct),
        (
            both_enforce && is_tested(wanted) && !is_tested(record),
            RecordTag::T,
        ),
    ]);
    found.add_joined(
        domain,
        FindingKind::PolicyStronger,
        Severity::High,
        &stronger,
    );
}

/// `sp` and `np`.
fn subdomains(domain: &Domain, wanted: &Record, record: &Record, found: &mut Judgement) {
    let mut details = Vec::new();
    let mut worst = Severity::Medium;
    for (tag, policy) in [
        (RecordTag::Sp, Record::subdomain_policy as fn(&Record) -> _),
        (RecordTag::Np, Record::nonexistent_policy),
    ] {
        let (want, have) = (policy(wanted), policy(record));
        // Without either it follows from another tag, which is compared itself.
        if want != have && (wanted.states(tag) || record.states(tag)) {
            details.push(difference(wanted, record, tag));
            if have < want {
                worst = Severity::High;
            }
        }
    }
    let kind = FindingKind::SubdomainPolicyMismatch;
    found.add_joined(domain, kind, worst, &details);
}

/// `adkim` and `aspf`.
fn alignments(domain: &Domain, want: [Alignment; 2], record: &Record, found: &mut Judgement) {
    let have = [
        (RecordTag::Adkim, record.dkim_alignment()),
        (RecordTag::Aspf, record.spf_alignment()),
    ];
    let mut details = Vec::new();
    let mut worst = Severity::Medium;
    for (want, (tag, have)) in want.into_iter().zip(have) {
        if want != have {
            details.push(format!("{tag}: wanted {want}, published {have}"));
            // Good mail may fail by it.
            if have == Alignment::Strict {
                worst = Severity::High;
            }
        }
    }
    found.add_joined(domain, FindingKind::AlignmentChanged, worst, &details);
}

/// What else differs.
fn minor(wanted: &Record, record: &Record) -> Vec<String> {
    let matters = |tag: &RecordTag| match tag {
        // Ignored without ruf (RFC 9989 section 4.7).
        RecordTag::Fo => wanted.states(RecordTag::Ruf) || record.states(RecordTag::Ruf),
        // That the published record has it is a finding by itself.
        RecordTag::Psd => wanted.states(RecordTag::Psd) && record.psd != Some(Psd::Yes),
        tag => wanted.states(*tag),
    };
    [RecordTag::Fo, RecordTag::Psd, RecordTag::Rf, RecordTag::Ri]
        .into_iter()
        .filter(matters)
        .filter(|&tag| effective(wanted, tag) != effective(record, tag))
        .map(|tag| difference(wanted, record, tag))
        .collect()
}

fn difference(wanted: &Record, record: &Record, tag: RecordTag) -> String {
    let (want, have) = (effective(wanted, tag), effective(record, tag));
    format!("{tag}: wanted {want}, published {have}")
}
