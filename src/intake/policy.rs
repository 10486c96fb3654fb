//! What is done with a recipient and with a message. Pure: the whole table of verdicts, apart
//! from the protocol that carries them.

use crate::{
    config::{
        Unrecognised,
        domains::{DomainList, Standing},
    },
    intake::examine::Opinion,
    terms::Rejection,
};

/// What a recipient hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtRcpt {
    /// Not our business.
    NotOurs,
    /// Ours, and welcome.
    Ours,
    /// Ours, and never (5xx).
    Refuse(Rejection),
    /// Ours, but not now (4xx).
    TryLater(Rejection),
}

/// Judges one recipient. `declared` is the SIZE of MAIL, if it was given.
pub fn at_rcpt(
    domains: &DomainList,
    argument: &[u8],
    declared: Option<u64>,
    max_message: usize,
    room: impl FnOnce() -> Result<(), Rejection>,
) -> AtRcpt {
    match domains.standing(argument) {
        Standing::NotOurs => AtRcpt::NotOurs,
        Standing::Unknown => AtRcpt::Refuse(Rejection::UnknownRecipient),
        Standing::Ours if declared.is_some_and(|size| size > max_message as u64) => {
            AtRcpt::Refuse(Rejection::TooLarge)
        }
        Standing::Ours => room().map_or_else(AtRcpt::TryLater, |()| AtRcpt::Ours),
    }
}

/// What is done with a message that has recipients of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtEom {
    /// It goes to the pipeline.
    Spool,
    /// It goes to the parked ones.
    Park(Rejection),
    /// It is refused (5xx).
    Refuse(Rejection),
    /// It goes on as if we were not there.
    LeaveAlone,
}

/// What a message is, as far as the verdict goes.
#[derive(Clone, Copy, Debug)]
pub struct Message {
    /// What `examine` thinks; an oversized message is not examined.
    pub opinion: Opinion,
    /// Whether it is larger than the limit.
    pub oversized: bool,
    /// Whether refusing it refuses nobody else's mail: every recipient is ours, and an SMTP
    /// client hears the answer. (Mail that did not come by SMTP would be bounced instead.)
    pub may_refuse: bool,
}

/// Judges a message at its end.
pub fn at_eom(message: Message, unrecognised: Unrecognised) -> AtEom {
    let refuse_or_park = |reason| {
        if message.may_refuse {
            AtEom::Refuse(reason)
        } else {
            AtEom::Park(reason)
        }
    };
    if message.oversized {
        return refuse_or_park(Rejection::TooLarge);
    }
    match message.opinion {
        // Unsure is not a reason to refuse: the pipeline reads it to the end.
        Opinion::Ours | Opinion::CannotTell => AtEom::Spool,
        Opinion::Foreign => refuse_or_park(Rejection::ForeignDomain),
        Opinion::FailureReportsOff => refuse_or_park(Rejection::FailureReportsOff),
        Opinion::NotAReport => match unrecognised {
            Unrecognised::Reject => refuse_or_park(Rejection::NotAReport),
            Unrecognised::Park => AtEom::Park(Rejection::NotAReport),
            Unrecognised::Deliver => AtEom::LeaveAlone,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_with_other_recipients_is_never_refused() {
        for opinion in [
            Opinion::Ours,
            Opinion::Foreign,
            Opinion::FailureReportsOff,
            Opinion::CannotTell,
            Opinion::NotAReport,
        ] {
            for oversized in [false, true] {
                let message = Message {
                    opinion,
                    oversized,
                    may_refuse: false,
                };
                let verdict = at_eom(message, Unrecognised::Reject);
                assert!(
                    !matches!(verdict, AtEom::Refuse(_)),
                    "{message:?} {verdict:?}"
                );
            }
        }
    }

    #[test]
    fn alone_each_fault_has_its_refusal() {
        let alone = |opinion, oversized| {
            at_eom(
                Message {
                    opinion,
                    oversized,
                    may_refuse: true,
                },
                Unrecognised::Reject,
            )
        };
        assert_eq!(alone(Opinion::Ours, false), AtEom::Spool);
        assert_eq!(alone(Opinion::CannotTell, false), AtEom::Spool);
        assert_eq!(
            alone(Opinion::Ours, true),
            AtEom::Refuse(Rejection::TooLarge)
        );
        assert_eq!(
            alone(Opinion::Foreign, false),
            AtEom::Refuse(Rejection::ForeignDomain)
        );
        assert_eq!(
            alone(Opinion::FailureReportsOff, false),
            AtEom::Refuse(Rejection::FailureReportsOff)
        );
        assert_eq!(
            alone(Opinion::NotAReport, false),
            AtEom::Refuse(Rejection::NotAReport)
        );
    }

    #[test]
    fn unrecognised_mail_goes_where_the_operator_says() {
        let message = Message {
            opinion: Opinion::NotAReport,
            oversized: false,
            may_refuse: true,
        };
        assert_eq!(
            at_eom(message, Unrecognised::Park),
            AtEom::Park(Rejection::NotAReport)
        );
        assert_eq!(at_eom(message, Unrecognised::Deliver), AtEom::LeaveAlone);
    }
}
