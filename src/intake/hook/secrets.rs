//! Whether a request knows a secret: Basic (RFC 7617) or Bearer (RFC 6750), from files.
//!
//! Digests are compared, whole: neither the length of a secret nor how much of it was guessed can
//! be told from the time that an answer takes.

use std::path::{Path, PathBuf};

use mail_parser::decoders::base64::base64_decode;
use sha2::{Digest as _, Sha256};

use crate::config::Hook;

/// Why a secret cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Its file cannot be read.
    #[error("cannot read the secret in {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// There is nothing in it that could be one.
    #[error("{} holds no {expected}", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// What it should.
        expected: &'static str,
    },
}

/// What a request must know one of; any request may come if there is none.
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    basic: Option<[u8; 32]>,
    bearer: Option<[u8; 32]>,
}

impl Secrets {
    /// Reads the files.
    pub fn read(hook: &Hook) -> Result<Self, SecretError> {
        let basic = hook.basic_file.as_deref();
        let basic = basic.map(|path| {
            secret(path, "user:password", |text| {
                text.split_once(':')
                    .is_some_and(|(_, password)| !password.is_empty())
            })
        });
        let bearer = hook.bearer_file.as_deref();
        let bearer = bearer.map(|path| secret(path, "token", |text| !text.is_empty()));
        Ok(Self {
            basic: basic.transpose()?,
            bearer: bearer.transpose()?,
        })
    }

    /// Whether whoever sent this `Authorization` may come in.
    pub fn permit(&self, authorization: Option<&[u8]>) -> bool {
        if self.basic.is_none() && self.bearer.is_none() {
            return true;
        }
        let Some((scheme, given)) = authorization.and_then(scheme) else {
            return false;
        };
        if scheme.eq_ignore_ascii_case(b"Basic") {
            base64_decode(given).is_some_and(|given| is(self.basic.as_ref(), &given))
        } else if scheme.eq_ignore_ascii_case(b"Bearer") {
            is(self.bearer.as_ref(), given)
        } else {
            false
        }
    }
}

/// The secret in a file, without the line's end.
fn secret(
    path: &Path,
    expected: &'static str,
    fits: impl FnOnce(&str) -> bool,
) -> Result<[u8; 32], SecretError> {
    let text = std::fs::read_to_string(path).map_err(|source| SecretError::Read {
        path: path.to_owned(),
        source,
    })?;
    let text = text.trim();
    if !fits(text) {
        return Err(SecretError::Wrong {
            path: path.to_owned(),
            expected,
        });
    }
    Ok(Sha256::digest(text).into())
}

fn scheme(authorization: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = authorization.iter().position(|&byte| byte == b' ')?;
    let (scheme, given) = authorization.split_at(space);
    Some((scheme, given.trim_ascii()))
}

fn is(secret: Option<&[u8; 32]>, given: &[u8]) -> bool {
    let given: [u8; 32] = Sha256::digest(given).into();
    let differs = |secret: &[u8; 32]| {
        let pairs = secret.iter().zip(given);
        pairs.fold(0, |differs, (a, b)| differs | (a ^ b))
    };
    secret.is_some_and(|secret| differs(secret) == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(basic: Option<&str>, bearer: Option<&str>) -> Result<Secrets, SecretError> {
        let dir = tempfile::tempdir().expect("a directory");
        let file = |name: &str, text: Option<&str>| {
            let path = dir.path().join(name);
            text.map(|text| {
                std::fs::write(&path, text).expect("written");
                path
            })
        };
        let hook = Hook {
            address: crate::config::Listen::default().address,
            basic_file: file("basic", basic),
            bearer_file: file("bearer", bearer),
        };
        Secrets::read(&hook)
    }

    #[test]
    fn only_who_knows_a_secret_comes_in() {
        let both = secrets(Some("stalwart:se:cret\n"), Some("token\n")).expect("secrets");
        // stalwart:se:cret
        assert!(both.permit(Some(b"Basic c3RhbHdhcnQ6c2U6Y3JldA==")));
        assert!(both.permit(Some(b"basic  c3RhbHdhcnQ6c2U6Y3JldA==")));
        assert!(both.permit(Some(b"Bearer token")));
        for wrong in [
            &b"Bearer token2"[..],
            b"Bearer ",
            b"Bearer",
            b"token",
            b"Basic token",
            b"Basic c3RhbHdhcnQ6c2U6Y3JldDE=",
            b"Digest token",
            b"",
        ] {
            assert!(!both.permit(Some(wrong)), "{}", wrong.escape_ascii());
        }
        assert!(!both.permit(None));
        // Neither stands in for the other.
        let bearer = secrets(None, Some("stalwart:secret")).expect("a secret");
        assert!(!bearer.permit(Some(b"Basic c3RhbHdhcnQ6c2VjcmV0")));
        assert!(secrets(None, None).expect("none").permit(None));
    }

    #[test]
    fn what_can_be_no_secret_is_an_error() {
        for (basic, bearer) in [
            (Some("stalwart"), None),
            (Some("stalwart:"), None),
            (None, Some("\n")),
        ] {
            let error = secrets(basic, bearer).expect_err("an error");
            assert!(matches!(error, SecretError::Wrong { .. }), "{error}");
        }
    }
}
