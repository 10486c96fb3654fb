//! What real servers answer, an authoritative one (NSD) and a validating resolver (Unbound), and what
//! we make of it.

use std::{
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use rua_milter::{
    dns::{Answer, lookup::Resolver, walk::Known},
    domain::Domain,
    drift::{look::look, published::Absence},
    terms::{DnsOutcome, DnsTrouble},
};

use tokio::task::{AbortHandle, JoinSet};

use crate::lab::{
    SOON,
    nsd::{Nsd, Validity, black_hole},
    unbound::Unbound,
};

const ZONE: &str = r#"
_dmarc.good     TXT "v=DMARC1; p=reject"
_dmarc.alias    CNAME _dmarc.good
_dmarc.dangling CNAME nowhere
_dmarc.loop     CNAME _dmarc.loop2
_dmarc.loop2    CNAME _dmarc.loop
_dmarc.nodata   A 127.0.0.1
*.wild          TXT "v=DMARC1; p=none"
_dmarc.short    1 TXT "v=DMARC1; p=none"
"#;

/// What does not fit into a datagram of 1,232 bytes, nor into any that a resolver asks for.
fn zone() -> String {
    let strings = format!("\"; x={}\" ", "y".repeat(230)).repeat(12);
    format!("{ZONE}_dmarc.large TXT \"v=DMARC1; p=none\" {strings}\n")
}

fn resolver(servers: &[SocketAddr]) -> Resolver {
    Resolver::new(servers, Duration::from_millis(500), 1_000).expect("a resolver")
}

/// What is the same by whichever server it is asked.
async fn the_usual_is_told(server: SocketAddr) {
    let resolver = resolver(&[server]);
    for (name, outcome, length) in [
        ("good", DnsOutcome::Found, 18),
        ("alias", DnsOutcome::Found, 18),
        ("a.wild", DnsOutcome::Found, 16),
        ("large", DnsOutcome::Found, 16 + 12 * 234),
        ("nodata", DnsOutcome::NoData, 0),
        ("missing", DnsOutcome::NxDomain, 0),
        ("dangling", DnsOutcome::NxDomain, 0),
        ("loop", DnsOutcome::Unknown, 0),
    ] {
        let answer = resolver.txt(&format!("_dmarc.{name}.test")).await;
        let texts = answer.texts.concat();
        assert_eq!((answer.outcome, texts.len()), (outcome, length), "{name}");
        assert!((0..=300).contains(&answer.ttl), "{answer:?}");
    }
    for (name, trouble) in [
        ("broken.example", DnsTrouble::ServFail),
        ("refused.example", DnsTrouble::Refused),
    ] {
        let answer = resolver.txt(&format!("_dmarc.{name}")).await;
        assert_eq!(answer, Answer::unknown(trouble), "{name}");
    }
}

#[tokio::test]
async fn the_server_of_a_zone_and_a_resolver_tell_the_same() {
    let nsd = Nsd::start(&[("test", &zone()), ("broken.example", "")]);
    the_usual_is_told(nsd.address()).await;
    let zones = ["test", "broken.example"].map(|zone| (zone, nsd.address()));
    let unbound = Unbound::start(&zones, &[]);
    the_usual_is_told(unbound.address()).await;
}

/// The end of a record that does not fit into a datagram can have come by TCP only.
#[test]
fn the_large_record_is_truncated_in_a_datagram() {
    let nsd = Nsd::start(&[("test", &zone())]);
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.set_read_timeout(Some(SOON)).expect("a timeout");
    let mut query = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    for label in ["_dmarc", "large", "test", ""] {
        query.push(u8::try_from(label.len()).expect("a label"));
        query.extend_from_slice(label.as_bytes());
    }
    // TXT, IN; and EDNS with more room than any resolver asks for.
    query.extend_from_slice(&[0, 16, 0, 1, 0, 0, 41, 0x10, 0, 0, 0, 0, 0, 0, 0]);
    socket.send_to(&query, nsd.address()).expect("sent");
    let mut answer = [0; 4_096];
    let length = socket.recv(&mut answer).expect("an answer");
    assert_eq!(answer[..2], [0, 7]);
    assert_eq!(answer[2] & 2, 2, "TC of {length} bytes");
}

#[tokio::test]
async fn an_expired_signature_says_nothing() {
    let lines = "_dmarc TXT \"v=DMARC1; p=reject\"";
    let mut nsd = Nsd::start(&[("signed.example", lines), ("expired.example", lines)]);
    let anchors = [
        nsd.sign("signed.example", lines, Validity::Valid),
        nsd.sign("expired.example", lines, Validity::Expired),
    ];
    let zones = ["signed.example", "expired.example"].map(|zone| (zone, nsd.address()));
    let unbound = Unbound::start(&zones, &anchors);
    let resolver = resolver(&[unbound.address()]);
    let signed = resolver.txt("_dmarc.signed.example").await;
    assert_eq!(signed.texts, [b"v=DMARC1; p=reject"]);
    let missing = resolver.txt("_dmarc.missing.signed.example").await;
    assert_eq!(missing.outcome, DnsOutcome::NxDomain);
    let servfail = Answer::unknown(DnsTrouble::ServFail);
    for name in ["_dmarc.expired.example", "_dmarc.missing.expired.example"] {
        assert_eq!(resolver.txt(name).await, servfail, "{name}");
    }
}

#[tokio::test]
async fn behind_a_resolver_a_zone_that_does_not_answer_is_unknown_in_time() {
    let (_silent, hole) = black_hole();
    let unbound = Unbound::start(&[("test", hole)], &[]);
    let began = Instant::now();
    let answer = resolver(&[unbound.address()]).txt("_dmarc.good.test").await;
    assert_eq!(answer, Answer::unknown(DnsTrouble::Timeout));
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn behind_a_resolver_a_change_is_seen_when_the_ttl_is_over() {
    let mut nsd = Nsd::start(&[("test", &zone())]);
    let unbound = Unbound::start(&[("test", nsd.address())], &[]);
    let resolver = resolver(&[unbound.address()]);
    for name in ["short", "good"] {
        let answer = resolver.txt(&format!("_dmarc.{name}.test")).await;
        assert_eq!(answer.outcome, DnsOutcome::Found, "{name}");
    }
    nsd.change("test", "_dmarc.short 1 TXT \"v=DMARC1; p=reject\"");
    let deadline = Instant::now() + SOON;
    while resolver.txt("_dmarc.short.test").await.texts != [b"v=DMARC1; p=reject"] {
        assert!(Instant::now() < deadline, "the change is seen");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // The resolver still has the other, and says for how long.
    let kept = resolver.txt("_dmarc.good.test").await;
    assert_eq!(kept.outcome, DnsOutcome::Found);
    assert!(kept.ttl < 300, "{kept:?}");
}

#[tokio::test]
async fn of_several_servers_one_that_answers_is_enough() {
    let (_silent, hole) = black_hole();
    let nsd = Nsd::start(&[("test", &zone())]);
    let resolver = resolver(&[hole, nsd.address()]);
    let answer = resolver.txt("_dmarc.good.test").await;
    assert_eq!(answer.outcome, DnsOutcome::Found);
}

#[tokio::test]
async fn queries_go_out_at_an_even_pace_and_once_for_what_is_common() {
    let nsd = Nsd::start(&[("test", &zone())]);
    let counted = Arc::new(AtomicU32::new(0));
    let count = counted.clone();
    let resolver = Resolver::new(&[nsd.address()], Duration::from_millis(500), 50)
        .expect("a resolver")
        .observed(Arc::new(move |_, _| {
            count.fetch_add(1, SeqCst);
        }));
    let began = Instant::now();
    let mut questions = JoinSet::new();
    for _ in 0..20 {
        let resolver = resolver.clone();
        questions.spawn(async move { resolver.txt("_dmarc.good.test").await });
    }
    questions.join_all().await;
    assert_eq!(counted.load(SeqCst), 20);
    // Nineteen steps of 20 ms; timers are exact to some.
    assert!(
        began.elapsed() >= Duration::from_millis(360),
        "{:?}",
        began.elapsed()
    );

    let name = Domain::parse("_dmarc.good.test").expect("a domain");
    let mut questions = JoinSet::new();
    for _ in 0..20 {
        let (resolver, name) = (resolver.clone(), name.clone());
        questions.spawn(async move { resolver.common_txt(&name).await });
    }
    let answers = questions.join_all().await;
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    assert_eq!(counted.load(SeqCst), 21);
}

/// A server that knows no name, and says nothing to some questions: those that hold these bytes.
async fn deaf_to(ignored: &'static [u8]) -> (SocketAddr, AbortHandle) {
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await;
    let socket = socket.expect("a socket");
    let address = socket.local_addr().expect("an address");
    let task = tokio::spawn(async move {
        let mut query = [0; 512];
        while let Ok((_, from)) = socket.recv_from(&mut query).await {
            // The question: labels, and behind an empty one type and class.
            let name = query[12..].iter().position(|byte| *byte == 0);
            let end = 12 + name.expect("a name") + 5;
            if query[12..end]
                .windows(ignored.len())
                .any(|it| it == ignored)
            {
                continue;
            }
            // NXDOMAIN, with the question and nothing else.
            query[2..12].copy_from_slice(&[0x84, 3, 0, 1, 0, 0, 0, 0, 0, 0]);
            let _ = socket.send_to(&query[..end], from).await;
        }
    });
    (address, task.abort_handle())
}

#[tokio::test]
async fn where_a_question_about_an_absence_stays_open_it_is_not_known() {
    let cname: &[u8] = &[0, 0, 5, 0, 1];
    for (ignored, expected) in [
        (&b"nothing"[..], Known::Yes(Absence::Plain)),
        (cname, Known::No),
        (b"\x06_dmarc\x06_dmarc", Known::No),
    ] {
        let (server, task) = deaf_to(ignored).await;
        let resolver = Resolver::new(&[server], Duration::from_millis(200), 1_000);
        let domain = Domain::parse("missing.test").expect("a domain");
        let seen = look(&resolver.expect("a resolver"), &domain).await;
        assert_eq!(seen.answer.outcome, DnsOutcome::NxDomain, "{ignored:?}");
        assert_eq!(seen.absence, expected, "{ignored:?}");
        task.abort();
    }
}
