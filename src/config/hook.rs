//! `[hook]`: where Stalwart's MTA hook finds us, and which secrets it must know.

use std::path::PathBuf;

use super::{
    Hook, ListenAddress,
    file::{ConfigError, Source, listen_address},
    raw::RawHook,
};

impl Source<'_> {
    /// `None` where it does not listen.
    pub(super) fn hook(&self, raw: &RawHook) -> Result<Option<Hook>, ConfigError> {
        let Some(listen) = &raw.listen else {
            return Ok(None);
        };
        let mode = self.mode(raw.mode.as_ref())?;
        let expected = "\"127.0.0.1:8892\", \"[::1]:8892\" or \"unix:/path\"";
        let address = self.value(listen, expected, |text| match text.parse() {
            Ok(address) => Some(ListenAddress::Tcp(address)),
            Err(_) => listen_address(text, mode, raw.group.as_deref()),
        })?;
        let has_secret = raw.basic_file.is_some() || raw.bearer_file.is_some();
        if let ListenAddress::Tcp(address) = &address
            && !address.ip().is_loopback()
            && !has_secret
        {
            // Whoever reaches it could tell us anything of anybody.
            let expected =
                "expected an address of the loopback; others need basic_file or bearer_file";
            return Err(self.wrong(&listen.span(), expected.into()));
        }
        let file = |name: &Option<PathBuf>| name.as_ref().map(|name| self.secret_file(name));
        Ok(Some(Hook {
            address,
            basic_file: file(&raw.basic_file),
            bearer_file: file(&raw.bearer_file),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(text: &str) -> Result<Option<Hook>, String> {
        let text = format!("[hook]\n{text}");
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("rua-milter.toml");
        std::fs::write(&path, text).expect("written");
        let config = super::super::file::load(&path);
        config
            .map(|config| config.hook)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn it_is_off_unless_it_listens() {
        assert_eq!(hook("mode = \"0600\""), Ok(None));
        for address in ["127.0.0.1:8892", "[::1]:8892", "unix:/run/hook.sock"] {
            let found = hook(&format!("listen = \"{address}\"")).expect("a configuration");
            assert!(found.is_some(), "{address}");
        }
    }

    #[test]
    fn elsewhere_than_on_the_loopback_it_needs_a_secret() {
        for address in ["0.0.0.0:8892", "192.0.2.1:8892", "[::]:8892"] {
            let error = hook(&format!("listen = \"{address}\"")).expect_err("an error");
            assert!(
                error.contains("2: listen: expected an address of the loopback"),
                "{error}"
            );
            for secret in ["basic_file", "bearer_file"] {
                let text = format!("listen = \"{address}\"\n{secret} = \"/x\"");
                assert!(hook(&text).is_ok(), "{text}");
            }
        }
    }

    #[test]
    fn what_is_no_address_is_an_error() {
        for address in ["8892", "localhost:8892", "unix:relative"] {
            let error = hook(&format!("listen = \"{address}\"")).expect_err("an error");
            assert!(
                error.contains("listen: expected \"127.0.0.1:8892\""),
                "{error}"
            );
        }
    }
}
