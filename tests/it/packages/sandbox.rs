//! Under the hardened unit everything works that is needed.

use std::fs;

use super::machine::{Beside, CONFIG, DOMAIN, SERVICE, installed, name_server, stored};
use crate::lab::{
    RUA, SOON,
    container::{Container, Debian},
    mails::Report,
    milter, open_dir, until,
};

/// Answers posts with 200, and writes what came to a file: its secret, then its body.
const RECEIVER: &str = "
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers['Content-Length'])).decode()
        with open(sys.argv[1], 'a') as file:
            print(self.headers['X-Webhook-Secret'], body, file=file)
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(('127.0.0.1', 8080), Handler).serve_forever()
";

/// What an operator may ask for, all at once.
const ALL: &str = "
[log]
target = \"journald\"
[metrics]
prometheus = \"127.0.0.1:9525\"
[dns]
servers = [\"127.0.0.1:5301\"]
[webhook]
url = \"http://127.0.0.1:8080/\"
secret_file = \"webhook-secret\"
";

#[test]
fn everything_that_is_needed_works() {
    let container = installed(Debian::Bookworm);
    let dir = open_dir();
    // Too long for a datagram: it comes by TCP.
    let long = format!("\"; x={}\" ", "y".repeat(230)).repeat(12);
    let record = format!("_dmarc TXT \"v=DMARC1; p=none\" {long}");
    let _dns = name_server(&container, dir.path(), 5301, &[("example.com", &record)]);
    let posts = dir.path().join("posts");
    let receiver = ["python3", "-c", RECEIVER, posts.to_str().expect("UTF-8")];
    let _receiver = Beside(container.begin_in_network(&receiver));
    // A secret that only root can read, as rua-milter(8) tells.
    container.put("/etc/rua-milter.secret", "open sesame");
    container.sh("chmod 600 /etc/rua-milter.secret");
    container.put(
        "/etc/systemd/system/rua-milter.service.d/credentials.conf",
        "[Service]\nLoadCredential=webhook-secret:/etc/rua-milter.secret\n",
    );
    let listen = "unix:/var/spool/postfix/rua-milter/rua.sock";
    let text = format!("[[listen]]\naddress = \"{listen}\"\n{ALL}{DOMAIN}\n");
    fs::write(container.path(CONFIG), text).expect("to write");
    container.sh("systemctl daemon-reload && systemctl stop rua-milter
        systemctl enable --now rua-milter.socket rua-milter");
    container.expect_active(SERVICE);

    // Postfix's user comes to the socket, and nobody else.
    let socket = "/var/spool/postfix/rua-milter/rua.sock";
    let mode = container.sh(&format!("stat -c '%a %U:%G' {socket}"));
    assert_eq!(mode, "660 rua-milter:postfix\n");
    let perl =
        format!("perl -MIO::Socket::UNIX -e 'IO::Socket::UNIX->new(Peer => \"{socket}\") or die'");
    let by = |user| {
        let who = format!("setpriv --reuid={user} --regid={user} --clear-groups {perl}");
        container.run(&["sh", "-c", &who]).code
    };
    assert_eq!(by("postfix"), 0);
    assert_ne!(by("nobody --regid=nogroup"), 0);

    let mail = Report::new("spooled", "example.com", &[1]).google(RUA);
    let answer = milter::submit(&container.path(socket), RUA, &mail);
    assert_eq!(answer.as_deref(), Some(milter::DISCARD));
    until("it is stored", SOON, || stored(&container) == 1);
    let archived = container.sh("find /var/lib/rua-milter/archive -name '*.eml.gz'");
    assert_eq!(archived.lines().count(), 1, "{archived}");

    // The record lacks our address: a finding.
    until("the finding is posted", SOON, || {
        fs::read_to_string(&posts).is_ok_and(|text| text.contains("open sesame"))
    });
    let page = container.in_network(&["curl", "-sf", "http://127.0.0.1:9525/metrics"], b"");
    let found = "rua_dns_duration_seconds_count{outcome=\"found\"}";
    assert!(page.stdout.contains(found), "{}", page.stderr);
    let fields = container.sh("journalctl --quiet --unit=rua-milter --output=json");
    assert!(
        fields.contains("\"F_DOMAINS\""),
        "by journald's own protocol: {fields}"
    );

    container.sh(&format!(
        "sed -i 's/example.com/example.org/' {CONFIG} && systemctl reload rua-milter"
    ));
    until("it is reloaded", SOON, || {
        container
            .journal(SERVICE)
            .contains("configuration reloaded")
    });
    comes_back(&container);
}

/// When it is killed, and when it hangs.
fn comes_back(container: &Container) {
    let pid = || container.property(SERVICE, "MainPID");
    let killed = pid();
    container.sh("systemctl kill --signal=KILL rua-milter");
    until("it is there again", SOON, || {
        !["0", &killed].contains(&&*pid())
    });
    container.expect_active(SERVICE);

    container.put(
        "/etc/systemd/system/rua-milter.service.d/watchdog.conf",
        "[Service]\nWatchdogSec=3\n",
    );
    container.sh("systemctl daemon-reload && systemctl restart rua-milter");
    let hangs = pid();
    container.sh("systemctl kill --signal=STOP rua-milter");
    until("the watchdog ends it", SOON, || {
        !["0", &hangs].contains(&&*pid())
    });
    container.expect_active(SERVICE);
    assert_eq!(container.property(SERVICE, "Result"), "success");
}
