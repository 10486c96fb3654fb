//! What lies beyond the machine: DNS servers, and the collector of metrics.

use std::io;

use tokio::net::TcpStream;

use super::{check::Check, listen::within};
use crate::{
    config::{Config, Metrics},
    dns::{Answer, lookup::Resolver},
    limits,
    telemetry::Collector,
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

/// Sends the collector an export without metrics.
pub async fn collector(config: &Metrics) -> Check {
    let collector = match Collector::of(config, &|name| std::env::var(name).ok()) {
        Ok(Some(collector)) => collector,
        Ok(None) => {
            return Check::ok(
                "collector",
                "none is configured here; variables in /etc/default/rua-milter are the daemon's only",
            );
        }
        Err(error) => {
            return Check::problem(
                "collector",
                error.to_string(),
                "set OTEL_EXPORTER_OTLP_PROTOCOL to grpc or http/protobuf, or metrics.otlp_protocol",
            );
        }
    };
    // Without its path, which may hold a token.
    let url = collector.url().to_owned();
    let Some((host, port)) = host_and_port(&url) else {
        return Check::problem(
            "collector",
            "the endpoint is no URL with a host",
            "set metrics.otlp_endpoint to one such as http://127.0.0.1:4317",
        );
    };
    let at = format!("{host}:{port}");
    // The bound on the connection comes first: the exporter's errors do not say what was amiss.
    if let Err(error) = within(TcpStream::connect((host.as_str(), port))).await {
        return unreachable(&at, &error);
    }
    match collector.try_out(limits::DOCTOR_WAIT).await {
        Ok(()) => Check::ok("collector", format!("the collector at {at} takes metrics")),
        Err(error) => {
            let why = format!("{:#}", anyhow::Error::from(error));
            refusing(&at, &why.replace(&url, &at))
        }
    }
}

fn host_and_port(url: &str) -> Option<(String, u16)> {
    let url = reqwest::Url::parse(url).ok()?;
    // The brackets of an IPv6 address belong to the URL.
    let host = url.host_str()?.trim_matches(['[', ']']).to_owned();
    Some((host, url.port_or_known_default()?))
}

// Mail does not wait for the collector: neither is a problem.

fn unreachable(at: &str, error: &io::Error) -> Check {
    Check::warning(
        "collector",
        format!("the collector at {at} cannot be reached ({error}): no metrics get there"),
        "see whether it runs and what lies between; mail does not wait for it",
    )
}

fn refusing(at: &str, why: &str) -> Check {
    Check::warning(
        "collector",
        format!("the collector at {at} takes no metrics: {why}"),
        "see whether metrics.otlp_protocol, otlp_headers_file and otlp_ca_file are what it asks for",
    )
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
    fn a_collector_is_reached_by_host_and_port() {
        let at = |url| host_and_port(url);
        assert_eq!(at("https://[::1]/"), Some(("::1".into(), 443)));
        let path = "http://collector.example:4317/token";
        assert_eq!(at(path), Some(("collector.example".into(), 4317)));
        assert_eq!(at("collector"), None);
    }
}
