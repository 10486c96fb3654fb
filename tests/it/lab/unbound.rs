//! A private validating resolver (Unbound) on a loopback port, in front of a private NSD.

use std::{
    fmt::Write as _,
    fs,
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
};

use super::{SOON, holds_within, nsd::free_address};

/// Unbound with a configuration of ours; ended when dropped.
pub struct Unbound {
    process: Child,
    address: SocketAddr,
    dir: tempfile::TempDir,
}

impl Unbound {
    /// Starts a resolver that asks each zone's server, validates below these DS records, and refuses
    /// whatever is below `refused.example`.
    pub fn start(zones: &[(&str, SocketAddr)], anchors: &[String]) -> Self {
        // Another process may take the port between our look and the server's.
        (0..5)
            .find_map(|_| Self::try_start(zones, anchors))
            .expect("Unbound starts within five tries")
    }

    fn try_start(zones: &[(&str, SocketAddr)], anchors: &[String]) -> Option<Self> {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let address = free_address();
        let file = dir.path().join("unbound.conf");
        fs::write(&file, conf(dir.path(), address, zones, anchors)).expect("a file");
        let process = Command::new("/usr/sbin/unbound")
            .args(["-d", "-p", "-c"])
            .arg(file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("Unbound is installed");
        let mut unbound = Self {
            process,
            address,
            dir,
        };
        let log = unbound.dir.path().join("log");
        let mut starts = false;
        holds_within(SOON, || {
            let ended = unbound.process.try_wait().expect("a child").is_some();
            let text = fs::read_to_string(&log).unwrap_or_default();
            starts = text.contains("start of service");
            ended || starts
        });
        starts.then_some(unbound)
    }

    /// Where it listens, over UDP and TCP.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Unbound {
    fn drop(&mut self) {
        // It has no children, and nothing to save.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn conf(
    dir: &Path,
    address: SocketAddr,
    zones: &[(&str, SocketAddr)],
    anchors: &[String],
) -> String {
    let dir = dir.display();
    let port = address.port();
    let mut conf = format!(
        "server:\n  interface: 127.0.0.1@{port}\n  directory: \"{dir}\"\n  chroot: \"\"\n  \
         username: \"\"\n  pidfile: \"\"\n  use-syslog: no\n  logfile: \"{dir}/log\"\n  \
         verbosity: 1\n  num-threads: 1\n  do-ip6: no\n  do-not-query-localhost: no\n  \
         module-config: \"validator iterator\"\n  local-zone: \"refused.example.\" refuse\n"
    );
    for anchor in anchors {
        let _ = writeln!(conf, "  trust-anchor: \"{anchor}\"");
    }
    for (zone, _) in zones {
        // Without this it answers names below `test` itself.
        let _ = writeln!(conf, "  local-zone: \"{zone}.\" nodefault");
    }
    conf += "remote-control:\n  control-enable: no\n";
    for (zone, server) in zones {
        let (ip, port) = (server.ip(), server.port());
        let _ = write!(
            conf,
            "stub-zone:\n  name: \"{zone}.\"\n  stub-addr: {ip}@{port}\n"
        );
    }
    conf
}
