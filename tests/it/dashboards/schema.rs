//! The form of the dashboards, by the types that Grafana publishes.

use std::fs;

use super::{DASHBOARDS, Names, file, packaged, stores::fetched};
use crate::lab::bounded;

/// What the compiler says of them; nothing if all are dashboards.
fn complaints(dashboards: &[String]) -> String {
    let folder = fetched("schema");
    let source = tempfile::Builder::new()
        .suffix(".ts")
        .tempfile_in(&folder)
        .expect("a file");
    let types = include_str!("dashboard.ts");
    let list = dashboards.join(", ");
    let text = format!("{types}\nexport const dashboards: Dashboard[] = [{list}];\n");
    fs::write(source.path(), text).expect("to write");
    let result = bounded("node")
        .arg(folder.join("node_modules/typescript/bin/tsc"))
        .args(["--noEmit", "--strict", "--skipLibCheck"])
        .args(["--module", "esnext", "--moduleResolution", "bundler"])
        .arg(source.path())
        .output()
        .expect("node");
    let said = String::from_utf8_lossy(&result.stdout).into_owned();
    assert_eq!(result.status.success(), said.is_empty(), "{result:?}");
    said
}

#[test]
#[ignore = "needs Grafana's types, which tests/run --long fetches"]
fn dashboards_are_what_grafana_s_types_allow() {
    let all = [Names::Page, Names::Otlp].into_iter().flat_map(|names| {
        let text = move |name| packaged(&file(name, names));
        DASHBOARDS.into_iter().map(text)
    });
    assert_eq!(complaints(&all.collect::<Vec<_>>()), "");
    let right = packaged(&file("overview", Names::Page));
    let mistakes = [
        (r#""drawStyle": "line""#, r#""drawStyle": "lines""#),
        (r#""showPoints""#, r#""showPoint""#),
        (r#""graphTooltip": 1"#, r#""graphTooltip": "1""#),
    ];
    let wrong = mistakes.map(|(word, mistake)| {
        assert!(right.contains(word), "{word}");
        right.replacen(word, mistake, 1)
    });
    let complaints = complaints(&wrong);
    let found = complaints.matches("error TS").count();
    assert_eq!(found, mistakes.len(), "{complaints}");
}
