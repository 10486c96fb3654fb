//! Bad records, or policies of a TLS report: each is left out, all are counted, the first listed.

use serde::{Deserialize, Serialize};

use super::notes::{Notes, Oddity};
use crate::{limits::MAX_SKIPPED, terms::LeftOut};

/// A record that was left out; in a TLS report, a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Its number in the document, from 1.
    pub record: u64,
    /// Why.
    pub reason: LeftOut,
}

/// What was left out so far.
#[derive(Debug, Default)]
pub(super) struct Skips {
    pub count: u64,
    /// In order of their numbers, at most [`MAX_SKIPPED`].
    pub list: Vec<Skipped>,
}

impl Skips {
    pub(super) fn add(&mut self, record: u64, reason: LeftOut, notes: &mut Notes) {
        self.count += 1;
        let at = self.list.partition_point(|other| other.record < record);
        if at < MAX_SKIPPED {
            self.list.insert(at, Skipped { record, reason });
            self.list.truncate(MAX_SKIPPED);
        }
        notes.add(match reason {
            LeftOut::SourceIp => Oddity::BadAddress,
            LeftOut::Messages => Oddity::BadCount,
            LeftOut::Sessions => Oddity::BadSessions,
            LeftOut::PolicyDomain => Oddity::BadPolicyDomain,
        });
    }
}
