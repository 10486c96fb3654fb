//! Servers that keep metrics and answer `PromQL`: Debian's Prometheus, which scrapes, and
//! `VictoriaMetrics`, which takes OTLP. On the loopback, below a temporary directory; ended when dropped.

use std::{
    fs,
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
};

use serde_json::Value;

use super::{SOON, free_port, open_dir, until};

/// A running one. Fields end in this order.
pub struct MetricStore {
    process: Child,
    port: u16,
    _dir: tempfile::TempDir,
}

impl MetricStore {
    /// Prometheus with this configuration; `files` are beside it.
    pub fn prometheus(config: &str, files: &[(&str, &str)]) -> Self {
        let (dir, port) = (open_dir(), free_port());
        let config_file = dir.path().join("prometheus.yml");
        fs::write(&config_file, config).expect("to write");
        for (name, text) in files {
            fs::write(dir.path().join(name), text).expect("to write");
        }
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", config_file.display()))
            .arg(format!("--storage.tsdb.path={}", dir.path().display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--log.level=warn");
        Self::start(command, port, dir)
    }

    /// The program of `VictoriaMetrics` at `path`, with more arguments.
    pub fn victoria(path: &Path, arguments: &[&str]) -> Self {
        let (dir, port) = (open_dir(), free_port());
        let mut command = Command::new(path);
        command
            .arg(format!("-storageDataPath={}", dir.path().display()))
            .arg(format!("-httpListenAddr=127.0.0.1:{port}"))
            // What came is to be seen at once.
            .args(["-search.latencyOffset=0s", "-loggerLevel=ERROR"])
            .args(arguments);
        Self::start(command, port, dir)
    }

    fn start(mut command: Command, port: u16, dir: tempfile::TempDir) -> Self {
        let process = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("a server for metrics");
        until("it listens", SOON, || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        Self {
            process,
            port,
            _dir: dir,
        }
    }

    /// Where it listens.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// What `PromQL` comes to now; an error if it is none.
    pub fn query(&self, expr: &str) -> Result<Vec<Value>, String> {
        let data = self.get("/api/v1/query", &[("query", expr)])?;
        let result = data["result"].as_array().cloned();
        result.ok_or_else(|| format!("{data}"))
    }

    /// The data of an answer of the HTTP API.
    pub fn get(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value, String> {
        let url = reqwest::Url::parse_with_params(&self.url(path), parameters).expect("a URL");
        let answer = reqwest::blocking::get(url).and_then(reqwest::blocking::Response::text);
        let text = answer.map_err(|error| error.to_string())?;
        let mut answer: Value = serde_json::from_str(&text).map_err(|_| text.clone())?;
        if answer["status"] == "success" {
            Ok(answer["data"].take())
        } else {
            Err(text)
        }
    }

    /// Waits until each of these comes to something; names where it stands are beside them. What is
    /// no expression fails at once.
    pub fn answers_all(&self, mut asked: Vec<(String, String)>) {
        until("it answers", SOON, || self.query("vector(1)").is_ok());
        let mut left = String::new();
        let mut answers = || {
            asked.retain(|(place, expr)| {
                let result = self.query(expr);
                let result = result.unwrap_or_else(|error| panic!("{place}: {expr}: {error}"));
                !result.iter().any(has_value)
            });
            left = format!("{asked:#?}");
            asked.is_empty()
        };
        let all = super::holds_within(SOON, &mut answers);
        assert!(all, "nothing comes of {left}");
    }
}

/// A quotient of nothing is no value.
fn has_value(series: &Value) -> bool {
    series["value"][1].as_str().is_some_and(|n| n != "NaN")
}

impl Drop for MetricStore {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
