//! A common room for the tests of the doors.

use std::{path::Path, sync::Arc};

use super::Intake;
use crate::{config::file, spool, telemetry::instruments::Instruments};

/// One domain, small limits.
const CONFIG: &str = r#"
    [recipients]
    hosts = ["reports.example"]
    [[domain]]
    name = "example.com"
    rua = ["rua@reports.example"]
    [limits]
    max_message_bytes = 65536
    max_spool_bytes = 1048576
    min_free_bytes = 0
"#;

pub(super) fn intake(dir: &Path) -> Intake {
    let path = dir.join("rua-milter.toml");
    std::fs::write(&path, CONFIG).unwrap();
    let config = file::load(&path).unwrap();
    let (spool, _writer) = spool::open(dir, config.limits, Arc::default()).unwrap();
    let (_, config) = tokio::sync::watch::channel(Arc::new(config));
    Intake::new(config, spool, Arc::new(Instruments::disconnected()))
}
