//! The dashboards and alerts that operators get. The ones by the names of the Prometheus page are
//! written by hand; those by the names of OTLP are made of them here (`UPDATE_GOLDEN=1` writes them).

mod live;
mod schema;
mod site;
mod stores;

use std::{collections::BTreeSet, fmt::Write as _, fs, path::PathBuf, process::Command};

use rua_milter::telemetry::metrics::{self, Shape};
use serde_json::Value;

use crate::{lab::daemon, samples};

/// Every dashboard.
const DASHBOARDS: [&str; 3] = ["overview", "domain", "ingest"];

/// By whose names a dashboard asks; the folder that it is in.
#[derive(Clone, Copy)]
enum Names {
    Page,
    Otlp,
}

fn packaging(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/packaging")).join(name)
}

fn packaged(name: &str) -> String {
    fs::read_to_string(packaging(name)).expect("a packaged file")
}

fn file(dashboard: &str, names: Names) -> String {
    let folder = match names {
        Names::Page => "prometheus",
        Names::Otlp => "otlp",
    };
    format!("grafana/{folder}/{dashboard}.json")
}

fn json(dashboard: &str, names: Names) -> Value {
    serde_json::from_str(&packaged(&file(dashboard, names))).expect("JSON")
}

fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    let all = dashboard["panels"].as_array().expect("panels");
    all.iter().filter(|panel| panel["type"] != "row")
}

/// What Grafana asks of its data source, with values for its variables, and where that is shown.
fn queries(names: Names) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for name in DASHBOARDS {
        let dashboard = json(name, names);
        for panel in panels(&dashboard) {
            let title = panel["title"].as_str().expect("a title");
            for target in panel["targets"].as_array().expect("targets") {
                let expr = target["expr"].as_str().expect("an expression");
                all.push((format!("{name}: {title}"), filled(expr)));
            }
        }
        let variables = dashboard["templating"]["list"].as_array();
        for variable in variables.expect("variables") {
            if let Some(query) = variable["query"]["query"].as_str() {
                let series = query.strip_prefix("label_values(");
                let series = series.and_then(|query| query.rsplit_once(", "));
                all.push((
                    format!("{name}: variable"),
                    series.expect("labels").0.into(),
                ));
            }
        }
    }
    assert!(all.len() > 60, "{all:?}");
    all
}

fn filled(expr: &str) -> String {
    let expr = expr
        .replace("$__rate_interval", "5m")
        .replace("$__range", "1h")
        .replace("$domain", "example.com")
        .replace("$stage", "eom");
    assert!(!expr.contains('$'), "{expr}");
    expr
}

fn is_in_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == ':'
}

/// Words that are names of metrics, or look like it.
fn names(text: &str) -> impl Iterator<Item = &str> {
    let ours = ["rua_", "dmarc_", "tlsrpt_", "process_"];
    text.split(|c| !is_in_name(c))
        .filter(move |word| ours.iter().any(|start| word.starts_with(start)))
}

/// The name in OTLP of a series of the page; a store adds the parts of a histogram in its own way,
/// which is that of Prometheus.
fn otlp_name(shown: &str) -> Option<String> {
    metrics::ALL.iter().find_map(|what| {
        let behind = shown.strip_prefix(&*what.page_name())?;
        let parts: &[_] = match what.shape {
            Shape::Histogram(_) => &["_bucket", "_count", "_sum"],
            Shape::Counter | Shape::State(_) => &[""],
        };
        parts
            .contains(&behind)
            .then(|| format!("{}{behind}", what.name))
    })
}

/// A dashboard by the names of OTLP, which `PromQL` takes by `__name__` only.
fn by_otlp_names(page: &str) -> String {
    let mut text = String::new();
    let mut rest = page;
    while let Some(start) = rest.find(is_in_name) {
        let (before, from) = rest.split_at(start);
        let (word, behind) = from.split_at(from.find(|c| !is_in_name(c)).unwrap_or(from.len()));
        text += before;
        rest = behind;
        if let Some(name) = otlp_name(word) {
            let open = rest.strip_prefix('{');
            let end = if open.is_some() { ',' } else { '}' };
            rest = open.unwrap_or(rest);
            let _ = write!(text, r#"{{__name__=\"{name}\"{end}"#);
        } else {
            text += word;
        }
    }
    // Both may be in one Grafana.
    (text + rest)
        .replace(r#""uid": "rua-milter-"#, r#""uid": "rua-milter-otlp-"#)
        .replace("/d/rua-milter-", "/d/rua-milter-otlp-")
        .replace(r#""rua-milter""#, r#""rua-milter-otlp""#)
        .replace(
            r#""title": "rua-milter: "#,
            r#""title": "rua-milter by OTLP: "#,
        )
}

#[test]
fn dashboards_by_otlp_s_names_are_the_same_but_for_the_names() {
    for name in DASHBOARDS {
        let wanted = by_otlp_names(&packaged(&file(name, Names::Page)));
        let file = file(name, Names::Otlp);
        if samples::are_updated() {
            fs::write(packaging(&file), &wanted).expect("to write");
        }
        let same = packaged(&file) == wanted;
        assert!(same, "{file} is not made of the other; UPDATE_GOLDEN=1");
    }
}

#[test]
fn every_name_is_declared_and_every_instrument_is_shown() {
    let dashboards = DASHBOARDS.map(|name| packaged(&file(name, Names::Page)));
    let rules = ["rua-milter.rules.yml", "rua-milter.rules.test.yml"];
    let rules = rules.map(|name| packaged(&format!("prometheus/{name}")));
    let texts = dashboards.iter().chain(&rules);
    for name in texts.flat_map(|text| names(text)) {
        assert!(otlp_name(name).is_some(), "nothing is named {name}");
    }
    let shown: BTreeSet<_> = dashboards
        .iter()
        .flat_map(|text| names(text))
        .filter_map(otlp_name)
        .collect();
    for what in metrics::ALL {
        let is_shown = shown.iter().any(|name| name.starts_with(what.name));
        assert!(is_shown, "no panel shows {}", what.name);
    }
}

#[test]
fn panels_explain_themselves_and_have_room() {
    let mut uids = BTreeSet::new();
    for (name, names) in DASHBOARDS
        .iter()
        .flat_map(|name| [(name, Names::Page), (name, Names::Otlp)])
    {
        let dashboard = json(name, names);
        assert!(uids.insert(dashboard["uid"].to_string()), "{name}");
        let all = dashboard["panels"].as_array().expect("panels");
        let ids: BTreeSet<_> = all.iter().map(|panel| panel["id"].as_u64()).collect();
        assert_eq!(ids.len(), all.len(), "{name}: ids");
        let mut taken = BTreeSet::new();
        for panel in all {
            let at = |key: &str| panel["gridPos"][key].as_u64().expect("a place");
            assert!(at("x") + at("w") <= 24, "{name}: {panel}");
            for cell in at("x")..at("x") + at("w") {
                for line in at("y")..at("y") + at("h") {
                    assert!(taken.insert((cell, line)), "{name}: {panel} is on another");
                }
            }
        }
        for panel in panels(&dashboard) {
            let says = |text: &Value| text.as_str().is_some_and(|text| text.len() > 3);
            assert!(says(&panel["description"]), "{name}: {panel}");
            let unit = &panel["fieldConfig"]["defaults"]["unit"];
            assert!(unit.is_string(), "{name}: {panel}");
        }
    }
}

fn promtool(arguments: &[&str]) {
    let result = Command::new("promtool")
        .args(arguments)
        .current_dir(packaging("prometheus"))
        .output()
        .expect("promtool, of Debian's package prometheus");
    assert!(result.status.success(), "{arguments:?}: {result:?}");
}

#[test]
fn promtool_takes_the_rules_and_alerts_fire_when_they_should() {
    promtool(&["check", "rules", "rua-milter.rules.yml"]);
    promtool(&["check", "config", "scrape.yml"]);
    promtool(&["test", "rules", "rua-milter.rules.test.yml"]);
}

/// The rules without the line breaks of folded text.
fn rules() -> String {
    let text = packaged("prometheus/rua-milter.rules.yml");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn every_alert_has_a_case_and_says_what_to_do() {
    let (rules, cases) = (rules(), packaged("prometheus/rua-milter.rules.test.yml"));
    let alerts: Vec<_> = rules.split("- alert: ").skip(1).collect();
    assert!(alerts.len() > 8, "{alerts:?}");
    for alert in alerts {
        let name = alert.split(' ').next().expect("a name");
        assert!(cases.contains(&format!("alertname=\"{name}\"")), "{name}");
        for part in ["severity:", "summary:", "description:", "runbook:"] {
            assert_eq!(alert.matches(part).count(), 1, "{name}: {part}");
        }
    }
}

#[test]
fn what_runbooks_and_panels_tell_to_run_exists() {
    let mut texts = vec![rules()];
    texts.extend(DASHBOARDS.map(|name| packaged(&file(name, Names::Page))));
    let mut commands = BTreeSet::new();
    for text in &texts {
        for command in text.split("`rua-milter ").skip(1) {
            let (command, _) = command.split_once('`').expect("an end");
            commands.insert(command.to_owned());
        }
    }
    assert!(commands.len() > 8, "{commands:?}");
    for command in commands {
        let words: Vec<_> = command
            .split(' ')
            .filter(|word| !word.contains(char::is_uppercase))
            .collect();
        let help = daemon::run(&[&words[..], &["--help"]].concat(), b"");
        assert_eq!(help.code, 0, "{command}: {}", help.stderr);
        let option = words.iter().find(|word| word.starts_with("--"));
        assert!(option.is_none_or(|option| help.stdout.contains(option)));
    }
}
