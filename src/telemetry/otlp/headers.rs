//! Header fields that go along with each export, such as a token, from a file.
//!
//! The SDK adds those of `OTEL_EXPORTER_OTLP_HEADERS` and lets them win over its program's; so ours
//! are set on the finished request, where a field of the file replaces one of the variables.

use std::{fmt, path::Path, pin::Pin};

use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use crate::telemetry::TelemetryError;

/// Header fields; their values are not shown by `Debug`.
#[derive(Clone, Debug, Default)]
pub(super) struct Headers(HeaderMap);

impl Headers {
    /// Reads `Name: value` lines; empty ones and those that start with `#` say nothing.
    pub fn read(path: &Path) -> Result<Self, TelemetryError> {
        let text = super::read("metrics.otlp_headers_file", path)?;
        let lines = text.lines().enumerate();
        let told = lines.filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
        told.map(|(at, line)| {
            field(line).ok_or_else(|| TelemetryError::Header {
                path: path.to_owned(),
                line: at + 1,
            })
        })
        .collect::<Result<_, _>>()
        .map(Self)
    }

    /// Sets them, in place of others of the same name.
    pub fn set(&self, on: &mut HeaderMap) {
        for (name, value) in &self.0 {
            on.insert(name, value.clone());
        }
    }
}

fn field(line: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = line.split_once(':')?;
    let name = name.trim().parse().ok()?;
    let mut value: HeaderValue = value.trim().parse().ok()?;
    value.set_sensitive(true);
    Some((name, value))
}

/// A client that sets them on every request.
pub(super) struct WithHeaders {
    pub client: reqwest::blocking::Client,
    pub headers: Headers,
}

impl fmt::Debug for WithHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WithHeaders")
    }
}

impl HttpClient for WithHeaders {
    // As `async_trait` writes it.
    fn send_bytes<'a, 'f>(
        &'a self,
        mut request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'f>>
    where
        'a: 'f,
        Self: 'f,
    {
        self.headers.set(request.headers_mut());
        self.client.send_bytes(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Headers, TelemetryError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("headers");
        std::fs::write(&path, text).unwrap();
        Headers::read(&path)
    }

    #[test]
    fn a_field_of_the_file_replaces_one_of_its_name_and_shows_no_value() {
        let ours = read("# token\nAuthorization: Bearer abc\n\nX-Scope-OrgID:  mail \n").unwrap();
        let mut request = HeaderMap::new();
        for (name, value) in [("authorization", "Bearer old"), ("x-other", "stays")] {
            request.append(name, value.parse().unwrap());
        }
        ours.set(&mut request);
        for (name, value) in [
            ("authorization", "Bearer abc"),
            ("x-scope-orgid", "mail"),
            ("x-other", "stays"),
        ] {
            let says: Vec<_> = request.get_all(name).iter().collect();
            assert_eq!(says, [value]);
        }
        assert!(!format!("{ours:?}").contains("abc"));
    }

    #[test]
    fn a_line_that_is_no_field_is_named_and_not_shown() {
        for wrong in ["secret", "a b: secret", "x: sec\u{7}ret"] {
            let error = read(&format!("A: b\n{wrong}\n")).unwrap_err().to_string();
            assert!(
                error.contains("line 2") && !error.contains("secret"),
                "{error}"
            );
        }
    }
}
