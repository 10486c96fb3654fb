//! One mail for us and for others: ours are removed, the others get theirs as it was.

use super::{ONE, foreign, report};
use crate::lab::{Lab, RUA, RUA_ORG, SOON, USER, daemon::Stored, mails, replies, until};

/// The other recipient has received this very message, behind Postfix's own Received field.
fn assert_untouched(lab: &Lab, mail: &[u8]) {
    until("the other has it", SOON, || lab.sink.recipients() == [USER]);
    lab.settle();
    let received = lab.sink.received();
    let [only] = &received[..] else {
        panic!("{received:?}");
    };
    let added = only
        .data
        .strip_suffix(mail)
        .unwrap_or_else(|| panic!("not as it was:\n{}", String::from_utf8_lossy(&only.data)));
    let added = String::from_utf8_lossy(added);
    let names = added.lines().filter(|line| !line.starts_with(['\t', ' ']));
    assert!(
        names.into_iter().all(|line| line.starts_with("Received:")),
        "{added}"
    );
}

#[test]
fn the_others_get_theirs_and_ours_is_stored() {
    let lab = Lab::start();
    let mail = report().microsoft(RUA);
    assert!(
        lab.client()
            .submit(&[USER, RUA, RUA_ORG], &mail)
            .starts_with("250")
    );
    assert_untouched(&lab, &mail);
    lab.daemon.expect_stored("example.com", ONE);
}

#[test]
fn a_foreign_report_is_parked_while_the_others_get_theirs() {
    let lab = Lab::start();
    let mail = foreign().google(RUA);
    assert!(lab.client().submit(&[RUA, USER], &mail).starts_with("250"));
    assert_untouched(&lab, &mail);
    assert_eq!(lab.daemon.spool("parked"), ["foreign_domain"]);
    lab.daemon.expect_stored("foreign.example", Stored::NOTHING);
}

#[test]
fn what_is_no_report_is_parked_while_the_others_get_theirs() {
    let lab = Lab::start();
    let mail = mails::ordinary(RUA);
    assert!(lab.client().submit(&[RUA, USER], &mail).starts_with("250"));
    assert_untouched(&lab, &mail);
    assert_eq!(lab.daemon.spool("parked"), ["not_a_report"]);
}

#[test]
fn of_an_oversized_mail_the_head_is_parked_while_the_others_get_all() {
    let lab = Lab::with(|settings, _| settings.limits += "\nmax_message_bytes = 100000");
    let mail = mails::long(RUA, 4_000);
    assert!(lab.client().submit(&[RUA, USER], &mail).starts_with("250"));
    assert_untouched(&lab, &mail);
    assert_eq!(lab.daemon.spool("parked"), ["too_large"]);
    let kept = lab.daemon.spooled("parked").remove(0);
    // The head of the message: its headers and 64 KiB.
    assert!(kept.len() > 60_000 && kept.len() < 70_000, "{}", kept.len());
}

#[test]
fn what_is_no_report_is_delivered_to_all_if_so_configured() {
    let lab = Lab::with(|settings, _| settings.milter = "unrecognised = \"deliver\"".into());
    let mail = mails::ordinary(RUA);
    assert!(lab.client().submit(&[RUA, USER], &mail).starts_with("250"));
    until("both have it", SOON, || {
        lab.sink.recipients() == [RUA, USER]
    });
    assert!(lab.daemon.spool("parked").is_empty());
}

#[test]
fn an_unknown_address_at_our_host_does_not_hold_up_the_others() {
    let lab = Lab::start();
    let mail = mails::ordinary(USER);
    let mut client = lab.client();
    client.mail();
    assert!(client.rcpt(USER).starts_with("250"));
    assert_eq!(client.rcpt("nobody@reports.example"), replies::UNKNOWN);
    assert!(client.data(&mail).starts_with("250"));
    assert_untouched(&lab, &mail);
    assert!(lab.daemon.spool("parked").is_empty());
}

#[test]
fn ours_is_found_and_removed_in_every_spelling() {
    let lab = Lab::start();
    let mut client = lab.client();
    for spelling in [
        "<rua@reports.example>",
        "<rua+tag@reports.example>",
        "<RUA@REPORTS.EXAMPLE>",
        "<RuA@Reports.Example> NOTIFY=FAILURE ORCPT=rfc822;Orig@x.example",
        "<\"rua\"@reports.example>",
        "<\"rua+tag\"@reports.example>",
        "<@relay.example:rua@reports.example>",
        "<rua@reports.example.>",
        "rua@reports.example",
    ] {
        client.mail();
        assert!(client.rcpt(USER).starts_with("250"));
        let reply = client.command(&format!("RCPT TO:{spelling}"));
        assert!(reply.starts_with("250"), "{spelling}: {reply}");
        let reply = client.data(&report().google(RUA));
        assert!(reply.starts_with("250"), "{spelling}: {reply}");
    }
    until("the other has all", SOON, || lab.sink.received().len() == 9);
    lab.settle();
    assert_eq!(lab.sink.recipients(), [USER; 9]);
    lab.daemon.expect_stored("example.com", ONE);
}

#[test]
fn ours_named_several_times_is_removed_every_time() {
    let lab = Lab::start();
    let mail = report().google(RUA);
    let ours = [
        RUA,
        RUA,
        "RUA@reports.example",
        USER,
        "rua+x@reports.example",
    ];
    assert!(lab.client().submit(&ours, &mail).starts_with("250"));
    assert_untouched(&lab, &mail);
    lab.daemon.expect_stored("example.com", ONE);
}

#[test]
fn ours_is_removed_whatever_it_is_an_alias_of() {
    let lab = Lab::with(|_, options| {
        options.main_cf =
            "virtual_alias_maps = inline:{ {rua@reports.example=user2@other.example} }\n".into();
    });
    let mail = report().google(RUA);
    assert!(lab.client().submit(&[RUA, USER], &mail).starts_with("250"));
    assert_untouched(&lab, &mail);
    lab.daemon.expect_stored("example.com", ONE);
}
