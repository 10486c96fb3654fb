//! External destinations: whether a host agrees to take the reports about a domain that is none of its
//! own (RFC 9990 section 4, RFC 7489 section 7.1). Pure.

use super::{
    Answer,
    record::{self, Parsed},
    uri::ReportUri,
};
use crate::{domain::Domain, terms::DnsOutcome};

/// What receivers that write reports make of a host's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authorisation {
    /// They send.
    Given,
    /// They do not, and say nothing.
    Missing,
    /// The record names a destination at another host: they send to neither.
    Foreign,
    /// They may try again later.
    Unknown,
}

/// Where `host` says that it takes reports about `domain`, the one whose record names it. `None`: the
/// name would be too long, which counts as missing.
pub fn name(domain: &Domain, host: &Domain) -> Option<Domain> {
    Domain::parse(&format!("{domain}._report._dmarc.{host}"))
}

/// The record that agrees.
pub const AGREED: &str = "v=DMARC1;";

/// What the answer at that name means. One record that starts as a DMARC record is enough, whatever
/// stands beside it.
pub fn authorisation(host: &Domain, answer: &Answer) -> Authorisation {
    if answer.outcome == DnsOutcome::Unknown {
        return Authorisation::Unknown;
    }
    let mut found = Authorisation::Missing;
    let records = answer.texts.iter().map(|text| record::parse(text));
    for record in records.filter_map(Parsed::into_record) {
        let at_host = |uri: &ReportUri| uri.host().as_ref() == Some(host);
        if record.rua.iter().all(at_host) {
            return Authorisation::Given;
        }
        found = Authorisation::Foreign;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terms::DnsTrouble;

    #[test]
    fn one_record_is_enough_and_another_host_is_not() {
        let host = Domain::parse("reports.example").expect("a domain");
        let of = |texts: &[&str]| {
            let texts = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
            authorisation(&host, &Answer::found(texts, 60))
        };
        for texts in [
            ["v=DMARC1", "x"],
            ["v=DMARC1;", "v=DMARC1;"],
            ["v=DMARC1; rua=mailto:other@Reports.Example", "x"],
        ] {
            assert_eq!(of(&texts), Authorisation::Given, "{texts:?}");
        }
        assert_eq!(of(&["v=spf1 -all", "v=dmarc1"]), Authorisation::Missing);
        assert_eq!(
            of(&["v=DMARC1; rua=mailto:x@elsewhere.example"]),
            Authorisation::Foreign
        );
        let absent = Answer::absent(DnsOutcome::NxDomain, 60);
        assert_eq!(authorisation(&host, &absent), Authorisation::Missing);
        let unknown = Answer::unknown(DnsTrouble::Timeout);
        assert_eq!(authorisation(&host, &unknown), Authorisation::Unknown);
    }

    #[test]
    fn a_name_that_is_too_long_cannot_agree() {
        let long = Domain::parse(&format!("{}example.com", "a.".repeat(120))).expect("a domain");
        let host = Domain::parse("a.reports.example").expect("a domain");
        assert_eq!(name(&long, &host), None);
        let short = Domain::parse("example.com").expect("a domain");
        assert_eq!(
            name(&short, &host).expect("a name").as_str(),
            "example.com._report._dmarc.a.reports.example"
        );
    }
}
