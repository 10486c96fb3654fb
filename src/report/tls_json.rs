//! The JSON of a TLS report -> what stands where. Knows names and nesting, no meaning.
//!
//! `serde_json` reads; nothing of the document is held but the text at hand, as [`Guard`] bounds
//! tokens and nesting before `serde_json` sees them. Arrays are looked through, so that one value
//! and a list of one are the same; null is absent; a name that comes twice in an object is taken
//! once; unknown names are skipped with everything below.

use std::{
    fmt,
    io::{self, BufReader, Read},
};

use serde::de::{self, DeserializeSeed, Error as _, MapAccess, SeqAccess};
use serde_json::error::Category;

use super::{Digest, digest::Hashed, notes::Notes, text::Text, tls_draft::Draft};
use crate::{
    limits::{MAX_JSON_DEPTH, MAX_TOKEN},
    terms::Rejection,
};

/// A place in the document, or what belongs there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Root,
    DateRange,
    Entry,
    Policy,
    Summary,
    Failure,
    OrgName,
    Contact,
    ReportId,
    Begin,
    End,
    PolicyType,
    PolicyString,
    PolicyDomain,
    MxHost,
    Successful,
    Failed,
    ResultType,
    SendingMtaIp,
    ReceivingMxHostname,
    ReceivingMxHelo,
    ReceivingIp,
    FailedSessions,
    AdditionalInformation,
    ReasonCode,
    Skip,
}

/// What `name` means within `parent` (RFC 8460 section 4.4).
fn child(parent: Place, name: &str) -> Place {
    match (parent, name) {
        (Place::Root, "organization-name") => Place::OrgName,
        (Place::Root, "date-range") => Place::DateRange,
        (Place::Root, "contact-info") => Place::Contact,
        (Place::Root, "report-id") => Place::ReportId,
        (Place::Root, "policies") => Place::Entry,
        (Place::DateRange, "start-datetime") => Place::Begin,
        (Place::DateRange, "end-datetime") => Place::End,
        (Place::Entry, "policy") => Place::Policy,
        (Place::Entry, "summary") => Place::Summary,
        (Place::Entry, "failure-details") => Place::Failure,
        (Place::Policy, "policy-type") => Place::PolicyType,
        (Place::Policy, "policy-string") => Place::PolicyString,
        (Place::Policy, "policy-domain") => Place::PolicyDomain,
        // The second is the name in drafts before the RFC.
        (Place::Policy, "mx-host" | "mx-host-pattern") => Place::MxHost,
        (Place::Summary, "total-successful-session-count") => Place::Successful,
        (Place::Summary, "total-failure-session-count") => Place::Failed,
        (Place::Failure, "result-type") => Place::ResultType,
        (Place::Failure, "sending-mta-ip") => Place::SendingMtaIp,
        (Place::Failure, "receiving-mx-hostname") => Place::ReceivingMxHostname,
        (Place::Failure, "receiving-mx-helo") => Place::ReceivingMxHelo,
        (Place::Failure, "receiving-ip") => Place::ReceivingIp,
        (Place::Failure, "failed-session-count") => Place::FailedSessions,
        (Place::Failure, "additional-information") => Place::AdditionalInformation,
        // The second stands in the RFC's own example (appendix B).
        (Place::Failure, "failure-reason-code" | "failure-error-code") => Place::ReasonCode,
        _ => Place::Skip,
    }
}

/// Feeds the draft until the document ends; all of it must be one JSON value.
pub(super) fn walk<R: Read>(
    reader: &mut BufReader<Guard<R>>,
    draft: &mut Draft<'_>,
) -> Result<(), Rejection> {
    let mut json = serde_json::Deserializer::from_reader(reader);
    let root = Walk {
        place: Place::Root,
        draft,
    };
    let walked = root.deserialize(&mut json).and_then(|()| json.end());
    walked.map_err(|error| draft.failed().unwrap_or_else(|| reason(error)))
}

fn reason(error: serde_json::Error) -> Rejection {
    match error.classify() {
        Category::Io => Rejection::within(&error.into()).unwrap_or(Rejection::BadContainer),
        Category::Eof => Rejection::Truncated,
        Category::Syntax | Category::Data => Rejection::IllFormed,
    }
}

/// One value at a place.
struct Walk<'d, 's> {
    place: Place,
    draft: &'d mut Draft<'s>,
}

impl Walk<'_, '_> {
    fn text<E: de::Error>(self, text: &str) -> Result<(), E> {
        let taken = self.draft.text(self.place, text);
        taken.map_err(|_| E::custom("refused"))
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_, '_> {
    type Value = ();

    fn deserialize<D: de::Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        let counted = self.draft.count_value();
        counted.map_err(|_| D::Error::custom("refused"))?;
        from.deserialize_any(self)
    }
}

impl<'de> de::Visitor<'de> for Walk<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<(), E> {
        self.text(if value { "true" } else { "false" })
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<(), E> {
        self.text(&value.to_string())
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<(), E> {
        self.text(&value.to_string())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<(), E> {
        self.text(&value.to_string())
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<(), E> {
        self.text(value)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<(), A::Error> {
        let Self { place, draft } = self;
        while values.next_element_seed(Walk { place, draft })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut values: A) -> Result<(), A::Error> {
        let Self { place, draft } = self;
        draft.open(place);
        let mut seen = 0_u32;
        while let Some(mut inner) = values.next_key_seed(Name(place))? {
            let bit = 1 << inner as u32;
            if inner != Place::Skip && seen & bit != 0 {
                draft.repeated();
                inner = Place::Skip;
            }
            seen |= bit;
            if inner == Place::Entry {
                draft.has_policies();
            }
            values.next_value_seed(Walk {
                place: inner,
                draft,
            })?;
        }
        draft.close(place).map_err(|_| A::Error::custom("refused"))
    }
}

/// A name within the object at a place.
struct Name(Place);

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Place;

    fn deserialize<D: de::Deserializer<'de>>(self, from: D) -> Result<Place, D::Error> {
        from.deserialize_str(self)
    }
}

impl de::Visitor<'_> for Name {
    type Value = Place;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Place, E> {
        Ok(child(self.0, name))
    }
}

/// The lines of a policy that came as one text which holds a JSON array, as Microsoft writes TLSA
/// records.
pub(super) fn lines_within(text: &str) -> Option<Vec<String>> {
    text.starts_with('[')
        .then(|| serde_json::from_str(text).ok())?
}

/// The text of a document whose tokens and nesting are bounded.
pub(super) struct Guard<R> {
    text: Text<Hashed<R>>,
    /// What was read of it, and how much of that was passed on.
    piece: String,
    passed: usize,
    position: u64,
    depth: usize,
    /// Bytes of the token at hand: a string, a number, a word.
    token: usize,
    in_string: bool,
    escaped: bool,
}

impl<R: Read> Guard<R> {
    pub(super) fn new(input: R) -> Self {
        Self {
            text: Text::new(Hashed::new(input)),
            piece: String::new(),
            passed: 0,
            position: 0,
            depth: 0,
            token: 0,
            in_string: false,
            escaped: false,
        }
    }

    /// Bytes read so far.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// The digest and what was odd, after the end was reached.
    pub(super) fn finish(self) -> (Digest, Notes) {
        let (hashed, notes) = self.text.finish();
        (hashed.finish(), notes)
    }

    fn check(&mut self, byte: u8) -> Result<(), Rejection> {
        self.token += 1;
        if self.in_string {
            if self.escaped {
                self.escaped = false;
            } else if byte == b'\\' {
                self.escaped = true;
            } else if byte == b'"' {
                self.in_string = false;
            }
        } else {
            match byte {
                b'"' => (self.in_string, self.token) = (true, 0),
                b'{' | b'[' => (self.depth, self.token) = (self.depth + 1, 0),
                b'}' | b']' => (self.depth, self.token) = (self.depth.saturating_sub(1), 0),
                b',' | b':' | b' ' | b'\t' | b'\n' | b'\r' => self.token = 0,
                _ => {}
            }
        }
        if self.depth > MAX_JSON_DEPTH {
            return Err(Rejection::TooDeep);
        }
        if self.token > MAX_TOKEN {
            return Err(Rejection::TokenTooLong);
        }
        Ok(())
    }
}

impl<R: Read> Read for Guard<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.passed == self.piece.len() {
            self.piece.clear();
            self.passed = 0;
            self.text.read_on(&mut self.piece)?;
        }
        let count = (&self.piece.as_bytes()[self.passed..]).read(buf)?;
        self.passed += count;
        for &byte in &buf[..count] {
            self.check(byte)?;
            self.position += 1;
        }
        Ok(count)
    }
}
