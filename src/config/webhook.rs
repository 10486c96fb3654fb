//! `[webhook]`: who is told when a finding opens or closes.

use reqwest::{Url, header::HeaderName};

use super::{
    Webhook,
    file::{ConfigError, SECS, Source, secs, within},
    raw::RawWebhook,
};
use crate::limits;

impl Source<'_> {
    /// `None`: nobody.
    pub(super) fn webhook(&self, raw: &RawWebhook) -> Result<Option<Webhook>, ConfigError> {
        let url = raw.url.as_ref().map(|url| {
            let expected = "a URL such as \"https://hooks.example.net/rua\"";
            self.value(url, expected, |url| {
                let url = Url::parse(url).ok()?;
                matches!(url.scheme(), "http" | "https").then_some(url)
            })
        });
        let secret_header = self.or(
            raw.secret_header.as_ref(),
            limits::WEBHOOK_HEADER.to_owned(),
            "the name of a header field",
            |name| {
                HeaderName::from_bytes(name.as_bytes())
                    .ok()
                    .map(|_| name.clone())
            },
        )?;
        let timeout = self.or(raw.timeout_secs.as_ref(), limits::WEBHOOK, SECS, |n| {
            secs(*n)
        })?;
        let expected = "a number from 0 to 20";
        let retries = self.or(
            raw.retries.as_ref(),
            limits::WEBHOOK_RETRIES,
            expected,
            |n| within(*n, 0, 20),
        )?;
        let webhook = |url| Webhook {
            url,
            secret_header,
            secret_file: raw.secret_file.as_ref().map(|name| self.secret_file(name)),
            timeout,
            retries,
        };
        Ok(url.transpose()?.map(webhook))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn webhook(text: &str) -> Result<Option<Webhook>, String> {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("rua-milter.toml");
        std::fs::write(&path, format!("[webhook]\n{text}")).expect("written");
        let config = super::super::file::load(&path);
        config
            .map(|config| config.webhook)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn it_is_off_without_a_url() {
        assert_eq!(webhook("retries = 3"), Ok(None));
        let found = webhook("url = \"https://hooks.example.net/rua\"\nsecret_file = \"/s\"");
        let found = found.expect("a configuration").expect("a webhook");
        assert_eq!(found.secret_header, "X-Webhook-Secret");
        assert_eq!(found.secret_file, Some("/s".into()));
    }

    #[test]
    fn what_cannot_be_posted_to_is_an_error() {
        for wrong in [
            "url = \"hooks.example.net\"",
            "url = \"ftp://hooks.example.net\"",
            "secret_header = \"a b\"",
            "timeout_secs = 0",
            "retries = -1",
        ] {
            let error = webhook(wrong).expect_err("an error");
            assert!(error.contains("expected"), "{error}");
        }
    }
}
