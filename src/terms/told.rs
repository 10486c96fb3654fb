//! The words of the webhook and of the collector: who is told, and whether he heard.

use std::{fmt, str::FromStr};

use super::UnknownWord;

words! {
    /// What a finding does.
    FindingEvent {
        /// It is new.
        Opened = "opened",
        /// It is no more.
        Closed = "closed",
    }

    /// What became of telling the webhook of a change.
    Posting {
        /// The server took it.
        Delivered = "delivered",
        /// The server refuses it, or failed too often.
        GivenUp = "given_up",
        /// The queue was full, or the program ended.
        Dropped = "dropped",
    }

    /// What became of an export by OTLP.
    Export {
        /// The collector took it.
        Delivered = "delivered",
        /// It did not, or not in time.
        Failed = "failed",
    }
}
