//! The two recommended deployments with the milter down: nothing is lost.

use super::{ONE, report};
use crate::lab::{
    Lab, RUA, SOON, USER, mails,
    postfix::{DEFERRING_SINK, Options},
    smtp, until,
};

/// reports.example as the manual recommends: no mailboxes, and a transport that leads nowhere.
fn recommended(options: &mut Options) {
    options.main_cf = format!(
        "relay_domains = other.example
virtual_mailbox_domains = reports.example
virtual_mailbox_maps = inline:{{ {{rua@reports.example=x}} }}
virtual_transport = {DEFERRING_SINK}
"
    );
}

#[test]
fn an_smtpd_of_its_own_asks_to_come_again() {
    let mut lab = Lab::with(|settings, options| {
        recommended(options);
        let socket = &settings.listen[0];
        options.milters = format!(
            "{{ {socket}, default_action=tempfail, connect_timeout=5s, command_timeout=30s, \
             content_timeout=120s }}"
        );
    });
    lab.daemon.kill();
    let mut client = lab.client();
    let reply = client.command("MAIL FROM:<a@reporter.example>");
    assert!(reply.starts_with("451"), "{reply}");
    drop(client);
    lab.daemon.restart();
    assert!(
        lab.client()
            .submit(&[RUA], &report().google(RUA))
            .starts_with("250")
    );
    lab.daemon.expect_stored("example.com", ONE);
    lab.settle();
}

#[test]
fn a_shared_smtpd_keeps_reports_for_import_and_delivers_the_rest() {
    let mut lab = Lab::with(|settings, options| {
        recommended(options);
        options.milters = format!("{{ {}, default_action=accept }}", settings.listen[0]);
    });
    lab.daemon.kill();
    let mail = report().google(RUA);
    assert!(
        lab.client()
            .submit(&[USER], &mails::ordinary(USER))
            .starts_with("250")
    );
    assert!(lab.client().submit(&[RUA, USER], &mail).starts_with("250"));
    until("the other has both", SOON, || {
        lab.sink.recipients() == [USER, USER]
    });
    let mut queue = Vec::new();
    until("ours waits alone", SOON, || {
        queue = lab.postfix.queue();
        queue.len() == 1 && queue[0].recipients == [RUA]
    });

    lab.daemon.restart();
    let kept = lab.postfix.postcat(&queue[0].id);
    let output = lab.daemon.run_with(&["import", "-"], &kept);
    assert_eq!(output.code, 0, "{output:?}");
    lab.postfix.remove(&queue[0].id);
    lab.daemon.expect_stored("example.com", ONE);
    lab.settle();

    // What comes after goes the short way, and the same report again counts nothing.
    assert!(lab.client().submit(&[RUA], &mail).starts_with("250"));
    lab.daemon.expect_stored("example.com", ONE);
    lab.settle();
}

#[test]
fn without_a_milter_at_its_end_the_message_comes_again() {
    let mut lab = Lab::start();
    let mut client = lab.client();
    client.mail();
    assert!(client.rcpt(RUA).starts_with("250"));
    lab.daemon.kill();
    let reply = client.command("DATA");
    let reply = if reply.starts_with("354") {
        client.send(&smtp::stuffed(&report().google(RUA)));
        client.reply()
    } else {
        reply
    };
    assert!(reply.starts_with("451"), "{reply}");
    lab.daemon.restart();
    assert!(
        lab.client()
            .submit(&[RUA], &report().google(RUA))
            .starts_with("250")
    );
    lab.daemon.expect_stored("example.com", ONE);
}
