//! Hostile input, as the release build meets it: what becomes of it, and what it costs.
//!
//! The cases are numbered as the threat model numbers them, H01 to H72. Missing are those that
//! are about authenticating reporters (H49 to H60) and about the doors (H64, H65, H69 to H71);
//! H66 and H67 are failure reports and stand with those. Each case prints its memory and its time.

mod containers;
mod documents;
mod generated;
mod mails;
mod records;
mod streaming;
mod words;

use std::{fmt::Write as _, fs, path::Path, process::Command};

use serde_json::Value;

use crate::lab::{daemon::release, mails as lab};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// Resident memory that nothing may exceed.
const MOST_MIB: f64 = 48.0;
/// Seconds of CPU for what inflates to little, and for each MiB that it inflates to.
const SECONDS: f64 = 0.3;
const SECONDS_PER_MIB: f64 = 0.015;
/// Seconds that `import` may take besides for each MiB of mail, to spool it and to archive it.
const ARCHIVE_SECONDS_PER_MIB: f64 = 0.035;
/// Seconds of CPU that so many bytes of mail may cost, whatever they are.
const SHORT: (usize, f64) = (12 * KIB, 0.1);

/// The first second of every report here.
const BEGIN: u64 = 1_699_920_000;

/// A program that was run to its end.
struct Run {
    code: i32,
    stdout: String,
    stderr: String,
    peak_mib: f64,
    cpu_secs: f64,
}

/// Runs the program under one that asks the kernel what it took: `ru_maxrss` and CPU time.
fn run(args: &[&str]) -> Run {
    const MEASURE: &str = "import os, sys
pid = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ)
_, status, used = os.wait4(pid, 0)
with open(sys.argv[1], 'w') as out:
    print(os.waitstatus_to_exitcode(status), used.ru_maxrss, used.ru_utime + used.ru_stime, file=out)";
    let dir = tempfile::tempdir().unwrap();
    let figures = dir.path().join("figures");
    let output = Command::new("python3")
        .args(["-S", "-c", MEASURE])
        .arg(&figures)
        .arg(release())
        .args(args)
        .env_remove("RUST_LOG")
        .output()
        .unwrap();
    let figures = fs::read_to_string(figures).unwrap_or_default();
    let figures: Vec<f64> = figures
        .split(' ')
        .map(|n| n.trim().parse().unwrap())
        .collect();
    let [code, peak_kib, cpu_secs] = figures[..] else {
        panic!("{output:?}");
    };
    #[expect(clippy::cast_possible_truncation, reason = "an exit code")]
    Run {
        code: code as i32,
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
        peak_mib: peak_kib / 1_024.0,
        cpu_secs,
    }
}

impl Run {
    fn lines(&self) -> Vec<Value> {
        let lines = self.stdout.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// That it ended well and within its memory.
    fn check(&self, what: &str, most_mib: f64) {
        let Self {
            peak_mib, cpu_secs, ..
        } = self;
        println!("{what}: {peak_mib:.1} MiB, {cpu_secs:.3} s");
        assert!(
            matches!(self.code, 0 | 1) && !self.stderr.contains("panicked"),
            "{what}: {} {}",
            self.code,
            self.stderr
        );
        assert!(*peak_mib <= most_mib, "{what}: {peak_mib} MiB");
    }
}

/// Seconds of CPU that it may cost to keep a mail of `input` bytes.
fn archive_secs(input: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "far from it")]
    let mebibytes = input as f64 / MIB as f64;
    ARCHIVE_SECONDS_PER_MIB * mebibytes
}

/// Seconds of CPU that `input` bytes may cost which inflate to `inflated`.
fn most_secs(input: usize, inflated: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "far from it")]
    let most = SECONDS.max(SECONDS_PER_MIB * (inflated as f64 / MIB as f64));
    if input <= SHORT.0 {
        most.min(SHORT.1)
    } else {
        most
    }
}

/// What `inspect` makes of a mail or file: for each document its part with the number of records,
/// or with the reason for which there are none.
fn inspect(what: &str, input: &[u8]) -> Vec<String> {
    inspect_much(what, input, 0)
}

/// The same of what inflates to much.
fn inspect_much(what: &str, input: &[u8], inflated: usize) -> Vec<String> {
    shown(&facts(what, input, inflated))
}

/// Each line as `part records` or `part reason`.
fn shown(lines: &[Value]) -> Vec<String> {
    let text = |line: &Value| {
        let part = line["part"].as_str().unwrap();
        match line["error"].as_str() {
            Some(error) => format!("{part} {error}"),
            None => format!("{part} {}", line["records"]),
        }
    };
    lines.iter().map(text).collect()
}

/// All that `inspect` says.
fn facts(what: &str, input: &[u8], inflated: usize) -> Vec<Value> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("input");
    fs::write(&path, input).unwrap();
    let most = most_secs(input.len(), inflated);
    let path = path.to_str().unwrap();
    best_of_ten(what, most, || run(&["inspect", "--json", path])).lines()
}

/// Runs `import` of a mail that inflates to little, and gives its totals.
fn import(what: &str, input: &[u8]) -> Value {
    import_much(what, input, 0)
}

/// Runs `import` of a mail into an empty store of example.com, and gives its totals. It may cost
/// what reading may, and what it takes to keep the mail.
fn import_much(what: &str, input: &[u8], inflated: usize) -> Value {
    let most = most_secs(input.len(), inflated) + archive_secs(input.len());
    best_of_ten(&format!("{what}, import"), most, || {
        let dir = tempfile::tempdir().unwrap();
        let config = configure(dir.path(), "");
        let path = dir.path().join("input");
        fs::write(&path, input).unwrap();
        let path = path.to_str().unwrap();
        run(&["import", "--json", "--config", &config, path])
    })
    .lines()
    .remove(0)
}

/// Runs until it took no more than `most` seconds of CPU: whoever shares the processor takes of its
/// caches and of its clock, up to half, and the best of ten is the program's own.
fn best_of_ten(what: &str, most: f64, run: impl Fn() -> Run) -> Run {
    for _ in 0..10 {
        let run = run();
        run.check(what, MOST_MIB);
        if run.cpu_secs <= most {
            return run;
        }
    }
    panic!("{what}: more than {most:.2} s of CPU");
}

/// Writes a configuration with its data directory.
fn configure(dir: &Path, limits: &str) -> String {
    let data = dir.join("data");
    fs::create_dir(&data).unwrap();
    let mut settings = crate::lab::daemon::Settings::new(&data);
    let _ = write!(settings.limits, "\n{limits}");
    let config = dir.join("rua-milter.toml");
    fs::write(&config, settings.to_toml()).unwrap();
    config.to_str().unwrap().to_owned()
}

/// A report up to its first record.
fn head(id: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?>\n<feedback><report_metadata><org_name>reporter.example</org_name>\
         <email>a@reporter.example</email><report_id>{id}</report_id><date_range><begin>{BEGIN}\
         </begin><end>{}</end></date_range></report_metadata><policy_published>\
         <domain>example.com</domain><p>none</p></policy_published>",
        BEGIN + 86_399
    )
}

/// One record, such as a real reporter writes, about one message.
fn record() -> String {
    "<record><row><source_ip>192.0.2.1</source_ip><count>1</count><policy_evaluated>\
     <disposition>none</disposition><dkim>pass</dkim><spf>pass</spf></policy_evaluated></row>\
     <identifiers><header_from>example.com</header_from></identifiers><auth_results><dkim>\
     <domain>example.com</domain><selector>s1</selector><result>pass</result></dkim><spf>\
     <domain>example.com</domain><result>pass</result></spf></auth_results></record>\n"
        .to_owned()
}

const TAIL: &str = "</feedback>\n";

/// A whole report with so many records.
fn report(id: &str, records: usize) -> Vec<u8> {
    with(id, &record().repeat(records))
}

/// A whole report with this where its records are.
fn with(id: &str, records: &str) -> Vec<u8> {
    (head(id) + records + TAIL).into_bytes()
}

/// A report whose one record and head have been changed.
fn changed(from: &str, to: &str) -> Vec<u8> {
    let xml = String::from_utf8(report("changed", 1)).unwrap();
    assert!(xml.contains(from), "{from}");
    xml.replacen(from, to, 1).into_bytes()
}

/// A mail with one attachment.
fn mail(file: &[u8]) -> Vec<u8> {
    lab::attached("rua@reports.example", file)
}

/// A multipart mail of these parts, headers and all.
fn multipart(parts: &[String]) -> Vec<u8> {
    let mut mail = "Subject: x\r\nMIME-Version: 1.0\r\n\
                    Content-Type: multipart/mixed; boundary=\"=_b\"\r\n\r\n"
        .to_owned();
    for part in parts {
        let _ = write!(mail, "--=_b\r\n{part}\r\n");
    }
    (mail + "--=_b--\r\n").into_bytes()
}

/// A part with its content in base64.
fn part(fields: &str, content: &[u8]) -> String {
    let content = lab::base64(content).replace('\n', "\r\n");
    format!("{fields}\r\nContent-Transfer-Encoding: base64\r\n\r\n{content}")
}

/// gzip at its tightest, of pieces that come one after the other.
fn squeeze<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    use std::io::Write as _;
    let best = flate2::Compression::best();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), best);
    for piece in pieces {
        encoder.write_all(piece).unwrap();
    }
    encoder.finish().unwrap()
}

/// gzip of a head, of about so many mebibytes of a text again and again, and of a tail.
fn swollen(head: &[u8], text: &[u8], mebibytes: usize, tail: &[u8]) -> Vec<u8> {
    let block = text.repeat(MIB.div_ceil(text.len()));
    squeeze(
        std::iter::once(head)
            .chain(std::iter::repeat_n(&block[..], mebibytes))
            .chain([tail]),
    )
}
