//! A private authoritative DNS server (NSD) on a loopback port, and a port that never answers.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Whether signatures hold.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    Valid,
    Expired,
}

/// NSD with zones of ours; ended when dropped.
pub struct Nsd {
    process: Child,
    address: SocketAddr,
    dir: tempfile::TempDir,
}

impl Nsd {
    /// Starts a server for zones, given as name and lines behind SOA and NS; the first must have
    /// some, as it shows when the server answers. A zone without lines has no file: SERVFAIL.
    pub fn start(zones: &[(&str, &str)]) -> Self {
        // Another process may take the port between our look and the server's.
        (0..5)
            .find_map(|_| Self::try_start(zones))
            .expect("NSD starts within five tries")
    }

    fn try_start(zones: &[(&str, &str)]) -> Option<Self> {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let address = free_address();
        configure(dir.path(), address, zones);
        let process = Command::new("/usr/sbin/nsd")
            .arg("-d")
            .arg("-c")
            .arg(dir.path().join("nsd.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("NSD is installed");
        let mut nsd = Self {
            process,
            address,
            dir,
        };
        nsd.answers(zones[0].0).then_some(nsd)
    }

    /// Where it listens, over UDP and TCP.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Replaces a zone's lines; the server answers by them when this returns.
    pub fn change(&mut self, zone: &str, lines: &str) {
        let serial = self.serial(zone).expect("the zone is served");
        write_zone(self.dir.path(), zone, lines, serial + 1);
        self.reload(zone, serial + 1);
    }

    /// The same, signed by a new key; the DS record of that. The signatures of an expired zone were good
    /// in January 2020.
    pub fn sign(&mut self, zone: &str, lines: &str, validity: Validity) -> String {
        let serial = self.serial(zone).expect("the zone is served");
        write_zone(self.dir.path(), zone, lines, serial + 1);
        let run = |program: &str, args: &[&str]| {
            let mut command = Command::new(program);
            let output = command.args(args).current_dir(&self.dir).output();
            let output = output.expect("ldnsutils is installed");
            assert!(output.status.success(), "{program} {args:?}: {output:?}");
            String::from_utf8(output.stdout).expect("UTF-8")
        };
        let key = run("ldns-keygen", &["-a", "ECDSAP256SHA256", "-k", zone]);
        let file = format!("{zone}.zone");
        let mut args = vec!["-f", &file];
        if validity == Validity::Expired {
            args.extend(["-i", "20200101000000", "-e", "20200201000000"]);
        }
        args.extend([&*file, key.trim()]);
        run("ldns-signzone", &args);
        self.reload(zone, serial + 1);
        let ds = self.dir.path().join(format!("{}.ds", key.trim()));
        fs::read_to_string(ds).expect("a file").trim().to_owned()
    }

    /// Has the server read its zones again, and waits for that.
    fn reload(&mut self, zone: &str, serial: u32) {
        // The child is the server's first process; it reads the zones again.
        let pid = self.process.id().to_string();
        let sent = Command::new("kill").args(["-HUP", &pid]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -HUP {pid}");
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.serial(zone) != Some(serial) {
            assert!(Instant::now() < deadline, "NSD reads {zone} again");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the server answers; false if it ended.
    fn answers(&mut self, zone: &str) -> bool {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.serial(zone).is_none() {
            if self.process.try_wait().expect("a child").is_some() || Instant::now() > deadline {
                return false;
            }
            thread::sleep(Duration::from_millis(20));
        }
        true
    }

    /// The serial number of a zone as it is served.
    fn serial(&self, zone: &str) -> Option<u32> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
        socket
            .set_read_timeout(Some(Duration::from_millis(200)))
            .expect("a timeout");
        socket.send_to(&soa_query(zone), self.address).ok()?;
        let mut buffer = [0; 512];
        let length = socket.recv(&mut buffer).ok()?;
        let answer = &buffer[..length];
        // No error, and one answer at least: the SOA, whose data end in five numbers of which
        // the serial is the first. Records may follow, so it is looked for by what surrounds it.
        let found = answer[3] % 16 == 0 && answer[7] > 0;
        let tail = [300_u32, 300, 3_600, 60].map(u32::to_be_bytes).concat();
        let at = answer.windows(16).position(|window| window == tail)?;
        let serial = answer[at - 4..at].try_into().ok()?;
        found.then(|| u32::from_be_bytes(serial))
    }
}

impl Drop for Nsd {
    fn drop(&mut self) {
        // By TERM, on which the server ends its children.
        let pid = self.process.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &pid]).status();
        let deadline = Instant::now() + Duration::from_secs(5);
        while matches!(self.process.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                let _ = self.process.kill();
                let _ = self.process.wait();
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Writes configuration and zones to a folder.
pub fn configure(dir: &Path, address: SocketAddr, zones: &[(&str, &str)]) {
    let at = dir.display();
    let mut conf = format!(
        "server:\n  ip-address: 127.0.0.1@{}\n  username: \"\"\n  chroot: \"\"\n  \
         zonesdir: \"{at}\"\n  pidfile: \"{at}/nsd.pid\"\n  xfrdfile: \"{at}/xfrd.state\"\n  \
         zonelistfile: \"{at}/zone.list\"\n  logfile: \"{at}/nsd.log\"\n  database: \"\"\n  \
         xfrdir: \"{at}\"\n  server-count: 1\nremote-control:\n  control-enable: no\n",
        address.port()
    );
    for (zone, lines) in zones {
        conf.extend(["zone:\n  name: ", zone, "\n  zonefile: ", zone, ".zone\n"]);
        if !lines.is_empty() {
            write_zone(dir, zone, lines, 1);
        }
    }
    fs::write(dir.join("nsd.conf"), conf).expect("a file");
}

fn write_zone(dir: &Path, zone: &str, lines: &str, serial: u32) {
    let text = format!(
        "$ORIGIN {zone}.\n$TTL 300\n@ SOA ns hostmaster {serial} 300 300 3600 60\n@ NS ns\n\
         ns A 127.0.0.1\n{lines}\n"
    );
    fs::write(dir.join(format!("{zone}.zone")), text).expect("a file");
}

/// A port that is free over UDP and TCP.
pub fn free_address() -> SocketAddr {
    (0..100)
        .find_map(|_| {
            let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
            let address = tcp.local_addr().ok()?;
            UdpSocket::bind(address).ok().map(|_| address)
        })
        .expect("a free port")
}

fn soa_query(zone: &str) -> Vec<u8> {
    let mut query = vec![0x12, 0x34, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in zone.split('.') {
        query.push(u8::try_from(label.len()).expect("a label"));
        query.extend(label.as_bytes());
    }
    query.extend([0, 0, 6, 0, 1]);
    query
}

/// A server that takes questions and never answers.
pub fn black_hole() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    let address = socket.local_addr().expect("an address");
    (socket, address)
}
