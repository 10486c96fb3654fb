//! DMARC records: the grammar of RFC 9989 section 4.8, with the historic tags of RFC 7489
//! recognised. Pure.
//!
//! A text either is no DMARC record at all, because it does not start with `v=DMARC1`, or it is
//! one, with problems: receivers discard what is bad and go on with the defaults (RFC 9989
//! section 4.8), and so do we. What was discarded is listed.

mod problem;
mod read;

use std::fmt;

pub use problem::{Problem, ProblemKind, mended};
pub(super) use read::pieces;
pub use read::{is_meant, meant, parse};

use super::uri::ReportUri;
use crate::terms::{Alignment, Policy, Psd, RecordTag, YesNo};

/// What a TXT record is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// No DMARC record.
    NotDmarc,
    /// A DMARC record, with its problems.
    Dmarc(Box<Record>),
}

impl Parsed {
    /// The record, if it is one.
    pub fn into_record(self) -> Option<Record> {
        match self {
            Self::NotDmarc => None,
            Self::Dmarc(record) => Some(*record),
        }
    }
}

/// A DMARC record as it is stated; the methods give what it means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// `p`.
    pub p: Option<Policy>,
    /// `sp`.
    pub sp: Option<Policy>,
    /// `np`.
    pub np: Option<Policy>,
    /// `adkim`.
    pub adkim: Option<Alignment>,
    /// `aspf`.
    pub aspf: Option<Alignment>,
    /// `rua`, the valid ones.
    pub rua: Vec<ReportUri>,
    /// `ruf`, the valid ones.
    pub ruf: Vec<ReportUri>,
    /// `fo`.
    pub fo: Option<FailureOptions>,
    /// `t`.
    pub t: Option<YesNo>,
    /// `psd`.
    pub psd: Option<Psd>,
    /// `pct`, 0 to 100 (historic).
    pub pct: Option<u8>,
    /// `rf` (historic).
    pub rf: Option<Box<str>>,
    /// `ri`, in seconds (historic).
    pub ri: Option<u32>,
    /// What is amiss in the text, in order.
    pub problems: Vec<Problem>,
}

/// `fo`: when failure reports are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailureOptions {
    /// `0`: when all mechanisms failed to align; `1`: when any did.
    pub number: Option<u8>,
    /// `d`: when a DKIM signature failed.
    pub dkim: bool,
    /// `s`: when SPF failed.
    pub spf: bool,
}

impl FailureOptions {
    /// `fo=0`, the default.
    pub const DEFAULT: Self = Self {
        number: Some(0),
        dkim: false,
        spf: false,
    };

    /// Reads `0` or `1`, `d` and `s`, joined by colons, in any order.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let mut options = Self {
            number: None,
            dkim: false,
            spf: false,
        };
        for option in value.split(|&b| b == b':') {
            match (option.trim_ascii(), options.number) {
                (b"0", None | Some(0)) => options.number = Some(0),
                (b"1", None | Some(1)) => options.number = Some(1),
                (b"d" | b"D", _) => options.dkim = true,
                (b"s" | b"S", _) => options.spf = true,
                _ => return None,
            }
        }
        Some(options)
    }
}

impl fmt::Display for FailureOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.number.map(|n| if n == 0 { "0" } else { "1" });
        let options = [number, self.dkim.then_some("d"), self.spf.then_some("s")];
        let words: Vec<_> = options.into_iter().flatten().collect();
        f.write_str(&words.join(":"))
    }
}

impl Record {
    /// The policy that receivers find at the domain, before `t` and `pct`; `None`: DMARC is not
    /// applied. With no valid `p`, or a bad `sp` or `np`, and a usable `rua`, it is none
    /// (RFC 9989 section 4.10.1).
    pub fn policy(&self) -> Option<Policy> {
        match self.p {
            Some(policy) if !self.has_bad_policy() => Some(policy),
            _ => (!self.rua.is_empty()).then_some(Policy::None),
        }
    }

    /// The policy for subdomains that exist: `sp`, else `p`.
    pub fn subdomain_policy(&self) -> Option<Policy> {
        self.policy().map(|policy| match self.sp {
            Some(sp) if !self.has_bad_policy() => sp,
            _ => policy,
        })
    }

    /// The policy for subdomains that do not exist: `np`, else `sp`, else `p`.
    pub fn nonexistent_policy(&self) -> Option<Policy> {
        self.subdomain_policy().map(|policy| match self.np {
            Some(np) if !self.has_bad_policy() => np,
            _ => policy,
        })
    }

    /// The least that `policy` comes to: one level lower with `t=y`, and at older receivers, for the
    /// rest of the mail, with a `pct` below 100 (RFC 7489 section 6.6.4).
    pub fn enforced(&self, policy: Policy) -> Policy {
        match policy {
            policy if !self.is_lowered() => policy,
            Policy::Reject => Policy::Quarantine,
            Policy::Quarantine | Policy::None => Policy::None,
        }
    }

    /// Whether `t` or `pct` lowers its policies.
    pub fn is_lowered(&self) -> bool {
        self.testing() == YesNo::Yes || self.percentage() < 100
    }

    /// `adkim`, relaxed by default.
    pub fn dkim_alignment(&self) -> Alignment {
        self.adkim.unwrap_or(Alignment::Relaxed)
    }

    /// `aspf`, relaxed by default.
    pub fn spf_alignment(&self) -> Alignment {
        self.aspf.unwrap_or(Alignment::Relaxed)
    }

    /// `fo`, 0 by default.
    pub fn failure_options(&self) -> FailureOptions {
        self.fo.unwrap_or(FailureOptions::DEFAULT)
    }

    /// `t`, no by default.
    pub fn testing(&self) -> YesNo {
        self.t.unwrap_or(YesNo::No)
    }

    /// `psd`, unknown by default.
    pub fn public_suffix(&self) -> Psd {
        self.psd.unwrap_or(Psd::Unknown)
    }

    /// `pct`, 100 by default.
    pub fn percentage(&self) -> u8 {
        self.pct.unwrap_or(100)
    }

    /// Whether the record states `tag` with a value that was kept.
    pub fn states(&self, tag: RecordTag) -> bool {
        match tag {
            RecordTag::P => self.p.is_some(),
            RecordTag::Sp => self.sp.is_some(),
            RecordTag::Np => self.np.is_some(),
            RecordTag::Adkim => self.adkim.is_some(),
            RecordTag::Aspf => self.aspf.is_some(),
            RecordTag::Rua => !self.rua.is_empty(),
            RecordTag::Ruf => !self.ruf.is_empty(),
            RecordTag::Fo => self.fo.is_some(),
            RecordTag::T => self.t.is_some(),
            RecordTag::Psd => self.psd.is_some(),
            RecordTag::Pct => self.pct.is_some(),
            RecordTag::Rf => self.rf.is_some(),
            RecordTag::Ri => self.ri.is_some(),
        }
    }

    fn has_bad_policy(&self) -> bool {
        use RecordTag::{Np, P, Sp};
        self.problems
            .iter()
            .any(|problem| matches!(problem.kind, ProblemKind::BadValue(P | Sp | Np)))
    }
}

/// The canonical text: the tags that are stated, in the order of RFC 9989 section 4.7.
impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn tag(
            f: &mut fmt::Formatter<'_>,
            name: RecordTag,
            value: Option<impl fmt::Display>,
        ) -> fmt::Result {
            value.map_or(Ok(()), |value| write!(f, "; {name}={value}"))
        }
        fn list(uris: &[ReportUri]) -> Option<String> {
            let texts: Vec<_> = uris.iter().map(ToString::to_string).collect();
            (!texts.is_empty()).then(|| texts.join(","))
        }
        f.write_str("v=DMARC1")?;
        tag(f, RecordTag::P, self.p)?;
        tag(f, RecordTag::Sp, self.sp)?;
        tag(f, RecordTag::Np, self.np)?;
        tag(f, RecordTag::Adkim, self.adkim)?;
        tag(f, RecordTag::Aspf, self.aspf)?;
        tag(f, RecordTag::Rua, list(&self.rua))?;
        tag(f, RecordTag::Ruf, list(&self.ruf))?;
        tag(f, RecordTag::Fo, self.fo)?;
        tag(f, RecordTag::T, self.t)?;
        tag(f, RecordTag::Psd, self.psd)?;
        tag(f, RecordTag::Pct, self.pct)?;
        tag(f, RecordTag::Rf, self.rf.as_deref())?;
        tag(f, RecordTag::Ri, self.ri)
    }
}

/// The DMARC records among the texts of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// None. `meant`: what one of the texts seems to be meant as.
    None {
        /// See above.
        meant: Option<Box<Record>>,
    },
    /// Exactly one.
    One(Box<Record>),
    /// So many that receivers use none (RFC 9989 section 4.10).
    Several(usize),
}

/// Picks the DMARC records out of an answer.
pub fn select(texts: &[Vec<u8>]) -> Selection {
    let mut records: Vec<_> = texts
        .iter()
        .filter_map(|text| parse(text).into_record())
        .collect();
    match (records.len(), records.pop()) {
        (1, Some(record)) => Selection::One(Box::new(record)),
        (several, Some(_)) => Selection::Several(several),
        (_, None) => Selection::None {
            meant: texts.iter().find_map(|text| meant(text)).map(Box::new),
        },
    }
}

#[cfg(test)]
mod tests;
