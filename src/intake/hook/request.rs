//! What Stalwart's MTA hook tells: JSON -> stage, client, envelope, message. Pure.
//!
//! What is not named here is skipped, so that a later Stalwart may tell more. The first bytes of a
//! request can be read as well, for what stands in them.

use std::{fmt, marker::PhantomData, net::IpAddr};

use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use crate::{intake::mail::note_field, limits};

/// What is wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// It is no JSON.
    NoJson,
    /// It is nested deeper than any request.
    TooDeep,
    /// It is JSON, and not what a hook sends at this stage.
    NoRequest,
    /// It is of draft-degennaro-mta-hooks, which no server spoke when this was written.
    Draft,
}

/// Where in the SMTP session Stalwart asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    Connect,
    Ehlo,
    Auth,
    Mail,
    Rcpt,
    Data,
}

/// One request, or what of it was there.
#[derive(Debug, Default)]
pub struct Request {
    /// Who asks about what.
    pub context: Option<Context>,
    /// From whom to whom.
    pub envelope: Option<Addresses>,
    /// The message, at the stage `data`.
    pub message: Option<Message>,
}

/// The SMTP session.
#[derive(Debug, Deserialize)]
pub struct Context {
    /// Where in it.
    pub stage: Stage,
    /// Its client.
    pub client: Option<Client>,
    /// Its login, if there was one.
    pub sasl: Option<Sasl>,
    /// Its place in the queue.
    pub queue: Option<Queue>,
}

/// The SMTP client.
#[derive(Debug, Deserialize)]
pub struct Client {
    /// Its address.
    pub ip: IpAddr,
    /// Its name, by its address.
    pub ptr: Option<String>,
    /// Its name, by itself.
    pub helo: Option<String>,
}

/// Who logged in.
#[derive(Debug, Deserialize)]
pub struct Sasl {
    /// The name.
    pub login: Option<String>,
}

/// Where the message is kept.
#[derive(Debug, Deserialize)]
pub struct Queue {
    /// Its number there.
    pub id: Option<String>,
}

/// From whom to whom.
#[derive(Debug, Deserialize)]
pub struct Addresses {
    /// The argument of MAIL; empty for the null sender.
    pub from: Address,
    /// Those of RCPT so far; at the stage `rcpt` the last is the one in question.
    #[serde(default, deserialize_with = "bounded")]
    pub to: Vec<Address>,
}

/// One address, in lower case.
#[derive(Debug, Deserialize)]
pub struct Address {
    /// It, without brackets.
    pub address: String,
}

/// A message as it was received.
#[derive(Debug, Deserialize)]
pub struct Message {
    /// Its header.
    #[serde(default, rename = "headers")]
    pub header: Header,
    /// Its body, in which U+FFFD stands for bytes that are no UTF-8.
    #[serde(default)]
    pub contents: String,
}

impl Message {
    /// Whether bytes of it may be lost. In base64 there are none that can be.
    pub fn is_lossy(&self) -> bool {
        let lost = '\u{FFFD}';
        self.contents.contains(lost) || self.header.block.contains(lost)
    }
}

/// A header, as it stands in a mail.
#[derive(Debug, Default)]
pub struct Header {
    /// Its lines.
    pub block: String,
    /// What mail servers before Stalwart found.
    pub authentication_results: Vec<String>,
}

/// Reads a whole request.
pub fn whole(json: &[u8]) -> Result<Request, Malformed> {
    let mut request = Request::default();
    let mut text = serde_json::Deserializer::from_slice(json);
    let read = Whole(&mut request)
        .deserialize(&mut text)
        .and_then(|()| text.end());
    match read {
        Ok(()) if request.context.is_some() => Ok(request),
        _ => Err(fault(json)),
    }
}

/// What is known by the first bytes of a request.
pub fn so_far(json: &[u8]) -> Request {
    let mut request = Request::default();
    let mut text = serde_json::Deserializer::from_slice(json);
    // It ends in the middle of something.
    let _ = Whole(&mut request).deserialize(&mut text);
    request
}

/// Fills in a request as it is read.
struct Whole<'a>(&'a mut Request);

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum Key {
    Context,
    Envelope,
    Message,
    #[serde(other)]
    Other,
}

impl<'de> DeserializeSeed<'de> for Whole<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Whole<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a request")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut values: A) -> Result<(), A::Error> {
        let Request {
            context,
            envelope,
            message,
        } = self.0;
        while let Some(key) = values.next_key()? {
            match key {
                Key::Context => once(context, &mut values)?,
                Key::Envelope => once(envelope, &mut values)?,
                Key::Message => once(message, &mut values)?,
                Key::Other => drop(values.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

/// Which of two were meant?
fn once<'de, T: Deserialize<'de>, A: MapAccess<'de>>(
    place: &mut Option<T>,
    values: &mut A,
) -> Result<(), A::Error> {
    if place.replace(values.next_value()?).is_some() {
        return Err(A::Error::custom("twice"));
    }
    Ok(())
}

/// What is wrong with what is no request; the draft is told by its names.
fn fault(json: &[u8]) -> Malformed {
    #[derive(Deserialize)]
    struct Names {
        context: Option<IgnoredAny>,
        stage: Option<IgnoredAny>,
        action: Option<IgnoredAny>,
    }
    match serde_json::from_slice::<Names>(json) {
        Ok(of) if of.context.is_none() && (of.stage.is_some() || of.action.is_some()) => {
            Malformed::Draft
        }
        Err(error) if !error.is_data() => Malformed::NoJson,
        _ => Malformed::NoRequest,
    }
}

/// A list of recipients.
fn bounded<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Address>, D::Error> {
    let mut addresses = Vec::new();
    each(from, |address| {
        addresses.push(address);
        addresses.len() <= limits::HOOK_RECIPIENTS
    })?;
    Ok(addresses)
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let mut header = Self::default();
        each(from, |(name, value): (String, String)| {
            note_field(
                &mut header.authentication_results,
                name.as_bytes(),
                value.as_bytes(),
            );
            header.block.extend([&*name, ":", &*value]);
            // The value has what it had in the mail: the blank before it, folds, and its end.
            if !value.ends_with('\n') {
                header.block.push_str("\r\n");
            }
            true
        })?;
        Ok(header)
    }
}

/// Gives each element of a list to `on`, as long as that goes on; a list may be long, and its elements
/// take more memory than they do as text.
fn each<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    from: D,
    on: impl FnMut(T) -> bool,
) -> Result<(), D::Error> {
    struct Each<T, F>(F, PhantomData<T>);

    impl<'de, T: Deserialize<'de>, F: FnMut(T) -> bool> Visitor<'de> for Each<T, F> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }

        fn visit_seq<A: SeqAccess<'de>>(mut self, mut values: A) -> Result<(), A::Error> {
            while let Some(value) = values.next_element()? {
                if !(self.0)(value) {
                    return Err(de::Error::custom("too long"));
                }
            }
            Ok(())
        }
    }

    from.deserialize_seq(Each(on, PhantomData))
}

/// How deep a JSON text is nested that comes in pieces. `serde_json` has a bound of its own, but none
/// for what is skipped.
#[derive(Debug, Default)]
pub struct Nesting {
    depth: usize,
    in_string: bool,
    escaped: bool,
}

impl Nesting {
    /// Goes on to the end of a piece.
    pub fn pass(&mut self, piece: &[u8]) -> Result<(), Malformed> {
        for &byte in piece {
            if self.in_string {
                self.in_string = self.escaped || byte != b'"';
                self.escaped = !self.escaped && byte == b'\\';
                continue;
            }
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
            if self.depth > limits::HOOK_DEPTH {
                return Err(Malformed::TooDeep);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Stalwart 0.15 sends it.
    const DATA: &str = r#"{"context":{"stage":"data","client":{"ip":"192.0.2.9","port":41234,
        "ptr":"mx.r.example","helo":null,"activeConnections":1},"sasl":{"login":"a","method":null},
        "tls":{"version":"TLSv1.3","cipher":"TLS13_AES_256_GCM_SHA384"},
        "server":{"name":"Stalwart","port":25,"ip":"198.51.100.25"},"queue":{"id":"2f1a"},
        "protocol":{"version":1}},
        "envelope":{"from":{"address":""},"to":[{"address":"rua@example.com","parameters":{}}]},
        "message":{"headers":[["From"," a@r.example\r\n"],["Subject"," b\r\n\tc\r\n"],["X",""]],
        "contents":"d\r\n\u00e9\ud83d\ude00","size":123}}"#;

    #[test]
    fn a_message_is_as_it_was_received() {
        let request = whole(DATA.as_bytes()).expect("a request");
        let context = request.context.expect("a context");
        assert_eq!(context.stage, Stage::Data);
        let client = context.client.expect("a client");
        assert_eq!(client.ptr.as_deref(), Some("mx.r.example"));
        assert_eq!(client.helo, None);
        assert_eq!(
            context.queue.and_then(|queue| queue.id).as_deref(),
            Some("2f1a")
        );
        assert_eq!(
            context.sasl.and_then(|sasl| sasl.login).as_deref(),
            Some("a")
        );
        let message = request.message.expect("a message");
        assert_eq!(
            message.header.block,
            "From: a@r.example\r\nSubject: b\r\n\tc\r\nX:\r\n"
        );
        assert_eq!(message.contents, "d\r\n\u{e9}\u{1f600}");
        assert!(!message.is_lossy());
    }

    #[test]
    fn what_is_there_is_known_wherever_a_request_is_cut() {
        let (end_of_context, end_of_envelope) = (
            DATA.find("\"envelope\"").expect("there"),
            DATA.find("\"message\"").expect("there"),
        );
        for cut in 0..DATA.len() {
            let request = so_far(&DATA.as_bytes()[..cut]);
            // The comma and the blanks behind them.
            if cut >= end_of_context {
                assert!(request.context.is_some(), "{cut}");
            }
            assert!(request.envelope.is_none() || cut > end_of_context, "{cut}");
            if cut >= end_of_envelope {
                assert!(request.envelope.is_some(), "{cut}");
            }
            assert!(whole(&DATA.as_bytes()[..cut]).is_err(), "{cut}");
        }
    }

    #[test]
    fn every_fault_has_its_name() {
        for (json, fault) in [
            ("", Malformed::NoJson),
            ("{", Malformed::NoJson),
            ("{} {}", Malformed::NoJson),
            (
                r#"{"context":{"stage":"mail","client":{"ip":"::1","helo":"\ud800"}}}"#,
                Malformed::NoRequest,
            ),
            (
                r#"{"context":{"stage":"mail","client":{"ip":"::1","helo":"\udc00"}}}"#,
                Malformed::NoRequest,
            ),
            (
                r#"{"context":{"stage":"mail"},"\ud800\u0041":1}"#,
                Malformed::NoJson,
            ),
            ("[]", Malformed::NoRequest),
            ("{}", Malformed::NoRequest),
            (r#"{"context":{}}"#, Malformed::NoRequest),
            (r#"{"context":{"stage":"bdat"}}"#, Malformed::NoRequest),
            (r#"{"context":{"stage":1}}"#, Malformed::NoRequest),
            (
                r#"{"context":{"stage":"mail"},"context":{"stage":"mail"}}"#,
                Malformed::NoRequest,
            ),
            (
                r#"{"stage":"data","envelope":{"from":1}}"#,
                Malformed::Draft,
            ),
            (
                r#"{"envelope":{"from":1},"action":"accept"}"#,
                Malformed::Draft,
            ),
        ] {
            assert_eq!(
                whole(json.as_bytes()).expect_err("a fault"),
                fault,
                "{json}"
            );
        }
    }

    #[test]
    fn what_is_nested_too_deep_is_told_in_whatever_pieces_it_comes() {
        let deep = |depth: usize| "[".repeat(depth) + "\"[\\\"[[\"" + &"]".repeat(depth);
        for size in [1, 2, 3, 100] {
            let passed = |json: &str| {
                let mut nesting = Nesting::default();
                let pieces = json.as_bytes().chunks(size);
                pieces
                    .map(|piece| nesting.pass(piece))
                    .collect::<Result<Vec<_>, _>>()
            };
            assert!(passed(DATA).is_ok());
            assert!(passed(&deep(limits::HOOK_DEPTH)).is_ok());
            assert_eq!(
                passed(&deep(limits::HOOK_DEPTH + 1)),
                Err(Malformed::TooDeep)
            );
            assert_eq!(passed(&"[".repeat(10_000)), Err(Malformed::TooDeep));
        }
    }

    #[test]
    fn serde_json_bears_ten_thousand_levels_by_itself() {
        for deep in ["[".repeat(10_000), "{\"a\":".repeat(10_000)] {
            for place in ["{\"context\":", "{\"message\":{\"headers\":", "{\"other\":"] {
                assert!(whole(format!("{place}{deep}").as_bytes()).is_err());
            }
        }
    }

    #[test]
    fn recipients_are_bounded() {
        let to = |count: usize| {
            let to = vec![r#"{"address":""}"#; count].join(",");
            let envelope = format!(r#"{{"from":{{"address":""}},"to":[{to}]}}"#);
            let json = format!(r#"{{"context":{{"stage":"rcpt"}},"envelope":{envelope}}}"#);
            whole(json.as_bytes())
        };
        assert!(to(limits::HOOK_RECIPIENTS).is_ok());
        let error = to(limits::HOOK_RECIPIENTS + 1).expect_err("too many");
        assert_eq!(error, Malformed::NoRequest);
    }
}
