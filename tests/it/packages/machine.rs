//! A machine on which the package is installed, as an operator would.

use std::{fs, path::Path, process::Child};

use crate::lab::{
    container::{Container, Debian},
    daemon::Output,
    nsd,
};

pub const SERVICE: &str = "rua-milter.service";
pub const CONFIG: &str = "/etc/rua-milter/rua-milter.toml";
/// What an operator writes at least.
pub const DOMAIN: &str = "[[domain]]\nname = \"example.com\"\nrua = [\"rua@reports.example\"]";

/// A fresh Debian, with the Debian package.
pub fn installed(debian: Debian) -> Container {
    let container = Container::boot(debian);
    install(&container, &super::package(".deb"));
    container
}

/// Installs or upgrades; nothing goes wrong on the way.
pub fn install(container: &Container, package: &Path) {
    let output = apply(container, package, "dpkg --install");
    assert_eq!(output.code, 0, "{output:?}");
    let told = output.stdout + &output.stderr;
    for word in ["warning", "rror", "ailed"] {
        assert!(!told.contains(word), "{told}");
    }
}

/// Has a command of the container's do something with a package.
pub fn apply(container: &Container, package: &Path, command: &str) -> Output {
    let name = package
        .file_name()
        .expect("a name")
        .to_str()
        .expect("UTF-8");
    let place = format!("/root/{name}");
    container.put(&place, fs::read(package).expect("a package"));
    container.run(&["sh", "-c", &format!("{command} {place}")])
}

/// Debian's Postfix as its package sets it up, with smtpd in its chroot.
pub fn start_postfix(container: &Container) {
    container.sh(
        "test -s /etc/postfix/main.cf || cp /usr/share/postfix/main.cf.debian /etc/postfix/main.cf
        postconf -e 'myhostname = mx.reports.example' 'inet_interfaces = loopback-only'
        test \"$(postconf -Fh smtp/inet/chroot)\" = y
        systemctl restart postfix",
    );
    container.until("timeout 5 bash -c 'read -r line </dev/tcp/127.0.0.1/25 && test \"$line\"'");
}

/// Lines of README.md that are to be pasted: those of its code blocks that call one of these.
pub fn pasted(programs: &[&str]) -> Vec<String> {
    let calls = |line: &&String| {
        programs
            .iter()
            .any(|program| line.starts_with(&format!("{program} ")))
    };
    blocks().concat().iter().filter(calls).cloned().collect()
}

/// The configuration that README.md shows.
pub fn shown_config() -> String {
    let config = blocks()
        .into_iter()
        .find(|lines| lines.iter().any(|line| line == "[[domain]]"));
    config.expect("a configuration in README.md").join("\n")
}

/// The code blocks of README.md: indented by four spaces, or between fences.
fn blocks() -> Vec<Vec<String>> {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let text = fs::read_to_string(readme).expect("README.md");
    let mut blocks = vec![Vec::new()];
    let mut fenced = false;
    for line in text.lines() {
        if line.starts_with("```") {
            fenced = !fenced;
            blocks.push(Vec::new());
        } else if fenced {
            blocks.last_mut().expect("one").push(line.to_owned());
        } else if let Some(code) = line.strip_prefix("    ") {
            blocks.last_mut().expect("one").push(code.to_owned());
        } else if !line.is_empty() {
            blocks.push(Vec::new());
        }
    }
    blocks
}

/// A name server for these zones in the container's network.
pub fn name_server(container: &Container, dir: &Path, port: u16, zones: &[(&str, &str)]) -> Beside {
    nsd::configure(dir, ([127, 0, 0, 1], port).into(), zones);
    let conf = dir.join("nsd.conf");
    let conf = conf.to_str().expect("UTF-8");
    Beside(container.begin_in_network(&["/usr/sbin/nsd", "-d", "-c", conf]))
}

/// Sends a mail to Postfix; what it said to the recipient and to the end.
pub fn send(container: &Container, mail: &[u8], recipient: &str) -> String {
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), mail).expect("to write");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/quickstart.d/send.py");
    let (script, file) = (
        script.to_str().expect("UTF-8"),
        file.path().to_str().expect("UTF-8"),
    );
    let output = container.in_network(&["python3", script, "25", file, recipient], b"");
    assert_eq!(output.code, 0, "{output:?}");
    output.stdout
}

/// How many reports the store has about example.com.
pub fn stored(container: &Container) -> u64 {
    let output = container.run(&["rua-milter", "summary", "example.com", "--json"]);
    output.json()["domains"][0]["reports"].as_u64().unwrap_or(0)
}

/// A process beside the container, ended when this is dropped.
pub struct Beside(pub Child);

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
