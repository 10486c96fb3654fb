//! `[reporters]`: who is known by name, and when silence is a finding.

use std::time::Duration;

use super::{
    Reporters,
    file::{ConfigError, Source},
    raw::RawReporters,
};
use crate::{domain::Domain, limits, report::reporters};

impl Source<'_> {
    pub(super) fn reporters(&self, raw: &RawReporters) -> Result<Reporters, ConfigError> {
        let name = |raw| self.value(raw, "a domain name", |name: &String| Domain::parse(name));
        let own = raw.known.iter().map(name).collect::<Result<Vec<_>, _>>()?;
        if let Some(beyond) = raw.known.get(limits::METRIC_REPORTERS) {
            let most = limits::METRIC_REPORTERS;
            return Err(self.wrong(&beyond.span(), format!("expected {most} reporters at most")));
        }
        let expected = "days, from 1 to 90, or 0 for what is learnt";
        let silent_after = self.or(raw.silent_days.as_ref(), None, expected, |n| match *n {
            0 => Some(None),
            days @ 1..=90 => Some(Some(Duration::from_hours(24 * days.unsigned_abs()))),
            _ => None,
        })?;
        Ok(Reporters {
            known: reporters::Reporters::new(own),
            silent_after,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reporters(text: &str) -> Result<Reporters, String> {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("rua-milter.toml");
        std::fs::write(&path, format!("[reporters]\n{text}")).expect("written");
        let config = super::super::file::load(&path);
        config
            .map(|config| config.reporters)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn days_are_learnt_unless_they_are_given() {
        assert_eq!(reporters("silent_days = 0"), Ok(Reporters::default()));
        let given = reporters("silent_days = 5").expect("a configuration");
        assert_eq!(given.silent_after, Some(Duration::from_hours(120)));
        for wrong in ["silent_days = 91", "silent_days = -1", "known = [\"a b\"]"] {
            assert!(reporters(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn others_are_known_beside_the_large_ones() {
        let given = reporters("known = [\"mx.partner.example\"]").expect("a configuration");
        let name = |org| given.known.name_of(org, "").map(|name| name.to_string());
        assert_eq!(
            name("MX.partner.example").as_deref(),
            Some("mx.partner.example")
        );
        assert_eq!(name("google.com").as_deref(), Some("google.com"));
    }
}
