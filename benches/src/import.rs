//! Import into SQLite, durable at exit, beside reading alone and beside bare rows.

use std::{
    collections::BTreeSet, env, fs, os::unix::process::CommandExt as _, path::Path,
    process::Command,
};

use anyhow::{Context as _, ensure};
use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike,
};
use rua_milter::report::Record;
use rusqlite::{Connection, params};
use serde::Deserialize;

use crate::{cpu, profile::Profile, readers};

/// The name by which this program is called to be the product's.
pub const PROGRAM: &str = "rua-milter";

/// Imports and fillings, of which the cheapest counts.
const ROUNDS: usize = 3;

/// Compares the CPU time of `rua-milter import` with that of reading, `read` seconds, with that of
/// writing the same records as bare rows, and with that of keeping the mails as bare files.
pub fn compare(profile: &Profile, folder: &str, read: f64) -> anyhow::Result<()> {
    let (domains, records) = readers::records(&profile.mails)?;
    let [mut import, mut rows, mut files] = [f64::INFINITY; 3];
    // Kept to the end: ext4 takes long to make files soon after others were deleted, which would be
    // half of the time of an import.
    let mut dirs = Vec::new();
    for _ in 0..ROUNDS {
        let dir = tempfile::tempdir()?;
        import = import.min(import_once(profile, folder, &domains, dir.path())?);
        rows = rows.min(bare_rows(&records, dir.path())?);
        files = files.min(bare_files(&profile.mails, dir.path())?);
        dirs.push(dir);
    }
    let name = &profile.name;
    let rate = |seconds: f64| (profile.truth.records as f64 / seconds / 1000.0).round();
    println!(
        "{name:5} import: {:.1} x the CPU time of reading; bare rows {:.1} x, bare files {:.1} x",
        import / read,
        rows / read,
        files / read
    );
    println!(
        "{name:5} import: {} thousand records a CPU second; bare rows with two indexes: {}",
        rate(import),
        rate(rows)
    );
    Ok(())
}

/// What `import --json` prints.
#[derive(Deserialize)]
struct Totals {
    stored: usize,
    messages: u64,
}

/// CPU seconds of one import into a fresh data directory.
fn import_once(
    profile: &Profile,
    folder: &str,
    domains: &BTreeSet<String>,
    dir: &Path,
) -> anyhow::Result<f64> {
    let config = dir.join("rua-milter.toml");
    let mut text = format!("data_dir = {:?}\n", dir.join("data"));
    for domain in domains {
        text += &format!("[[domain]]\nname = {domain:?}\nrua = [\"rua@reports.example\"]\n");
    }
    fs::create_dir(dir.join("data"))?;
    fs::write(&config, text)?;
    let before = children()?;
    let output = Command::new(env::current_exe()?)
        .arg0(PROGRAM)
        .arg("--config")
        .arg(&config)
        .args(["import", "--json"])
        .arg(Path::new(folder).join("mail"))
        .output()
        .context("import")?;
    let seconds = children()? - before;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let totals: Totals = serde_json::from_slice(&output.stdout)?;
    let expected = (profile.mails.len(), profile.truth.messages);
    ensure!(
        (totals.stored, totals.messages) == expected,
        "import lost something"
    );
    Ok(seconds)
}

/// CPU seconds of the children that have ended.
fn children() -> anyhow::Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(micros as f64 / 1e6)
}

/// CPU seconds of writing the records, and a row for each of their DKIM and SPF results, with two
/// indexes, in one durable transaction: what a plain store of them would cost.
fn bare_rows(records: &[Record], dir: &Path) -> anyhow::Result<f64> {
    let mut connection = Connection::open(dir.join("rows.sqlite"))?;
    connection.execute_batch(
        "PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;
         CREATE TABLE record (id INTEGER PRIMARY KEY, ip BLOB, count INTEGER, disposition TEXT,
             dkim TEXT, spf TEXT, header_from TEXT);
         CREATE TABLE auth (record INTEGER, kind INTEGER, domain TEXT, selector TEXT, result TEXT);
         CREATE INDEX by_ip ON record (ip);
         CREATE INDEX by_domain ON record (header_from, dkim, spf);",
    )?;
    let start = cpu();
    let transaction = connection.transaction()?;
    {
        let mut row =
            transaction.prepare("INSERT INTO record VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?;
        let mut auth = transaction.prepare("INSERT INTO auth VALUES (?1, ?2, ?3, ?4, ?5)")?;
        for (id, record) in records.iter().enumerate() {
            let ip = match record.source_ip {
                std::net::IpAddr::V4(ip) => ip.octets().to_vec(),
                std::net::IpAddr::V6(ip) => ip.octets().to_vec(),
            };
            let results = (record.dkim.known(), record.spf.known());
            row.execute(params![
                id,
                ip,
                i64::try_from(record.count)?,
                record.disposition.known().map(|word| word.as_str()),
                results.0.map(|word| word.as_str()),
                results.1.map(|word| word.as_str()),
                record.header_from,
            ])?;
            for dkim in &record.dkim_auth {
                let result = dkim.result.known().map(|word| word.as_str());
                auth.execute(params![id, 0, dkim.domain, dkim.selector, result])?;
            }
            for spf in &record.spf_auth {
                let result = spf.result.known().map(|word| word.as_str());
                auth.execute(params![id, 1, spf.domain, "", result])?;
            }
        }
    }
    transaction.commit()?;
    Ok((cpu() - start).as_secs_f64())
}

/// CPU seconds of keeping each mail as a file that is there whole or not at all, all of them synced
/// at once: what an archive with a file a mail costs that neither compresses nor digests them.
fn bare_files(mails: &[Vec<u8>], dir: &Path) -> anyhow::Result<f64> {
    let dir = dir.join("files");
    fs::create_dir(&dir)?;
    let start = cpu();
    for (number, mail) in mails.iter().enumerate() {
        fs::write(dir.join(format!("{number}.tmp")), mail)?;
    }
    nix::unistd::syncfs(&fs::File::open(&dir)?)?;
    for number in 0..mails.len() {
        fs::rename(
            dir.join(format!("{number}.tmp")),
            dir.join(number.to_string()),
        )?;
    }
    fs::File::open(&dir)?.sync_all()?;
    Ok((cpu() - start).as_secs_f64())
}
