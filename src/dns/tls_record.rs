//! TLS-RPT records: the grammar of RFC 8460 section 3. Pure.
//!
//! Unlike in DMARC records no case is free, and nothing may stand around an equals sign.

use std::ops::Range;

use crate::{
    dns::{
        record::{Problem, ProblemKind, pieces},
        uri::{self, ReportUri},
    },
    limits::{MAX_RECORD_ITEMS, MAX_TXT_LEN},
    terms::RecordTag,
};

/// How a TLS-RPT record begins.
const VERSION: &[u8] = b"v=TLSRPTv1";

/// A TLS-RPT record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsRecord {
    /// `rua`, the valid ones.
    pub rua: Vec<ReportUri>,
    /// What is amiss in the text, in order.
    pub problems: Vec<Problem>,
}

/// The TLS-RPT records among the texts of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsSelection {
    /// None. `meant`: one of the texts seems to be meant as one.
    None {
        /// See above.
        meant: bool,
    },
    /// Exactly one.
    One(TlsRecord),
    /// So many that senders of reports use none (RFC 8460 section 3).
    Several(usize),
}

/// Picks the TLS-RPT records out of an answer.
pub fn select(texts: &[Vec<u8>]) -> TlsSelection {
    let mut records: Vec<_> = texts.iter().filter_map(|text| parse(text)).collect();
    match (records.len(), records.pop()) {
        (1, Some(record)) => TlsSelection::One(record),
        (several, Some(_)) => TlsSelection::Several(several),
        (_, None) => TlsSelection::None {
            meant: texts.iter().any(|text| is_meant(text)),
        },
    }
}

/// Reads the text of one TXT record, its character-strings joined; `None`: it does not start as a
/// TLS-RPT record does.
pub fn parse(text: &[u8]) -> Option<TlsRecord> {
    let read = &text[..text.len().min(MAX_TXT_LEN)];
    let behind = read.strip_prefix(VERSION)?;
    let blanks = behind.len() - behind.trim_ascii_start().len();
    if !matches!(behind.get(blanks), None | Some(b';')) {
        return None;
    }
    let mut record = TlsRecord::default();
    let mut seen = false;
    for at in pieces(read, VERSION.len() + blanks + 1) {
        let piece = &read[at.clone()];
        let problem = match piece.iter().position(|&b| b == b'=') {
            _ if piece.is_empty() => Some(ProblemKind::Empty),
            Some(equals) if &piece[..equals] == b"rua" && !seen => {
                seen = true;
                record.destinations(read, at.start + equals + 1..at.end);
                None
            }
            Some(equals) if &piece[..equals] == b"rua" => {
                Some(ProblemKind::Duplicate(RecordTag::Rua))
            }
            // Extensions are ignored, whatever they say.
            Some(equals) if is_name(&piece[..equals]) && equals + 1 < piece.len() => None,
            _ => Some(ProblemKind::NotATag),
        };
        if let Some(kind) = problem {
            record.problem(at, kind, Some(String::new()));
        }
    }
    if text.len() >= MAX_TXT_LEN {
        record.problem(read.len()..read.len(), ProblemKind::TooLong, None);
    }
    if record.rua.is_empty() {
        let at = VERSION.len()..VERSION.len();
        record.problem(at, ProblemKind::NoDestination, None);
    }
    Some(record)
}

/// Whether a text is a TLS-RPT record or was meant to be one.
pub fn is_meant(text: &[u8]) -> bool {
    let mut plain = text
        .iter()
        .filter(|b| !b.is_ascii_whitespace() && **b != b'"')
        .map(u8::to_ascii_lowercase);
    b"v=tlsrpt".iter().all(|&b| plain.next() == Some(b))
}

impl TlsRecord {
    fn destinations(&mut self, text: &[u8], list: Range<usize>) {
        for (at, uri) in uri::list(text, list) {
            if self.rua.len() >= MAX_RECORD_ITEMS {
                return self.problem(at, ProblemKind::TooLong, None);
            }
            match uri {
                // RFC 8460 knows no size limits: a mark has to be percent-encoded.
                Some(uri) if !uri.has_size_limit() => self.rua.push(uri),
                Some(uri) => {
                    let bare = uri.bare().to_owned();
                    self.problem(at, ProblemKind::BadUri(RecordTag::Rua), Some(bare));
                }
                None => {
                    let better = uri::nearest(&text[at.clone()]);
                    self.problem(at, ProblemKind::BadUri(RecordTag::Rua), Some(better));
                }
            }
        }
    }

    fn problem(&mut self, at: Range<usize>, kind: ProblemKind, better: Option<String>) {
        if self.problems.len() < MAX_RECORD_ITEMS {
            self.problems.push(Problem { at, kind, better });
        }
    }
}

/// The canonical text.
impl std::fmt::Display for TlsRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let uris: Vec<_> = self.rua.iter().map(ToString::to_string).collect();
        write!(f, "v=TLSRPTv1; rua={}", uris.join(","))
    }
}

/// RFC 8460 section 3: a letter or digit, then up to 31 of these and `_-.`.
fn is_name(name: &[u8]) -> bool {
    let plain = |b: &u8| b.is_ascii_alphanumeric();
    name.len() <= 32
        && name.first().is_some_and(plain)
        && name.iter().all(|b| plain(b) || b"_-.".contains(b))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kinds(text: &str) -> Option<Vec<ProblemKind>> {
        let problems = parse(text.as_bytes())?.problems;
        Some(problems.into_iter().map(|problem| problem.kind).collect())
    }

    #[test]
    fn each_problem_is_named() {
        use ProblemKind as K;
        let rua = "rua=mailto:t@a.example";
        for (text, expected) in [
            (format!("v=TLSRPTv1; {rua}"), vec![]),
            (
                format!("v=TLSRPTv1 ;{rua} , https://a.example/t ; "),
                vec![],
            ),
            (format!("v=TLSRPTv1;{rua};x.y=1"), vec![]),
            (format!("v=TLSRPTv1;;{rua}"), vec![K::Empty]),
            (
                format!("v=TLSRPTv1;{rua};{rua}"),
                vec![K::Duplicate(RecordTag::Rua)],
            ),
            (
                format!("v=TLSRPTv1;{rua}!1k"),
                vec![K::BadUri(RecordTag::Rua), K::NoDestination],
            ),
            (
                format!("v=TLSRPTv1;{rua},x"),
                vec![K::BadUri(RecordTag::Rua)],
            ),
            (format!("v=TLSRPTv1;{rua};x"), vec![K::NotATag]),
            (
                "v=TLSRPTv1;rua =x:y".to_owned(),
                vec![K::NotATag, K::NoDestination],
            ),
            ("v=TLSRPTv1".to_owned(), vec![K::NoDestination]),
        ] {
            assert_eq!(kinds(&text), Some(expected), "{text}");
        }
        for text in [
            "v=tlsrptv1; rua=x:y",
            "v=TLSRPTv10;",
            " v=TLSRPTv1;",
            "v=TLSRPTv1 rua=x:y",
        ] {
            assert_eq!(kinds(text), None, "{text}");
            assert!(is_meant(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn an_answer_has_none_one_or_several_records() {
        let of = |texts: &[&str]| {
            select(
                &texts
                    .iter()
                    .map(|t| t.as_bytes().to_vec())
                    .collect::<Vec<_>>(),
            )
        };
        let good = "v=TLSRPTv1; rua=mailto:t@a.example";
        assert!(matches!(of(&["v=spf1 -all", good]), TlsSelection::One(_)));
        assert_eq!(of(&[good, good]), TlsSelection::Several(2));
        assert_eq!(of(&["v=spf1 -all"]), TlsSelection::None { meant: false });
        assert_eq!(of(&["v=TLSRPT1;"]), TlsSelection::None { meant: true });
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = select(std::slice::from_ref(&bytes));
            let text = [b"v=TLSRPTv1;rua=".as_slice(), &bytes].concat();
            for problem in parse(&text).expect("a record").problems {
                prop_assert!(problem.at.end <= text.len());
                prop_assert!(!problem.to_string().is_empty());
            }
        }

        #[test]
        fn a_printed_record_reads_as_itself(
            uris in prop::collection::vec("(mailto:[a-z%]{0,3}x@[a-z]{1,8}\\.example|https://[a-z]{1,9}/[a-z]{0,9})", 1..4),
        ) {
            let rua: Vec<_> = uris.iter().filter_map(|uri| ReportUri::parse(uri.as_bytes())).collect();
            prop_assume!(!rua.is_empty());
            let record = TlsRecord { rua, problems: Vec::new() };
            prop_assert_eq!(parse(record.to_string().as_bytes()), Some(record));
        }
    }
}
