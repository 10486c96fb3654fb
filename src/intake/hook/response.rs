//! What Stalwart's MTA hook hears. Pure.
//!
//! Stalwart reads `enhanced_status`, its manual says `enhancedStatus`: both are written. It looks at a
//! response only if that has status and message. A quarantined message would never leave its queue, so
//! that word is not said.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::request::Malformed;
use crate::intake::reply::Reply;

/// What is said of a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Go on.
    Accept,
    /// Go on without these recipients.
    Remove(Vec<String>),
    /// The message is with us, and goes no further.
    Discard,
    /// The sender hears this.
    Reject(Reply),
}

impl Answer {
    fn json(&self) -> Value {
        match self {
            Self::Accept => json!({ "action": "accept", "modifications": [] }),
            Self::Remove(recipients) => {
                let remove = |value| json!({ "type": "deleteRecipient", "value": value });
                let modifications: Vec<_> = recipients.iter().map(remove).collect();
                json!({ "action": "accept", "modifications": modifications })
            }
            Self::Discard => with_response("discard", 250, "2.0.0", "Report received"),
            Self::Reject(reply) => {
                with_response("reject", reply.number(), reply.enhanced, reply.text)
            }
        }
    }
}

fn with_response(action: &str, status: u16, enhanced: &str, message: &str) -> Value {
    json!({
        "action": action,
        "response": {
            "status": status,
            "enhanced_status": enhanced,
            "enhancedStatus": enhanced,
            "message": message,
            "disconnect": false,
        },
        "modifications": [],
    })
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        with_body(StatusCode::OK, &self.json())
    }
}

/// Why a request has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It knows no secret.
    Unauthorized,
    /// It is no POST.
    Method,
    /// It did not come in time.
    TooSlow,
    /// It is longer than a message of ours can make it.
    TooLarge,
    /// It is not what a hook sends.
    Malformed(Malformed),
    /// There is no room for it, and nobody knows what it was.
    NoRoom,
    /// Its sender has gone away, or we are ending.
    Gone,
}

impl Refusal {
    /// The status, and a reason that holds nothing of what was sent.
    pub const fn told(self) -> (StatusCode, &'static str) {
        match self {
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "no secret, or a wrong one"),
            Self::Method => (StatusCode::METHOD_NOT_ALLOWED, "a hook is called by POST"),
            Self::TooSlow => (
                StatusCode::REQUEST_TIMEOUT,
                "the request did not come in time",
            ),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "the request is too large"),
            Self::Malformed(Malformed::NoJson) => {
                (StatusCode::BAD_REQUEST, "the request is no JSON")
            }
            Self::Malformed(Malformed::TooDeep) => {
                (StatusCode::BAD_REQUEST, "the request is nested too deep")
            }
            Self::Malformed(Malformed::NoRequest) => (
                StatusCode::BAD_REQUEST,
                "the request is not one of Stalwart's MTA hook",
            ),
            Self::Malformed(Malformed::Draft) => (
                StatusCode::BAD_REQUEST,
                "the format of draft-degennaro-mta-hooks is not supported",
            ),
            Self::NoRoom => (StatusCode::SERVICE_UNAVAILABLE, "no room for the request"),
            Self::Gone => (
                StatusCode::SERVICE_UNAVAILABLE,
                "the request did not come whole",
            ),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, reason) = self.told();
        let mut response = with_body(status, &json!({ "error": reason }));
        let needs = match self {
            Self::Unauthorized => (
                header::WWW_AUTHENTICATE,
                "Basic realm=\"rua-milter\", Bearer",
            ),
            Self::Method => (header::ALLOW, "POST"),
            _ => return response,
        };
        let headers = response.headers_mut();
        headers.insert(needs.0, HeaderValue::from_static(needs.1));
        response
    }
}

fn with_body(status: StatusCode, body: &Value) -> Response {
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (status, kind, body.to_string()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{intake::reply, terms::Rejection};

    #[test]
    fn whatever_is_no_accept_has_status_message_and_both_spellings() {
        let rejections = Rejection::ALL.iter().map(|&reason| Reply::to(reason));
        let replies = rejections.chain([reply::TOO_MANY, reply::NOT_STORED]);
        let answers = replies.map(Answer::Reject).chain([Answer::Discard]);
        for answer in answers {
            let json = answer.json();
            let response = &json["response"];
            let status = response["status"].as_u64().expect("a status").to_string();
            let enhanced = response["enhanced_status"].as_str().expect("a code");
            assert_eq!(status.as_bytes()[0], enhanced.as_bytes()[0], "{json}");
            assert_eq!(response["enhanced_status"], response["enhancedStatus"]);
            assert!(!response["message"].as_str().expect("a text").is_empty());
            assert_eq!(
                json["action"] == "reject",
                !status.starts_with('2'),
                "{json}"
            );
        }
    }
}
