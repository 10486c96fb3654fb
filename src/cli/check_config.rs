//! `check-config`: everything that `serve` does with the configuration, short of binding.

use std::{io::Write as _, path::Path, process::ExitCode, time::Duration};

use super::{load, runtime};
use crate::{
    config::Config,
    dns::{
        printable,
        record::{self, Parsed},
    },
    drift::{silence::LOOKED_BACK, webhook},
    intake::hook::Secrets,
    telemetry,
};

/// Of the notes about wanted records, as many are printed.
const NOTES: usize = 20;

/// Reads the configuration and says what it comes to.
pub fn run(path: &Path) -> anyhow::Result<ExitCode> {
    let config = load(path)?;
    config.hook.as_ref().map(Secrets::read).transpose()?;
    let webhook = config.webhook.as_ref();
    if let Some(path) = webhook.and_then(|webhook| webhook.secret_file.as_deref()) {
        webhook::secret(path)?;
    }
    telemetry::install_crypto();
    let runtime = runtime()?;
    let within = runtime.enter();
    telemetry::check(&config.metrics)?;
    drop(within);
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{}: ok, domains: {}",
        path.display(),
        config.domains.len()
    )?;
    if config.domains.is_empty() {
        writeln!(
            out,
            "note: no domain is configured, so that no report is taken"
        )?;
    }
    let silent = config
        .domains
        .iter()
        .filter(|entry| config.domains.addresses_of(*entry).is_empty())
        .count();
    if silent > 0 {
        writeln!(
            out,
            "note: {silent} of them have no address of their own and there is no \
             recipients.template: their reports come only with other addresses or by import"
        )?;
    }
    let learnt = Duration::from_secs(LOOKED_BACK.unsigned_abs());
    if config.dns.watch && config.retention.reports.is_some_and(|kept| kept < learnt) {
        writeln!(
            out,
            "note: retention.report_days is less than {}: who stops reporting may not be found, as \
             that is learnt from the reports of so many days",
            LOOKED_BACK / 86_400
        )?;
    }
    for note in wanted(&config).take(NOTES) {
        writeln!(out, "note: {note}")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What could be better in the records that are wanted. They are meant as they are, so the watch
/// does not find it amiss.
fn wanted(config: &Config) -> impl Iterator<Item = String> {
    config.domains.iter().flat_map(|entry| {
        let text = entry.details.wanted.as_deref().unwrap_or_default();
        let problems = match record::parse(text.as_bytes()) {
            Parsed::Dmarc(record) => record.problems,
            Parsed::NotDmarc => Vec::new(),
        };
        problems.into_iter().map(move |problem| {
            let better = match problem.better.as_deref() {
                None => String::new(),
                Some("") => "; better without it".to_owned(),
                Some(better) => format!("; better {}", printable(better.as_bytes())),
            };
            format!("{}: wanted: {problem}{better}", entry.name)
        })
    })
}
