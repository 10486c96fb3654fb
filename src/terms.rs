//! The closed words, one spelling each.
//!
//! A word that appears in the log, in a metric, in a table of the store, in the output of a
//! command and in the manual is spelled here and nowhere else. Everything that becomes a metric
//! attribute comes from here or from the configured domains, never from a stranger's text.

use std::{fmt, str::FromStr};

/// Stands where a report does not state a result.
pub const UNKNOWN: &str = "unknown";
/// Stands where there is nothing to name: no reason, no listener.
pub const NONE: &str = "none";
/// The configured domains beyond those that metrics name.
pub const OTHER: &str = "other";

/// A text that is none of the words of a closed set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownWord;

impl fmt::Display for UnknownWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unknown word")
    }
}

impl std::error::Error for UnknownWord {}

/// Declares a closed set: the enum, its words, and the way back from a word, or from one that
/// an earlier version wrote in its place.
macro_rules! words {
    ($($(#[$meta:meta])* $name:ident {
        $($(#[$about:meta])* $variant:ident = $word:literal $(| $former:literal)*,)+
    })+) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$about])* $variant,)+ }

        impl $name {
            /// Every member, in the order of declaration.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The one spelling.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl FromStr for $name {
            type Err = UnknownWord;
            fn from_str(word: &str) -> Result<Self, UnknownWord> {
                match word { $($word $(| $former)* => Ok(Self::$variant),)+ _ => Err(UnknownWord) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let word = String::deserialize(from)?;
                word.parse().map_err(|UnknownWord| {
                    serde::de::Error::unknown_variant(&word, &[$($word),+])
                })
            }
        }
    )+};
}

mod finding;
mod told;

pub use finding::{FindingKind, FindingSource, Severity};
pub use told::{Export, Fault, FindingEvent, Posting};

words! {
    /// The way by which a mail came to us.
    Door {
        /// The milter protocol (Postfix, Sendmail, Stalwart).
        Milter = "milter",
        /// Stalwart's MTA hook over HTTP.
        Hook = "hook",
        /// Files that the operator gave to `import`.
        Import = "import",
    }

    /// What a document is, by its content.
    Kind {
        /// A DMARC aggregate report (RFC 7489 section 7.2, RFC 9990).
        Aggregate = "aggregate",
        /// An SMTP TLS report (RFC 8460).
        Tls = "tls",
        /// A failure report (RFC 6591, RFC 9991).
        Failure = "failure",
    }

    /// What a front door decided about a mail or one of its recipients.
    Verdict {
        /// Not for us: the MTA goes on as if we were not there.
        NotOurs = "not_ours",
        /// Durable in the spool.
        Accepted = "accepted",
        /// Ours, but not now: the sender is asked to come again (4xx).
        TryLater = "try_later",
        /// Ours, and never wanted (5xx).
        Refused = "refused",
    }

    /// What became of a document that was whole.
    Outcome {
        /// Counted for the first time.
        Stored = "stored",
        /// The same document came before; its arrival is recorded, nothing is counted.
        Duplicate = "duplicate",
        /// Another document with the key of a known one: kept, not counted.
        Revision = "revision",
        /// Could not be used; the mail is parked with its reason.
        Parked = "parked",
    }

    /// What makes a stored report worth a look.
    Flag {
        /// Records were left out because they were bad, or the document has no end.
        Incomplete = "incomplete",
        /// Came after another document with its key: kept, and in no sum.
        Revision = "revision",
        /// Had to be repaired before it could be read.
        Repaired = "repaired",
        /// Something else about it is odd.
        Notes = "notes",
    }

    /// Where an entry of the spool is.
    EntryState {
        /// Waits for the pipeline.
        New = "new",
        /// Cannot be used by this version; kept.
        Parked = "parked",
    }

    /// A step of a mail's life whose duration is measured.
    Stage {
        /// From the last byte of the message to our answer, `examine` and `put` included.
        Eom = "eom",
        /// From handing a mail to the spool's writer until its commit has returned.
        SpoolCommit = "spool_commit",
        /// Finding and reading the documents of one mail.
        Parse = "parse",
        /// Writing a batch of raw mails into the archive, synced.
        Archive = "archive",
        /// The transaction of the report store.
        StoreCommit = "store_commit",
    }

    /// Why a mail or a document cannot be used. The same word in the reply's log line, the
    /// parked entry, the metrics and the output of the commands.
    Rejection {
        /// The address stands for no configured domain, at a host whose every address is ours.
        UnknownRecipient = "unknown_recipient",
        /// The spool is full, read-only, or the disk is.
        NoRoom = "no_room",
        /// We are about to end.
        ShuttingDown = "shutting_down",
        /// The sender's network holds too much of the parked space.
        ParkedQuota = "parked_quota",
        /// More report mails came from the sender's network, or from all, than `[rate]` allows.
        RateLimited = "rate_limited",
        /// The message, or what it holds, is larger than a limit: bytes once unpacked, records,
        /// documents, members, containers within containers.
        TooLarge = "too_large"
            | "too_much_output"
            | "too_many_records"
            | "too_many_members"
            | "nested_too_deep",
        /// The report is about a domain that is not on the list, nor below one that is.
        ForeignDomain = "foreign_domain",
        /// Nothing in the mail can be a report.
        NotAReport = "not_a_report",
        /// A failure report about a domain that takes none.
        FailureReportsOff = "failure_reports_off",
        /// More or deeper MIME parts, or longer headers, than any reporter needs.
        MimeTooComplex = "mime_too_complex",
        /// A container (gzip, zip, zlib) that cannot be read to its end.
        BadContainer = "bad_container",
        /// An encrypted zip member, or a compression method that no reporter uses.
        UnsupportedContainer = "unsupported_container",
        /// Nothing within: an empty container, or the body `unused` that some reporters send.
        Empty = "empty",
        /// A document type declaration, which no report needs.
        Doctype = "doctype",
        /// The document ends before its root does.
        Truncated = "truncated",
        /// Not well-formed beyond the listed repairs.
        IllFormed = "ill_formed",
        /// Deeper elements than the bound.
        TooDeep = "too_deep",
        /// A name, attribute list or text longer than the bound.
        TokenTooLong = "token_too_long",
        /// An XML or JSON document that is no report.
        WrongRoot = "wrong_root",
        /// No domain that the report is about.
        NoDomain = "no_domain",
        /// No date range, one that cannot be, or one that is not to be believed.
        BadDates = "bad_dates",
        /// The whole report counts more messages than 64 bits hold.
        BadCount = "bad_count",
        /// A failure report whose feedback part is missing, or says nothing.
        NoFeedback = "no_feedback",
        /// Our own fault: processing ended the program repeatedly.
        Crashed = "crashed",
    }

    /// Why a record of a report, or a policy of a TLS report, was left out.
    LeftOut {
        /// `source_ip` is no address.
        SourceIp = "bad_source_ip",
        /// `count` is no number of messages.
        Messages = "bad_message_count",
        /// A session count is no number.
        Sessions = "bad_session_count",
        /// The policy is about what is no domain.
        PolicyDomain = "bad_policy_domain",
    }

    /// `disposition` of a record (RFC 7489 appendix C; `pass` since RFC 9990).
    Disposition {
        /// Nothing was done to the messages.
        None = "none",
        /// Treated as suspicious.
        Quarantine = "quarantine",
        /// Rejected.
        Reject = "reject",
        /// Passed DMARC where an enforcing policy existed (RFC 9990 section 3.1.1.8).
        Pass = "pass",
    }

    /// An aligned result of `policy_evaluated`.
    Aligned {
        /// An aligned identifier passed.
        Pass = "pass",
        /// None did.
        Fail = "fail",
    }

    /// A requested policy: `p`, `sp`, `np` (RFC 9989 section 4.7).
    Policy {
        /// No action wanted.
        None = "none",
        /// Treat as suspicious.
        Quarantine = "quarantine",
        /// Reject.
        Reject = "reject",
    }

    /// An alignment mode: `adkim`, `aspf`.
    Alignment {
        /// Relaxed: the organizational domains match.
        Relaxed = "r",
        /// Strict: the names match.
        Strict = "s",
    }

    /// A result of `auth_results`, DKIM and SPF together (RFC 8601 section 2.7).
    AuthResult {
        /// Not signed, or no record.
        None = "none",
        /// Verified.
        Pass = "pass",
        /// Not verified.
        Fail = "fail",
        /// Fails, weakly (SPF).
        Softfail = "softfail",
        /// Acceptable by no policy of the verifier.
        Policy = "policy",
        /// No statement.
        Neutral = "neutral",
        /// A passing error, such as of DNS.
        Temperror = "temperror",
        /// A lasting error, such as of syntax.
        Permerror = "permerror",
    }

    /// Why the applied policy differs from the published one (`reason/type`).
    Override {
        /// Recognised as forwarded (RFC 7489).
        Forwarded = "forwarded",
        /// Exempted by `pct` (RFC 7489).
        SampledOut = "sampled_out",
        /// Came from a forwarder that the receiver trusts.
        TrustedForwarder = "trusted_forwarder",
        /// Came from a mailing list.
        MailingList = "mailing_list",
        /// The receiver's own decision.
        LocalPolicy = "local_policy",
        /// The record says `t=y` (RFC 9990).
        PolicyTestMode = "policy_test_mode",
        /// Something else.
        Other = "other",
    }

    /// How a reporter found the policy (RFC 9990).
    DiscoveryMethod {
        /// By the Public Suffix List.
        Psl = "psl",
        /// By the DNS tree walk.
        Treewalk = "treewalk",
    }

    /// `y` or `n`.
    YesNo {
        /// Yes.
        Yes = "y",
        /// No.
        No = "n",
    }

    /// The identity that SPF checked.
    SpfScope {
        /// The HELO name.
        Helo = "helo",
        /// The envelope sender.
        Mfrom = "mfrom",
    }

    /// `policy-type` of a TLS report (RFC 8460 section 4.4).
    TlsPolicy {
        /// DANE TLSA records (RFC 7672).
        Tlsa = "tlsa",
        /// MTA-STS (RFC 8461).
        Sts = "sts",
        /// Neither.
        NoPolicyFound = "no-policy-found",
    }

    /// `result-type` of a TLS report's failures (RFC 8460 section 4.3).
    TlsFailure {
        /// The host offers no STARTTLS.
        StarttlsNotSupported = "starttls-not-supported",
        /// The certificate is for another name.
        CertificateHostMismatch = "certificate-host-mismatch",
        /// The certificate has expired.
        CertificateExpired = "certificate-expired",
        /// The certificate is not trusted.
        CertificateNotTrusted = "certificate-not-trusted",
        /// Another failure of the handshake.
        ValidationFailure = "validation-failure",
        /// The TLSA record fits nothing.
        TlsaInvalid = "tlsa-invalid",
        /// The answer does not validate.
        DnssecInvalid = "dnssec-invalid",
        /// The sender wants DANE, and there is none.
        DaneRequired = "dane-required",
        /// The MTA-STS policy could not be fetched.
        StsPolicyFetchError = "sts-policy-fetch-error",
        /// The MTA-STS policy is invalid.
        StsPolicyInvalid = "sts-policy-invalid",
        /// The host of the MTA-STS policy has no valid certificate.
        StsWebpkiInvalid = "sts-webpki-invalid",
    }

    /// How a TLS session went.
    SessionResult {
        /// As the policy asks.
        Successful = "successful",
        /// Otherwise.
        Failed = "failed",
    }

    /// `Auth-Failure` of a failure report (RFC 6591 section 3.1; `dmarc` is from RFC 7489).
    AuthFailure {
        /// The message is not signed, against its domain's ADSP record (historic).
        Adsp = "adsp",
        /// The body is not what was signed.
        Bodyhash = "bodyhash",
        /// The key was withdrawn.
        Revoked = "revoked",
        /// The signature does not verify.
        Signature = "signature",
        /// SPF did not pass.
        Spf = "spf",
        /// No aligned identifier passed.
        Dmarc = "dmarc",
    }

    /// `Delivery-Result` of a failure report (RFC 6591 section 3.2.2).
    DeliveryResult {
        /// Into the mailbox, as far as is known.
        Delivered = "delivered",
        /// Into a folder for spam.
        Spam = "spam",
        /// Somewhere else, by the receiver's own policy.
        Policy = "policy",
        /// Not accepted.
        Reject = "reject",
        /// Something else.
        Other = "other",
    }

    /// What a DNS lookup came to.
    DnsOutcome {
        /// Records.
        Found = "found",
        /// The name exists and has no such record.
        NoData = "nodata",
        /// The name does not exist.
        NxDomain = "nxdomain",
        /// SERVFAIL, REFUSED, a timeout: nothing is known, and nothing is concluded.
        Unknown = "unknown",
    }

    /// Why a DNS lookup came to nothing that is known.
    DnsTrouble {
        /// No answer in time.
        Timeout = "timeout",
        /// The server could not answer.
        ServFail = "servfail",
        /// The server would not answer.
        Refused = "refused",
        /// An answer that is no answer to the question: a referral, a loop of aliases, another
        /// response code.
        Unclear = "unclear",
        /// The server could not be reached.
        Network = "network",
    }

    /// A tag of a DMARC record (RFC 9989 section 4.7; the last three RFC 7489 section 6.3).
    RecordTag {
        /// Policy of the domain.
        P = "p",
        /// Policy of existing subdomains.
        Sp = "sp",
        /// Policy of subdomains that do not exist.
        Np = "np",
        /// DKIM alignment.
        Adkim = "adkim",
        /// SPF alignment.
        Aspf = "aspf",
        /// Where aggregate reports go.
        Rua = "rua",
        /// Where failure reports go.
        Ruf = "ruf",
        /// When failure reports are wanted.
        Fo = "fo",
        /// Test mode.
        T = "t",
        /// Public suffix or organizational domain.
        Psd = "psd",
        /// Share of messages (historic).
        Pct = "pct",
        /// Format of failure reports (historic).
        Rf = "rf",
        /// Interval of aggregate reports (historic).
        Ri = "ri",
    }

    /// What `doctor` thinks of one thing that it looked at.
    Health {
        /// As it should be.
        Ok = "ok",
        /// Works, and could be better.
        Warning = "warning",
        /// Costs mail, or will.
        Problem = "problem",
        /// Could not be looked at.
        Unknown = "unknown",
    }

    /// `psd` (RFC 9989 section 4.7).
    Psd {
        /// A public suffix domain.
        Yes = "y",
        /// An organizational domain.
        No = "n",
        /// Not said.
        Unknown = "u",
    }
}

/// A rejection travels inside an [`std::io::Error`] from the stream that found it to the reader
/// that hears of it; [`Rejection::within`] takes it out again.
impl std::error::Error for Rejection {}

impl Rejection {
    /// The rejection that an error of a stream carries, if it carries one.
    pub fn within(error: &std::io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref().copied()
    }
}

impl From<Rejection> for std::io::Error {
    fn from(rejection: Rejection) -> Self {
        Self::other(rejection)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_finds_its_way_back() {
        for &word in Rejection::ALL {
            assert_eq!(word.as_str().parse(), Ok(word));
        }
        assert_eq!("nothing".parse::<Kind>(), Err(UnknownWord));
    }

    #[test]
    fn a_word_of_an_earlier_version_is_understood() {
        for word in [
            "too_much_output",
            "too_many_records",
            "too_many_members",
            "nested_too_deep",
        ] {
            assert_eq!(word.parse(), Ok(Rejection::TooLarge));
        }
    }
}
