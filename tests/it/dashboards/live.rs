//! A real Prometheus that scrapes a running daemon: every panel shows something, and every alert
//! asks for series that are there.

use rua_milter::telemetry;
use serde_json::Value;

use super::{Names, is_in_name, packaged, queries, site::Site};
use crate::lab::{SOON, metric_store::MetricStore, until};

/// What is packaged, at the pace of a test.
fn prometheus(site: &Site) -> MetricStore {
    let scrape = packaged("prometheus/scrape.yml")
        .replace("scrape_interval: 1m", "scrape_interval: 1s")
        .replace("127.0.0.1:9525", &format!("127.0.0.1:{}", site.port));
    assert!(scrape.contains("interval: 1s") && scrape.contains(&site.port.to_string()));
    let rules = packaged("prometheus/rua-milter.rules.yml");
    assert!(rules.contains("interval: 15m"));
    let rules = rules.replace("interval: 15m", "interval: 1s");
    let config = format!(
        "global: {{ evaluation_interval: 1s, scrape_timeout: 1s }}\n\
         rule_files: [rules.yml]\n{scrape}"
    );
    MetricStore::prometheus(&config, &[("rules.yml", &rules)])
}

/// Words with the matchers behind them: names of series, and whatever else is a word.
fn selectors(expr: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = expr;
    while let Some(start) = rest.find(|c: char| c.is_ascii_alphabetic()) {
        rest = &rest[start..];
        let end = rest.find(|c| !is_in_name(c)).unwrap_or(rest.len());
        let (name, behind) = rest.split_at(end);
        rest = behind;
        let mut selector = name.to_owned();
        if rest.starts_with('{') {
            let end = rest.find('}').expect("an end") + 1;
            selector += &rest[..end];
            rest = &rest[end..];
        }
        found.push(selector);
    }
    found
}

#[test]
fn every_panel_and_every_alert_has_something_to_go_by() {
    telemetry::install_crypto();
    let mut site = Site::start("");
    site.take_mails(1);
    site.fill_up();
    let prometheus = prometheus(&site);
    let has = |expr: &str| prometheus.query(expr).is_ok_and(|found| !found.is_empty());
    until("it is scraped", SOON, || {
        has("dmarc_messages_total") && has("rua_mails_total{reason=\"no_room\"}")
    });
    site.turned_away();
    site.daemon.configure(site.daemon.settings());
    site.daemon.signal("HUP");
    until("there is room again", SOON, || {
        !site.turned_away().starts_with("y451")
    });
    site.take_mails(2);
    site.lose_dns();
    prometheus.answers_all(queries(Names::Page));

    until("every rule was evaluated", SOON, || {
        rules(&prometheus).iter().all(|rule| {
            assert_eq!(rule["lastError"].as_str().unwrap_or(""), "", "{rule}");
            rule["health"] == "ok"
        })
    });
    let mut asked = Vec::new();
    for rule in rules(&prometheus) {
        let expr = rule["query"].as_str().expect("a query");
        let series = selectors(expr).into_iter().filter(|name| {
            // Words of `PromQL` have no underscore, functions over time end so.
            name.starts_with("up{") || name.contains('_') && !name.ends_with("_over_time")
        });
        asked.extend(series.map(|series| (rule["name"].to_string(), series)));
    }
    assert!(asked.len() > 15, "{asked:?}");
    prometheus.answers_all(asked);
}

fn rules(of: &MetricStore) -> Vec<Value> {
    let all = of.get("/api/v1/rules", &[]).expect("rules");
    let groups = all["groups"].as_array().expect("groups").iter();
    groups
        .flat_map(|group| group["rules"].as_array().cloned().expect("rules"))
        .collect()
}
