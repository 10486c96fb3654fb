//! Stalwart's side of its MTA hook: the requests of 0.15 and 0.16, by the client that it has.

use std::time::Duration;

use serde_json::{Value, json};

use super::SOON;

/// Where requests go, and what they know.
#[derive(Clone)]
pub struct Hook {
    url: String,
    client: reqwest::blocking::Client,
    authorization: Option<String>,
}

impl Hook {
    /// The hook at a port of the loopback.
    pub fn at(port: u16) -> Self {
        rua_milter::telemetry::install_crypto();
        let client = reqwest::blocking::Client::builder()
            .timeout(2 * SOON)
            // Stalwart makes a client for each request.
            .pool_max_idle_per_host(0)
            .pool_idle_timeout(Duration::ZERO)
            .no_proxy()
            .build();
        Self {
            url: format!("http://127.0.0.1:{port}/"),
            client: client.expect("a client"),
            authorization: None,
        }
    }

    /// The same with an `Authorization`.
    pub fn with(&self, authorization: &str) -> Self {
        Self {
            authorization: Some(authorization.to_owned()),
            ..self.clone()
        }
    }

    /// The answer to whatever this is: its status, and the JSON that it must be.
    pub fn post(&self, body: impl Into<reqwest::blocking::Body>) -> (u16, Value) {
        let post = self.client.post(&self.url).body(body);
        self.told(post.header("Content-Type", "application/json"))
    }

    pub fn get(&self) -> (u16, Value) {
        self.told(self.client.get(&self.url))
    }

    fn told(&self, request: reqwest::blocking::RequestBuilder) -> (u16, Value) {
        let request = match &self.authorization {
            Some(authorization) => request.header("Authorization", authorization),
            None => request,
        };
        let response = request.send().expect("an answer");
        let status = response.status().as_u16();
        let kind = response.headers().get("Content-Type").cloned();
        assert_eq!(kind.expect("a type"), "application/json");
        let text = response.text().expect("a text");
        (status, serde_json::from_str(&text).expect("JSON"))
    }

    /// The answer to a request.
    pub fn ask(&self, request: &Value) -> Value {
        let (status, answer) = self.post(request.to_string());
        assert_eq!(status, 200, "{answer}");
        answer
    }

    /// The answer to a message.
    pub fn submit(&self, to: &[&str], mail: &[u8]) -> Value {
        self.ask(&data(to, mail))
    }
}

/// A request at a stage before `data`.
pub fn stage(stage: &str, to: &[&str]) -> Value {
    let mut request = json!({ "context": context(stage) });
    if ["mail", "rcpt"].contains(&stage) {
        request["envelope"] = envelope(to);
    }
    request
}

/// A message. Its fields stand where Stalwart has them.
pub fn data(to: &[&str], mail: &[u8]) -> Value {
    let mut request = stage("data", to);
    request["context"]["queue"] = json!({ "id": "2f1a7c" });
    request["envelope"] = envelope(to);
    let (header, body) = split(mail);
    let fields: Vec<_> = fields(header)
        .into_iter()
        .map(|(name, value)| json!([text(name), text(value)]))
        .collect();
    request["message"] = json!({ "headers": fields, "contents": text(body), "size": mail.len() });
    request
}

/// Header and body of a mail.
pub fn split(mail: &[u8]) -> (&[u8], &[u8]) {
    let end = mail.windows(4).position(|four| four == b"\r\n\r\n");
    let end = end.expect("a header");
    (&mail[..end + 2], &mail[end + 4..])
}

/// Names and values, each value with the blank before it and the end of its line.
pub fn fields(header: &[u8]) -> Vec<(&[u8], &[u8])> {
    let mut fields = Vec::new();
    let mut rest = header;
    while !rest.is_empty() {
        let is_end = |at: usize| {
            rest[at..].starts_with(b"\r\n") && !matches!(rest.get(at + 2), Some(b' ' | b'\t'))
        };
        let end = (0..rest.len()).find(|&at| is_end(at)).expect("an end") + 2;
        let (field, next) = rest.split_at(end);
        let colon = field.iter().position(|&byte| byte == b':').expect("a name");
        fields.push((&field[..colon], &field[colon + 1..]));
        rest = next;
    }
    fields
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn context(stage: &str) -> Value {
    json!({
        "stage": stage,
        "client": { "ip": "192.0.2.25", "port": 41234, "ptr": null, "helo": "mx.reporter.example",
                    "activeConnections": 1 },
        "tls": { "version": "TLSv1.3", "cipher": "TLS13_AES_256_GCM_SHA384" },
        "server": { "name": "Stalwart", "port": 25, "ip": "198.51.100.25" },
        "protocol": { "version": 1 },
    })
}

fn envelope(to: &[&str]) -> Value {
    let to: Vec<_> = to.iter().map(|to| json!({ "address": to })).collect();
    json!({ "from": { "address": "noreply@reporter.example" }, "to": to })
}
