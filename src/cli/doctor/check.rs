//! What one look came to: how it is, in one sentence, and what to do about it.

use serde::Serialize;

use crate::terms::Health;

/// One line of the findings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at, in a word.
    pub about: &'static str,
    /// How it is.
    pub state: Health,
    /// The same in a sentence.
    pub says: String,
    /// The next step, unless all is well.
    pub next: Option<String>,
}

impl Check {
    pub fn ok(about: &'static str, says: impl Into<String>) -> Self {
        Self {
            about,
            state: Health::Ok,
            says: says.into(),
            next: None,
        }
    }

    pub fn warning(about: &'static str, says: impl Into<String>, next: impl Into<String>) -> Self {
        Self::amiss(about, Health::Warning, says, next)
    }

    pub fn problem(about: &'static str, says: impl Into<String>, next: impl Into<String>) -> Self {
        Self::amiss(about, Health::Problem, says, next)
    }

    pub fn unknown(about: &'static str, says: impl Into<String>, next: impl Into<String>) -> Self {
        Self::amiss(about, Health::Unknown, says, next)
    }

    fn amiss(
        about: &'static str,
        state: Health,
        says: impl Into<String>,
        next: impl Into<String>,
    ) -> Self {
        Self {
            about,
            state,
            says: says.into(),
            next: Some(next.into()),
        }
    }
}
