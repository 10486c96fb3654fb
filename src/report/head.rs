//! The head of an aggregate report: `report_metadata` and `policy_published`, as far as they came.

use super::{
    Lang, Metadata, PolicyPublished, Stated, Words,
    fields::Field,
    notes::{Notes, Oddity},
    values,
};
use crate::{
    domain::Domain,
    limits::MAX_NOTES,
    terms::{Alignment, DiscoveryMethod, Policy, YesNo},
};

/// The fields of the head, as far as they came.
#[derive(Default)]
pub(super) struct Head {
    pub version: String,
    pub org_name: String,
    pub email: String,
    pub contact: Words,
    pub report_id: Option<String>,
    pub errors: Vec<Words>,
    pub generator: String,
    pub begin: Option<String>,
    pub end: Option<String>,
    pub domain: Option<String>,
    pub p: Stated<Policy>,
    pub sp: Stated<Policy>,
    pub np: Stated<Policy>,
    pub adkim: Stated<Alignment>,
    pub aspf: Stated<Alignment>,
    pub pct: Option<u8>,
    pub fo: String,
    pub testing: Stated<YesNo>,
    pub discovery: Stated<DiscoveryMethod>,
}

impl Head {
    /// Sets one field; `false` if it came before.
    pub(super) fn set(
        &mut self,
        field: Field,
        text: &str,
        lang: &mut Lang,
        notes: &mut Notes,
    ) -> bool {
        match field {
            Field::Version => fill(&mut self.version, text),
            Field::OrgName => fill(&mut self.org_name, text),
            Field::Email => fill(&mut self.email, text),
            Field::Contact => self.contact.fill(text, lang),
            Field::ReportId => once(&mut self.report_id, text),
            Field::Generator => fill(&mut self.generator, text),
            Field::Begin => once(&mut self.begin, text),
            Field::End => once(&mut self.end, text),
            Field::Domain => once(&mut self.domain, text),
            Field::P => first(&mut self.p, values::stated(text)),
            Field::Sp => first(&mut self.sp, values::stated(text)),
            Field::Np => first(&mut self.np, values::stated(text)),
            Field::Adkim => first(&mut self.adkim, values::stated(text)),
            Field::Aspf => first(&mut self.aspf, values::stated(text)),
            Field::Fo => fill(&mut self.fo, text),
            Field::Testing => first(&mut self.testing, values::stated(text)),
            Field::Discovery => first(&mut self.discovery, values::stated(text)),
            Field::Pct => self.set_pct(text, notes),
            Field::Error => {
                self.add_error(text, lang, notes);
                true
            }
            _ => true,
        }
    }

    fn set_pct(&mut self, text: &str, notes: &mut Notes) -> bool {
        if text.is_empty() {
            return true;
        }
        let pct = text.parse().ok().filter(|pct| *pct <= 100);
        if pct.is_none() {
            notes.add(Oddity::BadPct);
        }
        let free = self.pct.is_none();
        self.pct = self.pct.or(pct);
        free
    }

    fn add_error(&mut self, text: &str, lang: &mut Lang, notes: &mut Notes) {
        if self.errors.len() >= MAX_NOTES {
            notes.add(Oddity::SurplusErrors);
        } else if !text.is_empty() {
            self.errors.push(Words {
                text: text.to_owned(),
                lang: lang.take(),
            });
        }
    }

    /// Names a reporter that gave no name after the domain of its address, so that nameless ones
    /// are told apart.
    pub(super) fn name(&mut self, notes: &mut Notes) {
        let domain = self.email.rsplit_once('@').map(|(_, domain)| domain);
        if let Some(domain) = domain
            .and_then(Domain::parse)
            .filter(|_| self.org_name.is_empty())
        {
            domain.as_str().clone_into(&mut self.org_name);
            notes.add(Oddity::NameFromEmail);
        }
    }

    /// The two parts of a report's head.
    pub(super) fn into_parts(
        self,
        begin: i64,
        end: i64,
        domain: Domain,
    ) -> (Metadata, PolicyPublished) {
        let metadata = Metadata {
            version: self.version,
            org_name: self.org_name,
            email: self.email,
            extra_contact_info: self.contact,
            report_id: self.report_id.unwrap_or_default(),
            begin,
            end,
            errors: self.errors,
            generator: self.generator,
        };
        let policy = PolicyPublished {
            domain,
            p: self.p,
            sp: self.sp,
            np: self.np,
            adkim: self.adkim,
            aspf: self.aspf,
            pct: self.pct,
            fo: self.fo,
            testing: self.testing,
            discovery_method: self.discovery,
        };
        (metadata, policy)
    }
}

impl Words {
    /// Sets empty words, and takes the language with them; `false` if they were not empty.
    pub(super) fn fill(&mut self, text: &str, lang: &mut Lang) -> bool {
        if self.text.is_empty() && !text.is_empty() {
            self.lang = lang.take();
        }
        fill(&mut self.text, text)
    }
}

/// Sets what is not set yet; `false` if it was.
pub(super) fn once(slot: &mut Option<String>, text: &str) -> bool {
    let free = slot.as_deref().unwrap_or_default().is_empty();
    if free {
        *slot = Some(text.to_owned());
    }
    free || text.is_empty()
}

/// Sets what is not stated yet; `false` if it was.
pub(super) fn first<T: PartialEq>(slot: &mut Stated<T>, value: Stated<T>) -> bool {
    let free = *slot == Stated::Not;
    if free {
        *slot = value;
        return true;
    }
    value == Stated::Not
}

/// Sets an empty text; `false` if it was not empty.
pub(super) fn fill(slot: &mut String, text: &str) -> bool {
    let free = slot.is_empty();
    if free {
        *slot = String::from(text);
    }
    free || text.is_empty()
}
