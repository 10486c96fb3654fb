//! A report beside what was published during its range, field by field. Pure.
//!
//! What is not known is no difference: a field that a report does not state, a time that our
//! history does not cover. Values are compared as receivers take them, with defaults filled in on
//! both sides, so that what is inherited is none either.

use std::collections::BTreeSet;

use super::history::{self, Watch};
use crate::{
    config::address::Recipient,
    dns::{
        Period,
        record::{self, FailureOptions, Record, Selection},
        uri::ReportUri,
    },
    domain::Domain,
    report::{PolicyPublished, Reported},
    terms::{Policy, RecordTag},
};

/// What `policy_published` may say of a record; where reports go it never says.
pub const REPORTED: [RecordTag; 8] = [
    RecordTag::P,
    RecordTag::Sp,
    RecordTag::Np,
    RecordTag::Adkim,
    RecordTag::Aspf,
    RecordTag::Pct,
    RecordTag::Fo,
    RecordTag::T,
];

/// The value of a tag as receivers take it, in one spelling.
pub fn effective(record: &Record, tag: RecordTag) -> String {
    let policy = |policy: Option<Policy>| policy.map_or("not applied", Policy::as_str).to_owned();
    match tag {
        RecordTag::P => policy(record.policy()),
        RecordTag::Sp => policy(record.subdomain_policy()),
        RecordTag::Np => policy(record.nonexistent_policy()),
        RecordTag::Adkim => record.dkim_alignment().to_string(),
        RecordTag::Aspf => record.spf_alignment().to_string(),
        RecordTag::Rua => destinations(&record.rua),
        RecordTag::Ruf => destinations(&record.ruf),
        RecordTag::Fo => record.failure_options().to_string(),
        RecordTag::T => record.testing().to_string(),
        RecordTag::Psd => record.public_suffix().to_string(),
        RecordTag::Pct => record.percentage().to_string(),
        RecordTag::Rf => record.rf.as_deref().unwrap_or("afrf").to_owned(),
        RecordTag::Ri => record.ri.unwrap_or(86_400).to_string(),
    }
}

/// Destinations in one order and spelling: mailboxes as they compare, no size limits.
pub fn destinations(uris: &[ReportUri]) -> String {
    let text = |uri: &ReportUri| {
        let mailbox = uri.mailbox();
        let address = mailbox.and_then(|m| Recipient::parse(m.as_bytes()));
        address.map_or_else(|| uri.bare().to_owned(), |a| format!("mailto:{a}"))
    };
    let texts: BTreeSet<_> = uris.iter().map(text).collect();
    texts.into_iter().collect::<Vec<_>>().join(",")
}

/// How a field of a report stands to what was published during its range.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "comparison", rename_all = "snake_case")]
pub enum Comparison {
    /// A record that was published then has this value, stated or by default.
    Same,
    /// No record has that was published then.
    Differs {
        /// What the report says.
        said: String,
        /// What the record has that the report is nearest to.
        published: String,
    },
    /// The report does not say, or says nothing that can be compared.
    NotStated,
}

/// A report beside what was published during its range.
#[derive(Clone, Debug)]
pub struct Compared<'a> {
    /// The report.
    pub report: &'a Reported,
    /// How each field stands.
    pub fields: Vec<(RecordTag, Comparison)>,
    /// If some differ, and an earlier record has what the report says: until when that was
    /// published, UTC epoch seconds.
    pub former: Option<i64>,
}

/// All that is known of what a domain published.
#[derive(Debug)]
pub struct Past<'a> {
    domain: &'a Domain,
    history: &'a [Period],
    records: Vec<Selection>,
    watch: Watch,
    is_organizational: bool,
}

impl<'a> Past<'a> {
    /// `history` is all that was seen of `domain`, in order of time. Below an organizational domain
    /// receivers need not look at `sp` and `np`, so that these are not compared.
    pub fn new(
        domain: &'a Domain,
        history: &'a [Period],
        watch: Watch,
        is_organizational: bool,
    ) -> Self {
        Self {
            domain,
            history,
            records: history.iter().map(|p| record::select(&p.texts)).collect(),
            watch,
            is_organizational,
        }
    }

    /// Holds a report against the records of its time. `None`: nobody can say, as our history does
    /// not cover the range, or there was a time without a single record, when receivers used the
    /// policy of a domain above; or the report is about such a policy.
    pub fn compare(&self, report: &'a Reported) -> Option<Compared<'a>> {
        if report.policy.domain != *self.domain {
            return None;
        }
        let used = history::covering(self.history, report.begin, report.end, self.watch)?;
        let mut nearest: Option<Vec<_>> = None;
        for selection in self.records.get(used.clone())? {
            let Selection::One(record) = selection else {
                return None;
            };
            let fields = self.fields(&report.policy, record);
            if nearest
                .as_ref()
                .is_none_or(|n| differing(&fields) < differing(n))
            {
                nearest = Some(fields);
            }
        }
        let fields = nearest?;
        let former = (differing(&fields) > 0)
            .then(|| self.former(&report.policy, used.start))
            .flatten();
        Some(Compared {
            report,
            fields,
            former,
        })
    }

    /// Until when a record was published, before the one at `before`, that is as the policy says.
    fn former(&self, policy: &PolicyPublished, before: usize) -> Option<i64> {
        let is_it = |selection: &Selection| match selection {
            Selection::One(record) => differing(&self.fields(policy, record)) == 0,
            _ => false,
        };
        let at = self.records.get(..before)?.iter().rposition(is_it)?;
        self.history.get(at).map(|period| period.last_seen)
    }

    fn fields(&self, policy: &PolicyPublished, record: &Record) -> Vec<(RecordTag, Comparison)> {
        let compare = |&tag: &RecordTag| {
            let ineffective = matches!(tag, RecordTag::Sp | RecordTag::Np);
            let said =
                stated(policy, record, tag).filter(|_| self.is_organizational || !ineffective);
            let published = effective(record, tag);
            let comparison = match said {
                None => Comparison::NotStated,
                Some(said) if said == published => Comparison::Same,
                Some(said) => Comparison::Differs { said, published },
            };
            (tag, comparison)
        };
        REPORTED.iter().map(compare).collect()
    }
}

fn differing(fields: &[(RecordTag, Comparison)]) -> usize {
    let differs = |(_, comparison): &&(_, _)| matches!(comparison, Comparison::Differs { .. });
    fields.iter().filter(differs).count()
}

/// What a report states of a tag; `None`: nothing that can be compared.
fn stated(policy: &PolicyPublished, record: &Record, tag: RecordTag) -> Option<String> {
    match tag {
        RecordTag::P => policy.p.known().map(|p| p.to_string()),
        RecordTag::Sp => policy.sp.known().map(|sp| sp.to_string()),
        RecordTag::Np => policy.np.known().map(|np| np.to_string()),
        RecordTag::Adkim => policy.adkim.known().map(|mode| mode.to_string()),
        RecordTag::Aspf => policy.aspf.known().map(|mode| mode.to_string()),
        RecordTag::T => policy.testing.known().map(|t| t.to_string()),
        // RFC 9990 has no pct, and who follows it and states it nevertheless means nothing. Nor
        // does the default, which who ignores the tag states as well; the same goes for fo.
        RecordTag::Pct => policy
            .pct
            .filter(|pct| *pct != 100 && !follows_rfc9990(policy))
            .map(|pct| pct.to_string()),
        // Ignored without ruf, where reporters state anything.
        RecordTag::Fo if record.states(RecordTag::Ruf) => {
            FailureOptions::parse(policy.fo.as_bytes())
                .filter(|fo| *fo != FailureOptions::DEFAULT)
                .map(|fo| fo.to_string())
        }
        RecordTag::Fo
        | RecordTag::Rua
        | RecordTag::Ruf
        | RecordTag::Psd
        | RecordTag::Rf
        | RecordTag::Ri => None,
    }
}

fn follows_rfc9990(policy: &PolicyPublished) -> bool {
    policy.testing.known().is_some() || policy.discovery_method.known().is_some()
}

#[cfg(test)]
mod tests;
