//! What lies beyond the machine: DNS servers, and the collector of metrics.

use std::io;

use tokio::net::TcpStream;

use super::{check::Check, listen::within};
use crate::{
    config::{Config, Metrics},
    dns::{Answer, lookup::Resolver},
    terms::DnsOutcome,
};

/// Looks one configured domain's record up, as the watch does.
pub async fn dns(config: &Config) -> Check {
    let first = config.domains.iter().map(|entry| entry.name).min();
    let Some(domain) = first.filter(|_| config.dns.watch) else {
        return Check::ok(
            "dns",
            "nothing is asked: dns.watch is false, or no domain is configured",
        );
    };
    let dns = &config.dns;
    match Resolver::new(&dns.servers, dns.timeout, dns.queries_per_second) {
        Ok(resolver) => {
            let name = format!("_dmarc.{domain}");
            judge_dns(&name, &resolver.txt(&name).await)
        }
        Err(error) => Check::problem("dns", error.to_string(), "set dns.servers"),
    }
}

fn judge_dns(name: &str, answer: &Answer) -> Check {
    match answer.outcome {
        DnsOutcome::Unknown => {
            let why = answer.detail.map_or("no answer", |why| why.as_str());
            Check::problem(
                "dns",
                format!("nothing is known of {name}: {why}"),
                "see whether the servers of dns.servers, or of /etc/resolv.conf, answer",
            )
        }
        outcome => Check::ok(
            "dns",
            format!("{name} was looked up ({outcome}); rua-milter drift judges it"),
        ),
    }
}

/// Connects to the collector; what it makes of metrics is seen there.
pub async fn collector(config: &Metrics) -> Check {
    let Some(url) = endpoint(config, |name| std::env::var(name).ok()) else {
        return Check::ok(
            "collector",
            "none is configured here; variables in /etc/default/rua-milter are the daemon's only",
        );
    };
    // Without its path, which may hold a token.
    let Some((host, port)) = host_and_port(&url) else {
        return Check::problem(
            "collector",
            "the endpoint is no URL with a host",
            "set metrics.otlp_endpoint to one such as http://127.0.0.1:4317",
        );
    };
    let there = within(TcpStream::connect((host.as_str(), port))).await;
    judge_collector(&format!("{host}:{port}"), there.map(drop))
}

fn endpoint(config: &Metrics, env: impl Fn(&str) -> Option<String>) -> Option<String> {
    let env = |name: &str| env(name).filter(|value| !value.is_empty());
    if env("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return None;
    }
    config
        .otlp_endpoint
        .clone()
        .or_else(|| env("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"))
        .or_else(|| env("OTEL_EXPORTER_OTLP_ENDPOINT"))
}

fn host_and_port(url: &str) -> Option<(String, u16)> {
    let url = reqwest::Url::parse(url).ok()?;
    // The brackets of an IPv6 address belong to the URL.
    let host = url.host_str()?.trim_matches(['[', ']']).to_owned();
    Some((host, url.port_or_known_default()?))
}

fn judge_collector(at: &str, there: io::Result<()>) -> Check {
    match there {
        Ok(()) => Check::ok(
            "collector",
            format!("the collector at {at} takes connections"),
        ),
        // Mail does not wait for it.
        Err(error) => Check::warning(
            "collector",
            format!("the collector at {at} cannot be reached ({error}): no metrics get there"),
            "see whether it runs and what lies between; mail does not wait for it",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terms::{DnsTrouble, Health};

    #[test]
    fn an_answer_of_any_kind_is_an_answer() {
        let state = |answer: Answer| judge_dns("_dmarc.example.com", &answer).state;
        assert_eq!(state(Answer::found(Vec::new(), 0)), Health::Ok);
        assert_eq!(state(Answer::absent(DnsOutcome::NxDomain, 0)), Health::Ok);
        assert_eq!(state(Answer::unknown(DnsTrouble::Timeout)), Health::Problem);
    }

    #[test]
    fn the_file_names_the_collector_before_the_environment() {
        let variable = |name: &str| {
            (name == "OTEL_EXPORTER_OTLP_ENDPOINT").then(|| "http://collector.example:4317".into())
        };
        let file = Metrics {
            otlp_endpoint: Some("https://[::1]/".into()),
            ..Metrics::default()
        };
        let at = |config: &Metrics, env: &dyn Fn(&str) -> Option<String>| {
            endpoint(config, env).and_then(|url| host_and_port(&url))
        };
        assert_eq!(at(&file, &variable), Some(("::1".into(), 443)));
        assert_eq!(
            at(&Metrics::default(), &variable),
            Some(("collector.example".into(), 4317))
        );
        assert_eq!(at(&Metrics::default(), &|_| None), None);
        let off = |name: &str| (name == "OTEL_SDK_DISABLED").then(|| "true".into());
        assert_eq!(at(&file, &off), None);
    }
}
