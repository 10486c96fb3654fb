//! A report counts once, by whichever door and MX it comes and however often, before and after a
//! restart; and two different ones never hide each other.

use std::fmt::Write as _;

use rua_milter::terms::Outcome::{self, Duplicate, Revision, Stored};
use serde_json::Value;

use crate::lab::{
    RUA, SOON,
    daemon::{Daemon, Settings},
    free_port,
    mails::{self, Report},
    milter::{DISCARD, Milter},
    open_dir, until,
};

/// Two MXes share one daemon; each has its mail from another host of the reporter's.
const MX_1: Way = Way::Mx("192.0.2.25");
const MX_2: Way = Way::Mx("2001:db8::25");

/// How a mail comes.
#[derive(Clone, Copy)]
enum Way {
    /// By TCP, from this client.
    Mx(&'static str),
    Import,
}

/// What a mail is, beside one report that is the first of its key.
#[derive(Clone, Copy, Debug)]
enum Mail {
    Report,
    /// The same document in another mail.
    Rewrapped,
    OtherRange,
    OtherReporter,
    /// With the key of the first. Nothing shows which of the two is forged.
    OtherContent,
}

use Mail::{OtherContent, OtherRange, OtherReporter, Rewrapped};

/// Messages of the report, and of the other content under its key.
const MESSAGES: u64 = 3 + 4;
const OTHER_MESSAGES: u64 = 3 + 40;

impl Mail {
    fn about(self, domain: &str, id: &str) -> Vec<u8> {
        let report = Report::new(id, domain, &[3, 4]);
        let xml = report.xml();
        let xml = match self {
            Self::Report => xml,
            Self::Rewrapped => return report.google(RUA),
            Self::OtherRange => xml
                .replace("<begin>1699920000", "<begin>1700006400")
                .replace("<end>1700006399", "<end>1700092799"),
            Self::OtherReporter => xml.replace("<org_name>reporter", "<org_name>second"),
            Self::OtherContent => xml.replace("<count>4<", "<count>40<"),
        };
        mails::attached(RUA, &mails::gzip(xml.as_bytes()))
    }
}

struct Site {
    daemon: Daemon,
    address: String,
    dir: tempfile::TempDir,
}

impl Site {
    fn start(domains: &str) -> Self {
        let dir = open_dir();
        let address = format!("inet:127.0.0.1:{}", free_port());
        let mut settings = Settings::new(&dir.path().join("data"));
        settings.listen = vec![address.clone()];
        settings.domains += domains;
        settings.log = "level = \"warn\"".into();
        let daemon = Daemon::start(&dir.path().join("rua-milter.toml"), &settings);
        Self {
            daemon,
            address,
            dir,
        }
    }

    fn bring(&self, way: Way, mail: &[u8]) {
        match way {
            Way::Mx(client) => {
                let mut mx = Milter::dial(&self.address, client).expect("the daemon");
                assert_eq!(mx.submit(RUA, mail).expect("an answer"), DISCARD);
            }
            Way::Import => {
                let path = self.dir.path().join("mail.eml");
                std::fs::write(&path, mail).expect("to write");
                let output = self.daemon.run(&["import", path.to_str().expect("a path")]);
                assert_eq!(output.code, 0, "{output:?}");
            }
        }
    }

    fn settle(&self) {
        until("the spool is worked through", SOON, || {
            self.daemon.spool("new").is_empty()
        });
    }

    /// Reports, revisions and messages by domain.
    fn summary(&self) -> Vec<(String, [u64; 3])> {
        let json = self.daemon.run(&["summary", "--json"]).json();
        let count = |domain: &Value, key: &str| domain[key].as_u64().expect("a number");
        let domains = json["domains"].as_array().expect("domains").iter();
        let counts = domains.map(|domain| {
            let counts = ["reports", "revisions", "messages"].map(|key| count(domain, key));
            (
                domain["domain"].as_str().expect("a name").to_owned(),
                counts,
            )
        });
        counts.collect()
    }

    /// Outcome, door and client of every arrival, in order.
    fn arrivals(&self) -> Vec<(String, String, String)> {
        let store = self.daemon.data().join("reports.sqlite");
        let store = rusqlite::Connection::open(store).expect("the report store");
        let query =
            "SELECT outcome, door, coalesce(hex(client), '') FROM arrival ORDER BY spool_id";
        let mut statement = store.prepare(query).expect("the report store");
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
        rows.expect("rows").map(|row| row.expect("a row")).collect()
    }
}

/// What comes, and what it is taken for. Between two lists the daemon is killed and started again.
const STORY: &[&[(Way, &str, Mail, Outcome)]] = &[
    &[
        (MX_1, "id", Mail::Report, Stored),
        (MX_1, "id", Mail::Report, Duplicate),
        (MX_2, "id", Mail::Report, Duplicate),
        (Way::Import, "id", Mail::Report, Duplicate),
        (MX_2, "id", Rewrapped, Duplicate),
        (Way::Import, "id", OtherRange, Stored),
    ],
    &[
        (MX_2, "id", Mail::Report, Duplicate),
        (MX_1, "id", OtherRange, Duplicate),
        (MX_1, "id", OtherReporter, Stored),
        // Forged after real: the real one stays, whatever comes again.
        (MX_2, "id", OtherContent, Revision),
        (MX_1, "id", OtherContent, Duplicate),
        (Way::Import, "id", Rewrapped, Duplicate),
        // Forged before real: both are kept, and no more than one counts.
        (MX_1, "id-2", OtherContent, Stored),
        (MX_2, "id-2", Mail::Report, Revision),
    ],
    &[
        (Way::Import, "id-2", Mail::Report, Duplicate),
        (Way::Import, "id-2", OtherContent, Duplicate),
        (MX_1, "id", OtherReporter, Duplicate),
    ],
];

#[test]
fn a_report_counts_once_by_whichever_way_it_comes() {
    let mut site = Site::start("");
    let mut expected = Vec::new();
    for (run, mails) in STORY.iter().enumerate() {
        if run > 0 {
            site.daemon.kill();
            site.daemon.restart();
        }
        for &(way, id, mail, outcome) in *mails {
            site.bring(way, &mail.about("example.com", id));
            site.settle();
            let (door, client) = match way {
                Way::Mx("192.0.2.25") => ("milter", "C0000219"),
                Way::Mx(_) => ("milter", "20010DB8000000000000000000000025"),
                Way::Import => ("import", ""),
            };
            let arrival = [outcome.as_str(), door, client].map(str::to_owned);
            expected.push(arrival.into());
            assert_eq!(site.arrivals(), expected, "{mail:?}");
        }
    }
    // Of `id` the report, the other range and the other reporter; of `id-2` what came first.
    let counts = [4, 2, 3 * MESSAGES + OTHER_MESSAGES];
    assert_eq!(site.summary(), [("example.com".to_owned(), counts)]);
    assert_eq!(site.daemon.spool("parked"), [""; 0]);

    // Read again from the archive, it comes to the same.
    let before = site.daemon.run(&["reports", "--json"]).stdout;
    site.daemon.signal("TERM");
    assert!(site.daemon.wait().success());
    let replay = site.daemon.run(&["replay"]);
    assert_eq!(replay.code, 0, "{replay:?}");
    assert_eq!(site.summary(), [("example.com".to_owned(), counts)]);
    assert_eq!(site.daemon.run(&["reports", "--json"]).stdout, before);
}

#[test]
fn in_whichever_order_they_come_the_totals_are_equal() {
    let mails = [
        Mail::Report,
        Rewrapped,
        OtherRange,
        OtherReporter,
        OtherContent,
    ];
    let orders = permutations(&mails);
    let domain = |n: usize| format!("order-{n}.example");
    let mut domains = String::new();
    for n in 0..orders.len() {
        let _ = write!(domains, "[[domain]]\nname = \"{}\"\n", domain(n));
    }
    let site = Site::start(&domains);
    let mut mxs = ["192.0.2.25", "2001:db8::25"].map(|client| {
        let mx = Milter::dial(&site.address, client);
        mx.expect("the daemon")
    });
    for (n, order) in orders.iter().enumerate() {
        for (turn, mail) in order.iter().enumerate() {
            let mail = mail.about(&domain(n), "id");
            let answer = mxs[(n + turn) % 2].submit(RUA, &mail);
            assert_eq!(answer.expect("an answer"), DISCARD);
        }
    }
    site.settle();
    let summary = site.summary();
    assert_eq!(summary.len(), orders.len());
    for (n, order) in orders.iter().enumerate() {
        // Nobody can tell which of the two under one key is right: the first stays.
        let first = order
            .iter()
            .find(|mail| matches!(mail, Mail::Report | Rewrapped | OtherContent));
        let messages = match first {
            Some(OtherContent) => OTHER_MESSAGES,
            _ => MESSAGES,
        };
        let expected = (domain(n), [3, 1, messages + 2 * MESSAGES]);
        assert!(
            summary.contains(&expected),
            "{order:?}: {expected:?} of {summary:?}"
        );
    }
    assert_eq!(site.arrivals().len(), orders.len() * mails.len());
}

fn permutations(mails: &[Mail]) -> Vec<Vec<Mail>> {
    if mails.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for n in 0..mails.len() {
        let mut rest = mails.to_vec();
        let first = rest.remove(n);
        all.extend(permutations(&rest).into_iter().map(|mut order| {
            order.insert(0, first);
            order
        }));
    }
    all
}
