//! What is told to others (webhook, collector, whoever asks for our health), and whether they heard.

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
        /// It did, and dropped some of it.
        Partial = "partial",
        /// It did not, or not in time.
        Failed = "failed",
    }

    /// What may be out of order while mail is taken as ever.
    Fault {
        /// The report store cannot be opened or written.
        Store = "store",
        /// The archive cannot be written.
        Archive = "archive",
        /// Several look-ups in a row said nothing.
        Dns = "dns",
        /// The last export by OTLP failed.
        Collector = "collector",
    }
}
