//! The configuration, typed and complete: every key has its value, every address and every
//! record has been read. [`mod@file`] makes it from the operator's TOML.

pub mod address;
mod dns;
pub mod domains;
pub mod file;
mod hook;
pub mod lists;
mod metrics;
pub mod rate;
mod raw;
mod reporters;
mod secret;
mod webhook;

use std::{
    io::ErrorKind,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{dns::psl::SuffixList, limits, unpack::Bounds};
use domains::DomainList;
use rate::Rate;

/// Everything an operator can say.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `data_dir`: where the spool, the report store and the archive are.
    pub data_dir: PathBuf,
    /// `node`: the name of this host in records of arrivals; the host name by default.
    pub node: String,
    /// `[[listen]]`: where the MTA finds us.
    pub listen: Vec<Listen>,
    /// `[milter]`.
    pub milter: Milter,
    /// `[hook]`, if it listens.
    pub hook: Option<Hook>,
    /// The addresses and domains that are ours.
    pub domains: DomainList,
    /// `privacy.redact`: whether local parts are taken out of what failure reports tell.
    pub redact: bool,
    /// `[retention]`.
    pub retention: Retention,
    /// `[limits]`.
    pub limits: Limits,
    /// `[rate]`.
    pub rate: Rate,
    /// `[log]`.
    pub log: Log,
    /// `[metrics]`.
    pub metrics: Metrics,
    /// `[dns]`.
    pub dns: Dns,
    /// `[reporters]`.
    pub reporters: Reporters,
    /// `[webhook]`, if it has a URL.
    pub webhook: Option<Webhook>,
}

/// One `[[listen]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// `name`: what log and metrics call it.
    pub name: String,
    /// `address`.
    pub address: ListenAddress,
    /// `peer`: whose habits to expect.
    pub peer: Peer,
}

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// `unix:/path`, with `mode` and `group` of the socket file.
    Unix {
        /// The socket file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// Its group, by name.
        group: Option<String>,
    },
    /// `inet:127.0.0.1:8891` or `inet:[::1]:8891`.
    Tcp(SocketAddr),
}

impl std::fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix { path, .. } => write!(f, "unix:{}", path.display()),
            Self::Tcp(address) => write!(f, "inet:{address}"),
        }
    }
}

/// `peer`: the MTA at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Postfix or Sendmail.
    Mta,
    /// Stalwart, which takes accept for continue.
    Stalwart {
        /// `rcpt_stage`: whether it asks about each recipient, and hears what is refused. At its
        /// stage `data` alone a refused recipient takes the message with it.
        rcpt_stage: bool,
    },
}

/// `[hook]`: where Stalwart's MTA hook finds us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// `listen`, with `mode` and `group` of a unix socket.
    pub address: ListenAddress,
    /// `basic_file`: holds `user:password`.
    pub basic_file: Option<PathBuf>,
    /// `bearer_file`: holds a token.
    pub bearer_file: Option<PathBuf>,
}

/// `[milter]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Milter {
    /// `max_connections`, per listener.
    pub max_connections: usize,
    /// `after`: what becomes of a mail that is safe in the spool.
    pub after: After,
    /// `unrecognised`: what becomes of a mail in which nothing can be a report.
    pub unrecognised: Unrecognised,
}

/// `milter.after`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// Our recipients are taken out of the message; alone, the message is discarded.
    Discard,
    /// The message is left alone and delivered as the MTA would.
    Deliver,
}

/// `milter.unrecognised`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unrecognised {
    /// 550.
    Reject,
    /// Taken and parked.
    Park,
    /// Left to the MTA.
    Deliver,
}

/// `[limits]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `max_message_bytes`.
    pub max_message: usize,
    /// `max_spool_bytes`.
    pub max_spool: u64,
    /// `min_free_bytes`: of the disk under `data_dir`.
    pub min_free: u64,
    /// `max_inflated_bytes`, of one mail.
    pub max_inflated: u64,
    /// `max_records`, of one report.
    pub max_records: u64,
    /// `max_documents`, of one mail.
    pub max_documents: usize,
}

impl Limits {
    /// What reading one mail may cost.
    pub fn bounds(&self) -> Bounds {
        Bounds {
            inflated: self.max_inflated,
            inflated_total: self.max_inflated,
            documents: self.max_documents,
            // Whatever a mail holds is shorter than the mail.
            held: self.max_message.max(limits::MAX_MESSAGE),
            ..Bounds::default()
        }
    }
}

/// `[retention]`: how long what is kept; `None`: for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// `report_days`: aggregate and TLS reports with their rows.
    pub reports: Option<Duration>,
    /// `archive_days`: raw mails of stored reports.
    pub archive: Option<Duration>,
    /// `failure_days`: failure reports.
    pub failures: Duration,
    /// `arrival_days`: which mail came when and how.
    pub arrivals: Option<Duration>,
    /// `dns_days`: what was published, and closed findings.
    pub dns: Option<Duration>,
    /// `parked_days`: parked mail.
    pub parked: Option<Duration>,
}

/// `[log]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    /// `target`.
    pub target: LogTarget,
    /// `format`, on stderr.
    pub format: LogFormat,
    /// `level`.
    pub level: tracing::Level,
}

/// `log.target`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogTarget {
    /// Standard error.
    Stderr,
    /// The systemd journal.
    Journald,
}

/// `log.format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One readable line.
    Text,
    /// One JSON object a line.
    Json,
}

/// `[metrics]`. A key that is `None` leaves the choice to the OTEL_* variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metrics {
    /// `max_domains`: configured domains that metrics name.
    pub max_domains: usize,
    /// `prometheus`: where `/metrics`, `/livez` and `/readyz` are served.
    pub prometheus: Option<SocketAddr>,
    /// `otlp_endpoint`: the collector's base URL.
    pub otlp_endpoint: Option<String>,
    /// `otlp_protocol`.
    pub otlp_protocol: Option<OtlpProtocol>,
    /// `otlp_interval_secs`.
    pub otlp_interval: Option<Duration>,
    /// `otlp_compression = "gzip"`.
    pub otlp_gzip: bool,
    /// `otlp_temporality`.
    pub otlp_temporality: Option<OtlpTemporality>,
    /// `otlp_ca_file`: whom to trust instead of the system's authorities, PEM.
    pub otlp_ca_file: Option<PathBuf>,
    /// `otlp_headers_file`: header fields that go along, `Name: value` each line.
    pub otlp_headers_file: Option<PathBuf>,
}

/// `metrics.otlp_temporality`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtlpTemporality {
    /// `cumulative`: since the start.
    Cumulative,
    /// `delta`: since the last export.
    Delta,
    /// `lowmemory`: delta for what is counted and measured, cumulative for what is observed.
    LowMemory,
}

/// `metrics.otlp_protocol`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtlpProtocol {
    /// `grpc`.
    Grpc,
    /// `http/protobuf`.
    HttpProtobuf,
}

/// `[dns]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dns {
    /// `watch`: whether to look published records up at all.
    pub watch: bool,
    /// `servers`; empty: those of `/etc/resolv.conf`.
    pub servers: Vec<SocketAddr>,
    /// `public_suffix_list`; `None`: the distribution's, if there is one.
    pub public_suffix_list: Option<PathBuf>,
    /// `timeout_secs` of one query.
    pub timeout: Duration,
    /// `interval_secs` between two looks at a domain, at most.
    pub interval: Duration,
    /// `propagation_secs`: for so long after a change, or for the TTL if that is longer, reporters
    /// may see what was published before.
    pub propagation: Duration,
    /// `queries_per_second`.
    pub queries_per_second: u32,
}

/// Where distributions put the Public Suffix List.
const SUFFIX_LIST: &str = "/usr/share/publicsuffix/public_suffix_list.dat";

impl Dns {
    /// Reads the Public Suffix List. `None`: the distribution has none, which is no fault.
    pub fn suffix_list(&self) -> std::io::Result<Option<SuffixList>> {
        let path = self.public_suffix_list.as_deref();
        match std::fs::read_to_string(path.unwrap_or(Path::new(SUFFIX_LIST))) {
            Ok(text) => Ok(Some(SuffixList::parse(&text))),
            Err(error) if path.is_none() && error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// `[reporters]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reporters {
    /// `known`: those that are known by name, the large ones included.
    pub known: crate::report::reporters::Reporters,
    /// `silent_days` without a report; `None`: what is learnt.
    pub silent_after: Option<Duration>,
}

/// `[webhook]`: who is told when a finding opens or closes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// `url`.
    pub url: reqwest::Url,
    /// `secret_header`: the field in which the secret goes.
    pub secret_header: String,
    /// `secret_file`: holds it; read at each post.
    pub secret_file: Option<PathBuf>,
    /// `timeout_secs` of one post.
    pub timeout: Duration,
    /// `retries` of a post that failed.
    pub retries: u32,
}

impl Default for Listen {
    fn default() -> Self {
        let address = ListenAddress::Unix {
            path: "/run/rua-milter/rua.sock".into(),
            mode: 0o660,
            group: None,
        };
        Self {
            name: "milter".into(),
            address,
            peer: Peer::Mta,
        }
    }
}

impl Default for Milter {
    fn default() -> Self {
        Self {
            max_connections: limits::MAX_CONNECTIONS,
            after: After::Discard,
            unrecognised: Unrecognised::Reject,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_message: limits::MAX_MESSAGE,
            max_spool: limits::MAX_SPOOL,
            min_free: limits::MIN_FREE,
            max_inflated: limits::MAX_INFLATED,
            max_records: limits::MAX_RECORDS,
            max_documents: limits::MAX_DOCUMENTS,
        }
    }
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            reports: Some(limits::REPORT_RETENTION),
            archive: Some(limits::MAIL_RETENTION),
            failures: limits::FAILURE_RETENTION,
            arrivals: Some(limits::MAIL_RETENTION),
            dns: Some(limits::REPORT_RETENTION),
            parked: Some(limits::MAIL_RETENTION),
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self {
            target: LogTarget::Stderr,
            format: LogFormat::Text,
            level: tracing::Level::INFO,
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            max_domains: limits::METRIC_DOMAINS,
            prometheus: None,
            otlp_endpoint: None,
            otlp_protocol: None,
            otlp_interval: None,
            otlp_gzip: false,
            otlp_temporality: None,
            otlp_ca_file: None,
            otlp_headers_file: None,
        }
    }
}

impl Default for Dns {
    fn default() -> Self {
        Self {
            watch: true,
            servers: Vec::new(),
            public_suffix_list: None,
            timeout: Duration::from_secs(5),
            interval: Duration::from_hours(1),
            propagation: Duration::from_hours(48),
            queries_per_second: limits::DNS_QUERIES,
        }
    }
}
