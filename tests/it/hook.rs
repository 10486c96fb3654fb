//! Stalwart's MTA hook, as Stalwart asks it: what it hears at each stage and for each mix of
//! recipients, and what is stored.

use std::{fs, os::unix::fs::PermissionsExt, thread};

use serde_json::{Value, json};

use crate::lab::{
    RUA, RUA_ORG, SOON, USER,
    daemon::{Daemon, Settings, Stored},
    free_port,
    hook::{self, Hook},
    mails::{self, Report},
    open_dir, replies, until,
};

mod hostile;

const NOBODY: &str = "nobody@reports.example";

/// A daemon with a hook. Fields end in this order.
struct Site {
    daemon: Daemon,
    hook: Hook,
    port: u16,
    dir: tempfile::TempDir,
}

impl Site {
    fn start() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let (dir, port) = (open_dir(), free_port());
        let mut settings = Settings::new(&dir.path().join("data"));
        settings.listen = vec![format!("unix:{}", dir.path().join("rua.sock").display())];
        settings.hook = format!("listen = \"127.0.0.1:{port}\"");
        change(&mut settings);
        let daemon = Daemon::start(&dir.path().join("rua-milter.toml"), &settings);
        Self {
            daemon,
            hook: Hook::at(port),
            port,
            dir,
        }
    }

    fn expect(&self, reports: u64) {
        let all = Stored {
            reports,
            messages: reports,
        };
        self.daemon.expect_stored("example.com", all);
    }
}

fn report(id: &str) -> Vec<u8> {
    Report::new(id, "example.com", &[1]).google(RUA)
}

fn foreign() -> Vec<u8> {
    Report::new("foreign", "foreign.example", &[5]).google(RUA)
}

fn accept() -> Value {
    json!({ "action": "accept", "modifications": [] })
}

/// That others get the message without these.
fn without(recipients: &[&str]) -> Value {
    let remove = |to| json!({ "type": "deleteRecipient", "value": to });
    let modifications: Vec<_> = recipients.iter().map(remove).collect();
    json!({ "action": "accept", "modifications": modifications })
}

/// What the sender hears, as Stalwart puts it together, and the action.
fn said(answer: &Value) -> (&str, String) {
    let response = &answer["response"];
    let text = |key: &str| response[key].as_str().expect("a text");
    assert_eq!(text("enhanced_status"), text("enhancedStatus"), "both");
    let status = response["status"].as_u64().expect("a number");
    let smtp = format!("{status} {} {}", text("enhanced_status"), text("message"));
    (answer["action"].as_str().expect("an action"), smtp)
}

fn is_discarded(answer: &Value) {
    assert_eq!(
        said(answer),
        ("discard", "250 2.0.0 Report received".into())
    );
}

fn is_rejected(answer: &Value, reply: &str) {
    assert_eq!(said(answer), ("reject", reply.into()));
}

#[test]
fn each_stage_before_the_message_has_its_answer() {
    let site = Site::start();
    for stage in ["connect", "ehlo", "auth", "mail"] {
        assert_eq!(site.hook.ask(&hook::stage(stage, &[])), accept(), "{stage}");
    }
    // The last one is in question, whoever was named before.
    let rcpt = |to: &[&str]| site.hook.ask(&hook::stage("rcpt", to));
    for to in [
        &[RUA][..],
        &[USER],
        &[NOBODY, RUA],
        &[NOBODY, USER],
        &[RUA, USER],
    ] {
        assert_eq!(rcpt(to), accept(), "{to:?}");
    }
    for to in [&[NOBODY][..], &[RUA, NOBODY], &[USER, RUA, NOBODY]] {
        is_rejected(&rcpt(to), replies::UNKNOWN);
    }
    let log = site.daemon.log();
    assert_eq!(log.matches("door=hook listener=hook").count(), 3, "{log}");
    assert!(site.daemon.spool("new").is_empty());
}

#[test]
fn each_mix_of_recipients_has_its_answer() {
    let site = Site::start();
    let submit = |to: &[&str], mail: &[u8]| site.hook.submit(to, mail);
    is_discarded(&submit(&[RUA], &report("one")));
    is_discarded(&submit(&[RUA, RUA_ORG, NOBODY], &report("two")));
    assert_eq!(submit(&[RUA, USER], &report("three")), without(&[RUA]));
    let three = [USER, RUA_ORG, NOBODY, RUA];
    assert_eq!(submit(&three, &report("four")), without(&[RUA_ORG, RUA]));
    assert_eq!(submit(&[USER], &mails::ordinary(USER)), accept());
    assert_eq!(submit(&[USER, NOBODY], &mails::ordinary(USER)), accept());
    // Stalwart's null sender, and a list that is empty.
    assert_eq!(submit(&[], &mails::ordinary(USER)), accept());
    is_rejected(&submit(&[NOBODY], &report("five")), replies::UNKNOWN);
    is_rejected(&submit(&[RUA], &foreign()), replies::FOREIGN);
    is_rejected(
        &submit(&[RUA], &mails::ordinary(RUA)),
        replies::NOT_A_REPORT,
    );
    // What nobody may be refused for is kept aside.
    assert_eq!(submit(&[RUA, USER], &foreign()), without(&[RUA]));
    site.expect(4);
    assert_eq!(site.daemon.spool("parked"), ["foreign_domain"]);
    assert_eq!(site.daemon.spooled("parked"), [foreign()], "byte for byte");
    let envelope = site.daemon.envelopes("parked").remove(0);
    for (key, value) in [
        ("door", json!("hook")),
        ("client", json!("192.0.2.25")),
        ("helo", json!("mx.reporter.example")),
        ("sender", json!("noreply@reporter.example")),
        ("queue_id", json!("2f1a7c")),
        ("recipients", json!([RUA])),
        ("others", json!(true)),
        ("lossy", json!(false)),
    ] {
        assert_eq!(envelope[key], value, "{key}");
    }
}

#[test]
fn what_the_operator_says_holds_for_the_hook_too() {
    let site = Site::with(|settings| {
        settings.milter = "after = \"deliver\"\nunrecognised = \"deliver\"".into();
    });
    assert_eq!(site.hook.submit(&[RUA], &report("one")), accept());
    assert_eq!(site.hook.submit(&[RUA], &mails::ordinary(RUA)), accept());
    site.expect(1);
}

#[test]
fn a_login_is_noted() {
    let site = Site::start();
    let mut request = hook::data(&[RUA, USER], &foreign());
    request["context"]["sasl"] = json!({ "login": "customer@example.com" });
    assert_eq!(site.hook.ask(&request), without(&[RUA]));
    let envelope = site.daemon.envelopes("parked").remove(0);
    assert_eq!(envelope["authenticated"], "customer@example.com");
}

#[test]
fn whatever_cannot_be_now_is_asked_to_come_again() {
    let site = Site::with(|settings| {
        settings.limits = format!("min_free_bytes = {}", 1_u64 << 60);
    });
    is_rejected(
        &site.hook.ask(&hook::stage("rcpt", &[RUA])),
        replies::NO_ROOM,
    );
    is_rejected(
        &site.hook.submit(&[RUA], &report("one")),
        replies::NOT_STORED,
    );
    assert_eq!(site.hook.submit(&[USER], &mails::ordinary(USER)), accept());

    let site = Site::with(|settings| settings.rate = "per_network = 2".into());
    let too_fast = "451 4.7.0 Too many reports, please try again later";
    // A recipient is asked about for free; a mail counts once, at its end.
    for _ in 0..10 {
        assert_eq!(site.hook.ask(&hook::stage("rcpt", &[RUA])), accept());
    }
    for id in ["one", "two"] {
        is_discarded(&site.hook.submit(&[RUA, RUA_ORG], &report(id)));
    }
    is_rejected(&site.hook.submit(&[RUA], &report("three")), too_fast);
    // No reason to hold up mail that others wait for.
    assert_eq!(
        site.hook.submit(&[RUA, USER], &report("three")),
        without(&[RUA])
    );
    site.expect(3);
}

#[test]
fn a_message_of_the_limit_is_taken_and_a_larger_one_is_not() {
    const LIMIT: usize = 65_536;
    let site = Site::with(|settings| {
        settings.limits = format!("min_free_bytes = 1048576\nmax_message_bytes = {LIMIT}");
    });
    let mut mail = report("one");
    mail.resize(LIMIT, b'\n');
    is_discarded(&site.hook.submit(&[RUA], &mail));
    mail.push(b'\n');
    is_rejected(&site.hook.submit(&[RUA], &mail), replies::TOO_LARGE);
    assert_eq!(site.hook.submit(&[RUA, USER], &mail), without(&[RUA]));
    site.expect(1);
    assert_eq!(site.daemon.spool("parked"), ["too_large"]);
    // As long as JSON can make it, and longer.
    let mut request = hook::data(&[RUA], &mail);
    request["message"]["contents"] = "\u{1}".repeat(LIMIT).into();
    is_rejected(&site.hook.ask(&request), replies::TOO_LARGE);
    request["message"]["contents"] = "\u{1}".repeat(4 * LIMIT).into();
    let (status, answer) = site.hook.post(request.to_string());
    assert_eq!(
        (status, &answer["error"]),
        (413, &json!("the request is too large"))
    );
    // Mail for others goes on, however long.
    request["envelope"]["to"] = json!([{ "address": USER }]);
    assert_eq!(site.hook.ask(&request), accept());
}

#[test]
fn lost_bytes_are_noted_where_there_may_be_some() {
    let site = Site::start();
    let mut plain = Report::new("plain", "example.com", &[1]).plain(RUA);
    let at = plain
        .windows(2)
        .position(|two| two == b"A ")
        .expect("a text");
    plain[at + 1] = 0xe9;
    is_discarded(&site.hook.submit(&[RUA], &plain));
    is_discarded(&site.hook.submit(&[RUA], &report("base64")));
    site.expect(2);
    let log = site.daemon.log();
    assert_eq!(log.matches("lossy=true").count(), 1, "{log}");
}

#[test]
fn two_hundred_posts_at_once_are_two_hundred_reports() {
    const POSTS: u64 = 200;
    let site = Site::start();
    thread::scope(|scope| {
        for n in 0..POSTS {
            let hook = &site.hook;
            scope.spawn(move || is_discarded(&hook.submit(&[RUA], &report(&n.to_string()))));
        }
    });
    site.expect(POSTS);
}

#[test]
fn who_knows_the_secret_comes_in_and_nobody_else() {
    let site = Site::with(|settings| {
        let dir = settings.data.parent().expect("the site's");
        fs::write(dir.join("basic"), "stalwart:secret\n").expect("to write");
        fs::write(dir.join("credential"), "token\n").expect("to write");
        // One beside the configuration, and one as systemd gives it.
        settings.hook += "\nbasic_file = \"basic\"\nbearer_file = \"bearer\"";
        let credentials = dir.join("credentials");
        fs::create_dir(&credentials).expect("a folder");
        fs::rename(dir.join("credential"), credentials.join("bearer")).expect("to move");
        let folder = credentials.display().to_string();
        settings.env.push(("CREDENTIALS_DIRECTORY".into(), folder));
    });
    let request = hook::stage("rcpt", &[RUA]).to_string();
    let status = |hook: &Hook| hook.post(request.clone()).0;
    assert_eq!(status(&site.hook), 401);
    assert_eq!(site.hook.get().0, 401);
    for wrong in [
        "Basic c3RhbHdhcnQ6d3Jvbmc=",
        "Bearer secret",
        "token",
        "Bearer ",
    ] {
        assert_eq!(status(&site.hook.with(wrong)), 401, "{wrong}");
    }
    let basic = site.hook.with("Basic c3RhbHdhcnQ6c2VjcmV0");
    assert_eq!(status(&basic), 200);
    assert_eq!(status(&site.hook.with("Bearer token")), 200);
    is_discarded(&basic.submit(&[RUA], &report("one")));
    site.expect(1);
    let log = site.daemon.log();
    assert!(
        log.contains("status=401") && !log.contains("token"),
        "{log}"
    );
}

#[test]
fn a_secret_that_cannot_be_read_is_told_before_the_start() {
    let dir = open_dir();
    let mut settings = Settings::new(&dir.path().join("data"));
    settings.hook = "listen = \"127.0.0.1:1\"\nbearer_file = \"missing\"".into();
    let daemon = Daemon::stopped(&dir.path().join("rua-milter.toml"), &settings);
    let output = daemon.run(&["check-config"]);
    assert_eq!(output.code, 2, "{output:?}");
    assert!(
        output.stderr.contains("cannot read the secret in"),
        "{output:?}"
    );
    // Who only reads need not know it.
    let output = daemon.run_with(&["import", "-"], &report("one"));
    assert_eq!(output.code, 0, "{output:?}");
}

#[test]
fn a_unix_socket_has_its_mode_and_takes_a_report() {
    use std::{
        io::{Read, Write},
        os::unix::net::UnixStream,
    };
    let site = Site::with(|settings| {
        let dir = settings.data.parent().expect("the site's");
        let socket = dir.join("hook.sock").display().to_string();
        settings.hook = format!("listen = \"unix:{socket}\"\nmode = \"0600\"");
    });
    let path = site.dir.path().join("hook.sock");
    let mode = fs::metadata(&path)
        .expect("the socket")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let request = hook::data(&[RUA], &report("one")).to_string();
    let mut stream = UnixStream::connect(&path).expect("the hook");
    let length = request.len();
    write!(
        stream,
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{request}"
    )
    .expect("to send");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert!(answer.contains("\"action\":\"discard\""), "{answer}");
    site.expect(1);
}

#[test]
fn what_has_begun_may_end_after_sigterm_and_what_has_not_comes_again() {
    use std::{
        io::{Read, Write},
        net::TcpStream,
    };
    let mut site = Site::start();
    let request = |id: &str| {
        // Longer than what is looked at before its end.
        let mail = [report(id), b"\r\n".repeat(100_000)].concat();
        hook::data(&[RUA], &mail).to_string()
    };
    let open = |request: &str, bytes: usize| {
        let mut stream = TcpStream::connect(("127.0.0.1", site.port)).expect("the hook");
        let length = request.len();
        let head = format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes()).expect("to send");
        stream
            .write_all(&request.as_bytes()[..bytes])
            .expect("to send");
        stream
    };
    let (one, two) = (request("one"), request("two"));
    let mut begun = open(&one, 200_000);
    let mut hardly = open(&two, 100);
    // Both have been heard by then.
    is_discarded(&site.hook.submit(&[RUA], &report("three")));
    site.daemon.signal("TERM");
    until("nobody is let in", SOON, || {
        TcpStream::connect(("127.0.0.1", site.port)).is_err()
    });
    let end = |stream: &mut TcpStream, rest: &str| {
        stream.write_all(rest.as_bytes()).expect("to send");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    };
    let answer = end(&mut hardly, &two[100..]);
    assert!(answer.contains("\"status\":451"), "{answer}");
    assert!(answer.contains("4.3.1"), "{answer}");
    let answer = end(&mut begun, &one[200_000..]);
    assert!(answer.contains("\"action\":\"discard\""), "{answer}");
    assert!(site.daemon.wait().success());
    assert!(!site.daemon.log().contains("did not end in time"));
    site.daemon.restart();
    site.expect(2);
}
