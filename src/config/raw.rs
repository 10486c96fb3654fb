//! The configuration as it is written: every key, each where it stands, nothing checked yet.

use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Raw {
    pub data_dir: Option<PathBuf>,
    pub node: Option<String>,
    pub domain_files: Vec<PathBuf>,
    pub listen: Vec<RawListen>,
    pub milter: RawMilter,
    pub hook: RawHook,
    pub recipients: RawRecipients,
    pub domain: Vec<RawDomain>,
    pub privacy: RawPrivacy,
    pub retention: RawRetention,
    pub limits: RawLimits,
    pub rate: RawRate,
    pub log: RawLog,
    pub metrics: RawMetrics,
    pub dns: RawDns,
    pub reporters: RawReporters,
    pub webhook: RawWebhook,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawListen {
    pub address: Spanned<String>,
    pub name: Option<Spanned<String>>,
    pub mode: Option<Spanned<String>>,
    pub group: Option<String>,
    pub peer: Option<Spanned<String>>,
    pub rcpt_stage: Option<Spanned<bool>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawMilter {
    pub max_connections: Option<Spanned<i64>>,
    pub after: Option<Spanned<String>>,
    pub unrecognised: Option<Spanned<String>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawHook {
    pub listen: Option<Spanned<String>>,
    pub mode: Option<Spanned<String>>,
    pub group: Option<String>,
    pub basic_file: Option<PathBuf>,
    pub bearer_file: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawRecipients {
    pub hosts: Vec<Spanned<String>>,
    pub template: Option<Spanned<String>>,
    pub delimiter: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawDomain {
    pub name: Spanned<String>,
    #[serde(default)]
    pub rua: Vec<Spanned<String>>,
    #[serde(default)]
    pub tls: Vec<Spanned<String>>,
    #[serde(default)]
    pub ruf: Vec<Spanned<String>>,
    pub failure_reports: Option<bool>,
    pub wanted: Option<Spanned<String>>,
    pub policy: Option<Spanned<String>>,
    pub subdomains: Option<Spanned<String>>,
    pub alignment: Option<Spanned<String>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawPrivacy {
    pub redact: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::struct_field_names, reason = "keys carry their unit")]
pub struct RawRetention {
    pub report_days: Option<Spanned<i64>>,
    pub archive_days: Option<Spanned<i64>>,
    pub failure_days: Option<Spanned<i64>>,
    pub arrival_days: Option<Spanned<i64>>,
    pub dns_days: Option<Spanned<i64>>,
    pub parked_days: Option<Spanned<i64>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawLimits {
    pub max_message_bytes: Option<Spanned<i64>>,
    pub max_spool_bytes: Option<Spanned<i64>>,
    pub min_free_bytes: Option<Spanned<i64>>,
    pub max_inflated_bytes: Option<Spanned<i64>>,
    pub max_records: Option<Spanned<i64>>,
    pub max_documents: Option<Spanned<i64>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawRate {
    pub per_network: Option<Spanned<i64>>,
    pub overall: Option<Spanned<i64>>,
    pub relays: Vec<Spanned<String>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawLog {
    pub target: Option<Spanned<String>>,
    pub format: Option<Spanned<String>>,
    pub level: Option<Spanned<String>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawMetrics {
    pub max_domains: Option<Spanned<i64>>,
    pub prometheus: Option<Spanned<String>>,
    pub otlp_endpoint: Option<Spanned<String>>,
    pub otlp_protocol: Option<Spanned<String>>,
    pub otlp_interval_secs: Option<Spanned<i64>>,
    pub otlp_compression: Option<Spanned<String>>,
    pub otlp_temporality: Option<Spanned<String>>,
    pub otlp_ca_file: Option<PathBuf>,
    pub otlp_headers_file: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawDns {
    pub watch: Option<bool>,
    pub servers: Vec<Spanned<String>>,
    pub public_suffix_list: Option<Spanned<PathBuf>>,
    pub timeout_secs: Option<Spanned<i64>>,
    pub interval_secs: Option<Spanned<i64>>,
    pub propagation_secs: Option<Spanned<i64>>,
    pub queries_per_second: Option<Spanned<i64>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawReporters {
    pub known: Vec<Spanned<String>>,
    pub silent_days: Option<Spanned<i64>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawWebhook {
    pub url: Option<Spanned<String>>,
    pub secret_header: Option<Spanned<String>>,
    pub secret_file: Option<PathBuf>,
    pub timeout_secs: Option<Spanned<i64>>,
    pub retries: Option<Spanned<i64>>,
}
