//! What senders hear: constants of printable ASCII without `%`, which Sendmail takes for a
//! format, each with an enhanced code of the class of its code (RFC 3463), without which
//! Postfix refuses the reply. Nothing in them comes from the mail.

use crate::terms::Rejection;

/// One reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The SMTP code.
    pub code: &'static str,
    /// The enhanced code.
    pub enhanced: &'static str,
    /// The text.
    pub text: &'static str,
}

const fn reply(code: &'static str, enhanced: &'static str, text: &'static str) -> Reply {
    Reply {
        code,
        enhanced,
        text,
    }
}

/// No such address at a host of ours.
pub const UNKNOWN: Reply = reply("550", "5.1.1", "No reports are received at this address");
/// Not now.
pub const LATER: Reply = reply(
    "451",
    "4.3.1",
    "Reports cannot be taken right now, please try again later",
);
/// More mails than the operator wants in a minute.
pub const TOO_FAST: Reply = reply("451", "4.7.0", "Too many reports, please try again later");
/// Too many recipients of ours in one message.
pub const TOO_MANY: Reply = reply("452", "4.5.3", "Too many report recipients in one message");
/// Too large.
pub const TOO_LARGE: Reply = reply("552", "5.3.4", "Report exceeds the size limit");
/// About somebody else's domain.
pub const FOREIGN: Reply = reply(
    "550",
    "5.7.1",
    "This report is about a domain that is not handled here",
);
/// A failure report that would hold mail of somebody's which the operator does not want to have.
pub const FAILURE_OFF: Reply = reply(
    "550",
    "5.7.1",
    "No failure reports are received for this domain",
);
/// No report at all.
pub const NOT_A_REPORT: Reply = reply("550", "5.7.1", "This address receives DMARC reports only");
/// It could not be made durable.
pub const NOT_STORED: Reply = reply(
    "451",
    "4.3.0",
    "Report could not be stored, please try again later",
);

impl Reply {
    /// The reply to a mail or a recipient that is turned away for `reason`.
    pub const fn to(reason: Rejection) -> Self {
        match reason {
            Rejection::UnknownRecipient => UNKNOWN,
            Rejection::TooLarge => TOO_LARGE,
            Rejection::ForeignDomain => FOREIGN,
            Rejection::FailureReportsOff => FAILURE_OFF,
            Rejection::RateLimited => TOO_FAST,
            Rejection::NoRoom | Rejection::ShuttingDown | Rejection::ParkedQuota => LATER,
            _ => NOT_A_REPORT,
        }
    }

    /// The code as a number, for the log.
    pub fn number(self) -> u16 {
        self.code.parse().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reply_is_one_that_every_mta_passes_on() {
        for &reason in Rejection::ALL {
            let reply = Reply::to(reason);
            assert_eq!(
                reply.code.as_bytes()[0],
                reply.enhanced.as_bytes()[0],
                "{reply:?}"
            );
            assert!(
                reply
                    .text
                    .bytes()
                    .all(|b| (b' '..=b'~').contains(&b) && b != b'%')
            );
            assert!(reply.text.len() < 500);
        }
    }
}
