//! The webhook, with the whole daemon around it.

use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

use crate::lab::{
    RUA, SOON,
    daemon::{Daemon, Settings},
    mails::Report,
    milter::{DISCARD, Milter},
    nsd::Nsd,
    open_dir, until,
};

#[test]
fn one_that_hangs_delays_neither_mail_nor_the_end() {
    // The record of example.com lacks our address, which is to be told.
    let record = "_dmarc TXT \"v=DMARC1; p=none; psd=n\"";
    let nsd = Nsd::start(&[("example.com", record)]);
    let hanging = TcpListener::bind("127.0.0.1:0").expect("a port");
    hanging.set_nonblocking(true).expect("a socket");
    let dir = open_dir();
    let address = format!("unix:{}/rua.sock", dir.path().display());
    let mut settings = Settings::new(&dir.path().join("data"));
    settings.listen = vec![address.clone()];
    settings.dns = format!(
        "servers = [\"{}\"]\n[webhook]\nurl = \"http://{}/hook\"\ntimeout_secs = 600",
        nsd.address(),
        hanging.local_addr().expect("bound")
    );
    let mut daemon = Daemon::start(&dir.path().join("rua-milter.toml"), &settings);
    let mut post = None;
    until("a post to the webhook", SOON, || {
        post = hanging.accept().ok();
        post.is_some()
    });

    let began = Instant::now();
    let mut session = Milter::dial(&address, "192.0.2.25").expect("the daemon");
    let mail = Report::new("hanging", "example.com", &[1]).google(RUA);
    assert_eq!(session.submit(RUA, &mail).expect("an answer"), DISCARD);
    drop(session);
    daemon.signal("TERM");
    assert!(daemon.wait().success());
    let took = began.elapsed();
    assert!(took < Duration::from_secs(20), "{took:?}");
    let log = daemon.log();
    assert!(log.contains("the webhook was not told"), "{log}");
    assert!(!log.contains("/hook"), "the URL may be a secret: {log}");
}
