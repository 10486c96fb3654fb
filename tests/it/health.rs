//! `/livez` and `/readyz`, and the watchdog of systemd: who is to be restarted, and who is not.

use crate::lab::{Lab, RUA, SOON, free_port, mails::Report, nsd::black_hole, page, until};

fn until_well(port: u16) {
    until("all is well", SOON, || {
        page(port, "/readyz") == (200, "ok\n".into())
    });
}

fn until_degraded(port: u16, by: &str) {
    let degraded = (200, format!("degraded: {by}\n"));
    until("it is degraded", SOON, || page(port, "/readyz") == degraded);
    assert_eq!(page(port, "/livez"), (200, "ok\n".into()));
    let gauge = format!("rua_degraded{{part=\"{by}\"}} 1");
    assert!(page(port, "/metrics").1.contains(&gauge));
}

#[test]
fn health_is_whether_mail_can_be_made_durable() {
    let (lab, port) = Lab::with_page(|_| {});
    assert_eq!(page(port, "/readyz"), (200, "ok\n".into()));
    let spool = rusqlite::Connection::open(lab.daemon.data().join("spool.sqlite")).expect("spool");
    spool.busy_timeout(SOON).expect("a timeout");
    spool.execute_batch("BEGIN EXCLUSIVE").expect("the lock");
    until("it is ill", SOON, || page(port, "/readyz").0 == 503);
    assert!(page(port, "/readyz").1.contains("spool"));
    assert_eq!(page(port, "/metrics").0, 200, "that goes on");
    drop(spool);
    until("it is well again", SOON, || page(port, "/readyz").0 == 200);
}

/// The watchdog is fed by the doors and by the spool's writer, and a sick report store is nothing
/// to restart the program for.
#[test]
fn systemd_s_watchdog_is_fed_while_the_report_store_is_locked() {
    let (mut lab, _) = Lab::with_page(|settings| {
        settings
            .env
            .push(("WATCHDOG_USEC".into(), "1500000".into()));
    });
    let store = lab.daemon.data().join("reports.sqlite");
    until("there is a store", SOON, || store.exists());
    let store = rusqlite::Connection::open(store).expect("a store");
    store.busy_timeout(SOON).expect("a timeout");
    store.execute_batch("BEGIN EXCLUSIVE").expect("the lock");
    for _ in 0..4 {
        lab.daemon.hear("WATCHDOG=1");
    }
    assert!(!lab.daemon.log().contains("no sign of life"));
}

#[test]
fn a_locked_report_store_degrades_and_keeps_no_mail_out() {
    let (lab, port) = Lab::with_page(|_| {});
    assert_eq!(page(port, "/livez"), (200, "ok\n".into()));
    until_well(port);
    let locked = lab.daemon.block_store();
    let mail = Report::new("waits", "example.com", &[1]).google(RUA);
    let reply = lab.client().submit(&[RUA], &mail);
    assert!(reply.starts_with("250"), "{reply}");
    until_degraded(port, "store");
    let gauge = "rua_degraded{part=\"store\"} 1";
    assert!(page(port, "/metrics").1.contains(gauge));
    drop(locked);
    until_well(port);
}

#[test]
fn servers_that_never_answer_degrade() {
    let (_silent, server) = black_hole();
    let (_lab, port) = Lab::with_page(|settings| {
        settings.dns = format!("servers = [\"{server}\"]\ntimeout_secs = 1");
    });
    until_degraded(port, "dns");
}

#[test]
fn a_collector_that_is_away_degrades() {
    let (_lab, port) = Lab::with_page(|settings| {
        let away = free_port();
        settings.metrics += "otlp_interval_secs = 1\n";
        settings.metrics += &[
            "otlp_endpoint = \"http://127.0.0.1:",
            &away.to_string(),
            "\"\n",
        ]
        .concat();
    });
    until_degraded(port, "collector");
}

#[test]
fn who_shuts_down_is_alive_and_not_ready() {
    let (mut lab, port) = Lab::with_page(|_| {});
    let mut open = lab.client();
    open.mail();
    assert!(open.rcpt(RUA).starts_with("250"));
    assert!(open.command("DATA").starts_with("354"));
    lab.daemon.signal("TERM");
    until("it is not ready", SOON, || {
        page(port, "/readyz") == (503, "shutting down\n".into())
    });
    assert_eq!(page(port, "/livez"), (200, "ok\n".into()));
    drop(open);
    assert!(lab.daemon.wait().success());
}
