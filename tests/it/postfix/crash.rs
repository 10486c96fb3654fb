//! Ends, wanted and unwanted: nothing is lost, nothing counts twice.

use super::{ONE, report};
use crate::lab::{
    Lab, RUA, SOON, USER,
    daemon::Stored,
    mails::{self, Report},
    replies, smtp, until,
};

#[test]
fn killed_between_250_and_the_store_it_stores_once() {
    let mut lab = Lab::start();
    let store = lab.daemon.block_store();
    let mail = report().google(RUA);
    assert!(lab.client().submit(&[RUA, USER], &mail).starts_with("250"));
    assert_eq!(
        lab.daemon.spool("new").len(),
        1,
        "durable before the answer"
    );
    lab.daemon.kill();
    assert_eq!(lab.daemon.spool("new").len(), 1);
    drop(store);
    lab.daemon.restart();
    lab.daemon.expect_stored("example.com", ONE);
    // The same once more, and the sender repeats it.
    lab.daemon.kill();
    lab.daemon.restart();
    assert!(lab.client().submit(&[RUA], &mail).starts_with("250"));
    lab.daemon.expect_stored("example.com", ONE);
    assert!(lab.daemon.spool("parked").is_empty());
}

#[test]
fn killed_between_the_store_and_the_spool_it_counts_once() {
    let mut lab = Lab::start();
    let store = lab.daemon.block_store();
    let mail = report().google(RUA);
    assert!(lab.client().submit(&[RUA], &mail).starts_with("250"));
    lab.daemon.kill();
    drop(store);
    // The entry as it was before it was worked through, put back after.
    let spool = lab.daemon.data().join("spool.sqlite");
    let before = lab.daemon.data().join("before.sqlite");
    let connection = rusqlite::Connection::open(&spool).expect("the spool");
    let copy = format!("VACUUM INTO '{}'", before.display());
    connection.execute_batch(&copy).expect("a copy");
    drop(connection);
    lab.daemon.restart();
    lab.daemon.expect_stored("example.com", ONE);
    lab.daemon.kill();
    for name in ["spool.sqlite-wal", "spool.sqlite-shm"] {
        let _ = std::fs::remove_file(lab.daemon.data().join(name));
    }
    std::fs::rename(before, spool).expect("to put back");
    lab.daemon.restart();
    lab.daemon.expect_stored("example.com", ONE);
    assert!(lab.daemon.spool("parked").is_empty());
}

#[test]
fn the_report_store_being_down_does_not_delay_mail() {
    let lab = Lab::start();
    let store = lab.daemon.block_store();
    let mut client = lab.client();
    for n in 0..20 {
        let mail = Report::new(&n.to_string(), "example.com", &[1]).google(RUA);
        assert!(client.submit(&[RUA], &mail).starts_with("250"));
    }
    assert_eq!(lab.daemon.spool("new").len(), 20);
    drop(store);
    let all = Stored {
        reports: 20,
        messages: 20,
    };
    lab.daemon.expect_stored("example.com", all);
}

#[test]
fn sigterm_lets_open_transactions_finish_and_starts_none() {
    let mut lab = Lab::start();
    let mut open = lab.client();
    let mut idle = lab.client();
    open.mail();
    assert!(open.rcpt(RUA).starts_with("250"));
    assert!(open.command("DATA").starts_with("354"));
    lab.daemon.signal("TERM");
    until("recipients of ours are asked to come again", SOON, || {
        idle.mail();
        let reply = idle.rcpt(RUA);
        if reply == replies::NO_ROOM {
            return true;
        }
        assert!(reply.starts_with("250"), "{reply}");
        assert!(idle.command("RSET").starts_with("250"));
        false
    });
    assert!(idle.rcpt(USER).starts_with("250"), "others go on");
    assert!(idle.data(&mails::ordinary(USER)).starts_with("250"));
    open.send(&smtp::stuffed(&report().google(RUA)));
    let reply = open.reply();
    assert!(reply.starts_with("250"), "{reply}");
    assert!(lab.daemon.wait().success());
    lab.daemon.restart();
    lab.daemon.expect_stored("example.com", ONE);
    until("the other has it", SOON, || lab.sink.recipients() == [USER]);
}

#[test]
fn sigterm_without_open_transactions_ends_at_once() {
    let mut lab = Lab::start();
    let mut client = lab.client();
    assert!(
        client
            .submit(&[RUA], &report().google(RUA))
            .starts_with("250")
    );
    lab.daemon.signal("TERM");
    let start = std::time::Instant::now();
    assert!(lab.daemon.wait().success());
    assert!(
        start.elapsed().as_secs() < 20,
        "the idle session is not waited for"
    );
    lab.daemon.restart();
    lab.daemon.expect_stored("example.com", ONE);
}

#[test]
fn sighup_takes_the_new_list_and_keeps_the_old_when_it_is_broken() {
    let lab = Lab::start();
    let answer = || {
        let mut client = lab.client();
        client.mail();
        client.rcpt("rua-net@reports.example")
    };
    assert_eq!(answer(), replies::UNKNOWN);
    let mut settings = lab.daemon.settings().clone();
    settings.domains += "[[domain]]\nname = \"example.net\"\nrua = [\"rua-net@reports.example\"]\n";
    lab.daemon.configure(&settings);
    lab.daemon.signal("HUP");
    until("the new address is ours", SOON, || {
        answer().starts_with("250")
    });
    let mail = Report::new("net", "example.net", &[8]).google(RUA);
    assert!(lab.client().submit(&[RUA], &mail).starts_with("250"));
    let net = Stored {
        reports: 1,
        messages: 8,
    };
    lab.daemon.expect_stored("example.net", net);

    settings.domains = "[[domain]]\nname = \"example.net\"\nsurname = \"x\"\n".into();
    lab.daemon.configure(&settings);
    lab.daemon.signal("HUP");
    until("the fault is named", SOON, || {
        lab.daemon.log().contains("surname")
    });
    assert!(answer().starts_with("250"), "the old list is in use");
    assert!(lab.daemon.is_running());
}

#[test]
fn sighup_takes_the_new_limits() {
    let lab = Lab::start();
    let mut client = lab.client();
    let part = |id: &str| Report::new(id, "example.com", &[1, 1]).xml();
    let mut settings = lab.daemon.settings().clone();
    let usual = settings.limits.clone();
    let mut parked = 0;
    for (limit, beyond) in [
        ("max_records = 1", true),
        ("max_documents = 1", true),
        ("max_inflated_bytes = 65536", true),
        ("", false),
    ] {
        let reloads = || lab.daemon.log().matches("configuration reloaded").count();
        let before = reloads();
        settings.limits = format!("{usual}\n{limit}");
        lab.daemon.configure(&settings);
        lab.daemon.signal("HUP");
        until("it is taken", SOON, || reloads() > before);
        // Two reports of two records, one of which is long.
        let long = " ".repeat(64 << 10);
        let xml = part(&format!("a{limit}")).replacen("<record>", &format!("{long}<record>"), 1);
        let zip = mails::zip("a.xml", xml.as_bytes());
        let other = part(&format!("b{limit}"));
        let attach = |file: &[u8]| {
            format!(
                "--b\r\nContent-Transfer-Encoding: base64\r\n\r\n{}\r\n",
                mails::base64(file)
            )
        };
        let mail = format!(
            "Subject: two\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n{}{}--b--\r\n",
            attach(&zip),
            attach(other.as_bytes())
        );
        let mail = mails::crlf(&mail.replace("\r\n", "\n"));
        assert!(client.submit(&[RUA], &mail).starts_with("250"), "{limit}");
        parked += usize::from(beyond);
        until("it is worked through", SOON, || {
            lab.daemon.spool("new").is_empty() && lab.daemon.spool("parked").len() == parked
        });
    }
    assert_eq!(lab.daemon.spool("parked"), ["too_large"; 3]);
    lab.daemon.expect_stored(
        "example.com",
        Stored {
            reports: 4,
            messages: 8,
        },
    );
}

#[test]
#[ignore = "waits for as long as a drain may take"]
fn sigterm_does_not_wait_for_ever() {
    let mut lab = Lab::start();
    let mut open = lab.client();
    open.mail();
    assert!(open.rcpt(RUA).starts_with("250"));
    assert!(open.command("DATA").starts_with("354"));
    lab.daemon.signal("TERM");
    assert!(lab.daemon.wait().success());
    open.send(&smtp::stuffed(&report().google(RUA)));
    let reply = open.reply();
    assert!(reply.starts_with("451"), "{reply}");
    lab.daemon.restart();
    let mut again = lab.client();
    assert!(
        again
            .submit(&[RUA], &report().google(RUA))
            .starts_with("250")
    );
    lab.daemon.expect_stored("example.com", ONE);
}
