//! Collectors as they are met: behind TLS, with a token, and those that are slow, broken or lie.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use rua_milter::{
    config::{Metrics, OtlpProtocol, OtlpTemporality},
    report::reporters::Reporters,
    telemetry::{self, Telemetry},
    terms::{Door, Verdict},
};

use crate::{
    lab::{Lab, RUA, SOON, daemon::Stored, free_port, mails::Report, page, until},
    otlp::Receiver,
};

const BOTH: [OtlpProtocol; 2] = [OtlpProtocol::Grpc, OtlpProtocol::HttpProtobuf];

fn endpoint(of: &Receiver, protocol: OtlpProtocol) -> String {
    match protocol {
        OtlpProtocol::Grpc => of.grpc.clone(),
        OtlpProtocol::HttpProtobuf => of.http.clone(),
    }
}

fn start(config: &Metrics) -> Telemetry {
    telemetry::install_crypto();
    let (domains, reporters) = (std::iter::empty(), Reporters::default());
    let telemetry = telemetry::start(config, "node-1", domains, &reporters, &Arc::default())
        .expect("it starts");
    let verdict = Verdict::Accepted;
    telemetry
        .instruments
        .mail(Door::Milter, "smtp", verdict, None, 1);
    telemetry
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_gzip_and_temporality_are_as_configured() {
    let dir = tempfile::tempdir().expect("a directory");
    let headers = dir.path().join("headers");
    fs::write(&headers, "Authorization: Bearer abc\n").expect("written");
    for protocol in BOTH {
        let collector = Receiver::start().await;
        let telemetry = start(&Metrics {
            otlp_endpoint: Some(endpoint(&collector, protocol)),
            otlp_protocol: Some(protocol),
            otlp_gzip: true,
            otlp_temporality: Some(OtlpTemporality::Delta),
            otlp_headers_file: Some(headers.clone()),
            ..Metrics::default()
        });
        telemetry.flush().await;
        let (said, temporality) = collector.last_request();
        let says = |name: &str| said.get(name).map(|value| value.to_str().expect("ASCII"));
        assert_eq!(says("authorization"), Some("Bearer abc"));
        let encoding = says("grpc-encoding").or(says("content-encoding"));
        assert_eq!(encoding, Some("gzip"), "{protocol:?}");
        // AGGREGATION_TEMPORALITY_DELTA
        assert_eq!(temporality, 1, "{protocol:?}");
        assert_eq!(collector.sum("rua.mails", &[]), Some(1.0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_variables_alone_set_token_gzip_and_temporality() {
    for (protocol, word) in BOTH.into_iter().zip(["grpc", "http/protobuf"]) {
        let collector = Receiver::start().await;
        let lab = Lab::with(|settings, _| {
            settings.env = [
                (
                    "OTEL_EXPORTER_OTLP_ENDPOINT",
                    &*endpoint(&collector, protocol),
                ),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", word),
                ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20abc"),
                ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
                ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta"),
                ("OTEL_METRIC_EXPORT_INTERVAL", "200"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        });
        let reply = lab.client().submit(&[RUA], &report(0));
        assert!(reply.starts_with("250"), "{reply}");
        collector
            .until(|got| got.sum("rua.mails", &[]).is_some())
            .await;
        let (said, temporality) = collector.last_request();
        assert_eq!(said.get("authorization").expect("there"), "Bearer abc");
        let encoding = said.get("grpc-encoding").or(said.get("content-encoding"));
        assert_eq!(encoding.expect("there"), "gzip", "{word}");
        assert_eq!(temporality, 1, "{word}");
    }
}

/// A certificate of its own authority for 127.0.0.1, in `dir`.
fn certificates(dir: &Path) {
    fs::write(dir.join("san"), "subjectAltName=IP:127.0.0.1\n").expect("written");
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2";
    for arguments in [
        format!("req -x509 {key} -subj /CN=authority -keyout ca.key -out ca.pem"),
        format!("req {key} -subj /CN=collector -keyout key.pem -out csr"),
        "x509 -req -in csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile san -out cert.pem"
            .to_owned(),
    ] {
        let made = Command::new("openssl")
            .args(arguments.split(' '))
            .current_dir(dir)
            .output()
            .expect("openssl, which Debian's postfix brings");
        assert!(made.status.success(), "{made:?}");
    }
}

/// Speaks TLS, and forwards what it hears.
struct Tls(Child, String);

impl Tls {
    fn start(dir: &Path, to: &str) -> Self {
        const FORWARD: &str = r#"
import asyncio, ssl, sys
async def copy(a, b):
    try:
        while data := await a.read(65536):
            b.write(data); await b.drain()
    except (ConnectionError, ssl.SSLError): pass
    finally: b.close()
async def serve(reader, writer):
    there = await asyncio.open_connection("127.0.0.1", int(sys.argv[1]))
    await asyncio.gather(copy(reader, there[1]), copy(there[0], writer))
async def main():
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain("cert.pem", "key.pem")
    tls.set_alpn_protocols(["h2", "http/1.1"] if sys.argv[2] == "h2" else ["http/1.1"])
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
"#;
        let port = to.rsplit(':').next().expect("a port");
        let alpn = if to.ends_with('/') { "" } else { "h2" };
        let mut program = Command::new("python3")
            .args(["-c", FORWARD, port.trim_end_matches('/'), alpn])
            .current_dir(dir)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("python3");
        let mut said = String::new();
        let mut out = BufReader::new(program.stdout.take().expect("piped"));
        out.read_line(&mut said).expect("its port");
        Self(program, format!("https://127.0.0.1:{}", said.trim()))
    }
}

impl Drop for Tls {
    fn drop(&mut self) {
        self.0.kill().expect("still running");
        self.0.wait().expect("ended");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_behind_tls_is_believed_with_its_authority_only() {
    let dir = tempfile::tempdir().expect("a directory");
    certificates(dir.path());
    for protocol in BOTH {
        let collector = Receiver::start().await;
        // The slash says that HTTP/1.1 is spoken there.
        let to = match protocol {
            OtlpProtocol::Grpc => collector.grpc.clone(),
            OtlpProtocol::HttpProtobuf => format!("{}/", collector.http),
        };
        let tls = Tls::start(dir.path(), &to);
        for (ca, expected) in [(None, None), (Some("ca.pem"), Some(1.0))] {
            let telemetry = start(&Metrics {
                otlp_endpoint: Some(tls.1.clone()),
                otlp_protocol: Some(protocol),
                otlp_ca_file: ca.map(|name| dir.path().join(name)),
                ..Metrics::default()
            });
            telemetry.flush().await;
            assert_eq!(collector.sum("rua.mails", &[]), expected, "{protocol:?}");
        }
    }
}

#[tokio::test]
async fn files_that_are_of_no_use_are_said_at_the_start() {
    let dir = tempfile::tempdir().expect("a directory");
    let empty = dir.path().join("empty.pem");
    fs::write(&empty, "no certificate").expect("written");
    let missing = dir.path().join("missing");
    let base = || Metrics {
        otlp_endpoint: Some("https://127.0.0.1:1".into()),
        ..Metrics::default()
    };
    for (config, expected) in [
        (
            Metrics {
                otlp_ca_file: Some(empty),
                ..base()
            },
            "empty.pem holds no certificate",
        ),
        (
            Metrics {
                otlp_ca_file: Some(missing.clone()),
                ..base()
            },
            "cannot read",
        ),
        (
            Metrics {
                otlp_headers_file: Some(missing),
                ..base()
            },
            "cannot read",
        ),
    ] {
        let error = telemetry::start(
            &config,
            "",
            std::iter::empty(),
            &Reporters::default(),
            &Arc::default(),
        )
        .expect_err("refused");
        assert!(error.to_string().contains(expected), "{error}");
    }
}

fn report(id: usize) -> Vec<u8> {
    Report::new(&format!("r{id}"), "example.com", &[1]).google(RUA)
}

/// What a bad collector does with a connection on which something came.
type Misdeed = fn(&mut TcpStream) -> std::io::Result<()>;

fn unavailable(to: &mut TcpStream) -> std::io::Result<()> {
    to.write_all(b"HTTP/1.1 503 No\r\nRetry-After: 86400\r\nContent-Length: 0\r\n\r\n")
}

fn redirects(to: &mut TcpStream) -> std::io::Result<()> {
    let at = to.local_addr()?;
    let head = format!("HTTP/1.1 307 There\r\nLocation: http://{at}/\r\nContent-Length: 0\r\n\r\n");
    to.write_all(head.as_bytes())
}

fn never_ends(to: &mut TcpStream) -> std::io::Result<()> {
    to.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n")?;
    loop {
        to.write_all(&[b'x'; 8_192])?;
    }
}

fn trickles(to: &mut TcpStream) -> std::io::Result<()> {
    to.write_all(b"HTTP/1.1 200 OK\r\n")?;
    to.set_read_timeout(Some(Duration::from_millis(50)))?;
    loop {
        // A line now and then, until the other end has gone.
        if matches!(to.read(&mut [0; 8_192]), Ok(0)) {
            return Ok(());
        }
        to.write_all(b"X: y\r\n")?;
    }
}

/// HTTP/2 (RFC 9113 section 4.1): settings, their acknowledgement, the head of an answer, no end.
fn no_trailers(to: &mut TcpStream) -> std::io::Result<()> {
    to.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0])?;
    let head = [&[0x88, 0x5f, 16][..], b"application/grpc"].concat();
    let length = u8::try_from(head.len()).expect("short");
    to.write_all(&[&[0, 0, length, 1, 4, 0, 0, 0, 1][..], &head].concat())?;
    // Open until the other end has gone.
    std::io::copy(to, &mut std::io::sink()).map(drop)
}

/// Listens, and does it to whoever comes, until the test ends.
fn bad_collector(misdeed: Misdeed) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut connection = connection;
                if matches!(connection.read(&mut [0; 8_192]), Ok(1..)) {
                    // The other end goes when it has had enough.
                    let _ = misdeed(&mut connection);
                }
            });
        }
    });
    format!("http://{at}")
}

/// Exports with this outcome, by the page.
fn exports(port: u16, outcome: &str) -> u64 {
    let start = format!("rua_otlp_exports_total{{outcome=\"{outcome}\"}} ");
    let page = page(port, "/metrics").1;
    let mut lines = page.lines();
    let count = lines.find_map(|line| line.strip_prefix(&*start));
    count.and_then(|count| count.parse().ok()).unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_collector_drops_of_an_export_that_it_takes_is_counted() {
    for (protocol, word) in BOTH.into_iter().zip(["grpc", "http/protobuf"]) {
        let collector = Receiver::start().await;
        let (_lab, port) = Lab::with_page(|settings| {
            let at = endpoint(&collector, protocol);
            let lines = [
                "otlp_endpoint = \"",
                &at,
                "\"\notlp_protocol = \"",
                word,
                "\"\n",
            ];
            settings.metrics += &lines.concat();
            settings.metrics += "otlp_interval_secs = 1\n";
        });
        until("an export is delivered", SOON, || {
            exports(port, "delivered") > 0
        });
        assert_eq!(exports(port, "partial"), 0, "{word}");
        collector.reject(3);
        until("a part is dropped", SOON, || exports(port, "partial") > 0);
        collector.reject(0);
        let before = exports(port, "delivered");
        until("all is taken again", SOON, || {
            exports(port, "delivered") > before
        });
        assert_eq!(exports(port, "failed"), 0, "{word}");
    }
}

#[test]
fn a_bad_collector_costs_its_exports_and_nothing_else() {
    let cases: [(&str, Misdeed); 5] = [
        ("http/protobuf", unavailable),
        ("http/protobuf", redirects),
        ("http/protobuf", never_ends),
        ("http/protobuf", trickles),
        ("grpc", no_trailers),
    ];
    for (at, (protocol, misdeed)) in cases.into_iter().enumerate() {
        let collector = bad_collector(misdeed);
        let port = free_port();
        let mut lab = Lab::with(|settings, _| {
            settings.metrics = format!(
                "prometheus = \"127.0.0.1:{port}\"\notlp_endpoint = \"{collector}\"\n\
                 otlp_protocol = \"{protocol}\"\notlp_interval_secs = 1\n"
            );
            let timeout = ("OTEL_EXPORTER_OTLP_TIMEOUT".into(), "300".into());
            settings.env.push(timeout);
        });
        let mut client = lab.client();
        for id in 0..10 {
            let reply = client.submit(&[RUA], &report(id));
            assert!(reply.starts_with("250"), "{reply}");
        }
        drop(client);
        let all = Stored {
            reports: 10,
            messages: 10,
        };
        lab.daemon.expect_stored("example.com", all);
        // The second shows that the first did not hold up the exports for ever.
        until(&format!("case {at}: two exports failed"), SOON, || {
            exports(port, "failed") >= 2
        });
        let began = Instant::now();
        lab.daemon.signal("TERM");
        assert!(lab.daemon.wait().success());
        let took = began.elapsed();
        assert!(took < Duration::from_secs(10), "case {at}: {took:?}");
    }
}
