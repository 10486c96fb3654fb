//! Reporters that are known by name: the large ones, and those that the operator adds.
//!
//! Who they are is what the report says, which anybody can write. So a known name is good for
//! saying who has become silent, and what one says alone is not believed.

use crate::domain::Domain;

/// A domain, which is the name, and the other names that it writes under: organisations, or domains
/// of its addresses.
const LARGE: &[(&str, &[&str])] = &[
    ("126.com", &[]),
    ("163.com", &[]),
    ("amazonses.com", &["AMAZON-SES"]),
    ("aol.com", &["AOL"]),
    ("comcast.net", &["Comcast"]),
    ("docomo.ne.jp", &[]),
    ("emailsrvr.com", &[]),
    (
        "fastmail.com",
        &["Fastmail Pty Ltd", "FastMail", "fastmaildmarc.com"],
    ),
    ("gmx.net", &["GMX"]),
    ("google.com", &["Google"]),
    ("gosecure.net", &[]),
    // Cisco's appliances, each in the name of whom it belongs to.
    ("iphmx.com", &[]),
    ("kddi.com", &[]),
    ("linkedin.com", &["LinkedIn"]),
    ("mail.ru", &["Mail.Ru"]),
    (
        "microsoft.com",
        &["Outlook.com", "Enterprise Outlook", "Microsoft Corporation"],
    ),
    (
        "mimecast.com",
        &["Mimecast", "mimecast.org", "mimecastreport.com"],
    ),
    ("secureserver.net", &[]),
    ("seznam.cz", &["Seznam.cz, a.s."]),
    ("web.de", &["WEB.DE"]),
    ("wp.pl", &[]),
    (
        "yahoo.com",
        &["Yahoo", "Yahoo! Inc.", "yahooinc.com", "yahoo-inc.com"],
    ),
    ("yeah.net", &[]),
    ("zoho.com", &["Zoho"]),
];

/// How many of them there are.
pub const LARGEST: usize = LARGE.len();

/// Names of one operator: what one of them sees, the others do.
const OPERATORS: &[&[&str]] = &[
    &["163.com", "126.com", "yeah.net"],
    &["gmx.net", "web.de"],
    &["yahoo.com", "aol.com"],
];

/// One name for all the names of an operator.
pub fn operator(name: &Domain) -> &str {
    let mut operators = OPERATORS.iter();
    let operator = operators.find(|names| names.contains(&name.as_str()));
    operator.map_or(name.as_str(), |names| names[0])
}

/// Who is known by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reporters {
    own: Vec<Domain>,
}

impl Reporters {
    /// The large ones and these.
    pub fn new(own: Vec<Domain>) -> Self {
        Self { own }
    }

    /// Every name.
    pub fn names(&self) -> impl Iterator<Item = Domain> {
        let large = LARGE.iter().filter_map(|(name, _)| Domain::parse(name));
        large.chain(self.own.iter().cloned())
    }

    /// The name of who calls himself `org_name` and writes from `email`, if he is known.
    pub fn name_of(&self, org_name: &str, email: &str) -> Option<Domain> {
        let org_name = org_name.trim();
        let host = email.rsplit_once('@').map_or("", |(_, host)| host.trim());
        let host = Domain::parse(host);
        let is = |name: &str| {
            let at = |host: &Domain| host.as_str() == name || host.ancestors().any(|up| up == name);
            org_name.eq_ignore_ascii_case(name) || host.as_ref().is_some_and(at)
        };
        let own = self.own.iter().find(|own| is(own.as_str()));
        own.cloned().or_else(|| {
            let mut large = LARGE.iter();
            let known = large.find(|(name, others)| is(name) || others.iter().any(|o| is(o)))?;
            Domain::parse(known.0)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_a_domain() {
        for (name, _) in LARGE {
            assert_eq!(Domain::parse(name).unwrap().as_str(), *name);
        }
        for name in OPERATORS.iter().flat_map(|names| names.iter()) {
            assert!(LARGE.iter().any(|(known, _)| known == name), "{name}");
        }
    }

    #[test]
    fn names_of_one_operator_are_not_independent() {
        let operator = |name| operator(&Domain::parse(name).unwrap()).to_owned();
        assert_eq!(operator("aol.com"), operator("yahoo.com"));
        assert_ne!(operator("google.com"), operator("microsoft.com"));
    }

    #[test]
    fn a_reporter_is_known_by_his_name_or_by_his_address() {
        let own = Reporters::new(vec![Domain::parse("partner.example").unwrap()]);
        let name = |org, email| own.name_of(org, email).map(|name| name.to_string());
        let google = Some("google.com".to_owned());
        assert_eq!(name("google.com", ""), google);
        assert_eq!(name(" GOOGLE ", "x@elsewhere.example"), google);
        assert_eq!(name("Enterprise Outlook", "").unwrap(), "microsoft.com");
        assert_eq!(name("", "noreply-dmarc@sicher.gmx.net").unwrap(), "gmx.net");
        assert_eq!(
            name("Partner Ltd", "d@mx.partner.example").unwrap(),
            "partner.example"
        );
        for (org, email) in [
            ("", ""),
            ("google.com.example", "a@notgoogle.com"),
            ("Somebody", "@"),
        ] {
            assert_eq!(name(org, email), None, "{org} {email}");
        }
    }
}
