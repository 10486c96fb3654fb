//! The speed of the reading path, as ratios inside one run, and what `benches/smtp` needs to measure
//! the door. Figures and how to read them are told in these two, which call it.
//!
//! Every reader is first held to the truth: a rate of something that reads less counts nothing.

mod discard;
mod import;
mod instructions;
mod metrics;
mod profile;
mod readers;

use std::{env, path::Path, process::ExitCode, time::Duration};

use anyhow::{Context as _, bail};
use nix::time::{ClockId, clock_gettime};

use profile::Profile;
use readers::{READERS, Reader};

/// Rounds, in each of which every reader has its turn. The least of a reader's rounds counts:
/// whatever else the machine does only ever adds.
const ROUNDS: usize = 7;
/// Mails that valgrind counts; it takes fifty times as long as the processor.
pub const COUNTED: usize = 200;

fn main() -> anyhow::Result<ExitCode> {
    // Built in, so that the program is not built a second time to be measured.
    if env::args().next().as_deref() == Some(import::PROGRAM) {
        return rua_milter::cli::run();
    }
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["all", small, giant] => {
            for folder in [small, giant] {
                let profile = Profile::load(Path::new(folder))?;
                check(&profile)?;
                let seconds = times(&profile);
                print_ratios(&profile, "CPU time", seconds);
                print_ratios(&profile, "instructions", instructions::count(folder)?);
                let read = seconds[0];
                import::compare(&profile, folder, read)?;
            }
        }
        ["metrics", folder] => metrics::compare(&Profile::load(Path::new(folder))?, folder)?,
        ["ingest", how, folder] => metrics::ingest(how == "counted", folder)?,
        ["once", name, folder] => {
            let reader = READERS.iter().find(|reader| reader.name == name);
            let mut profile = Profile::load(Path::new(folder))?;
            profile.mails.truncate(COUNTED);
            once(reader.context("no such reader")?, &profile);
        }
        ["discard", socket] => discard::serve(Path::new(socket))?,
        _ => bail!("started by benches/read, benches/metrics and benches/smtp"),
    }
    Ok(ExitCode::SUCCESS)
}

/// Holds every reader that gives rows to the truth of the manifest.
fn check(profile: &Profile) -> anyhow::Result<()> {
    for reader in READERS.iter().filter(|reader| reader.gives_rows) {
        let mut sum = readers::Sum::default();
        for mail in &profile.mails {
            sum += (reader.read)(mail).with_context(|| reader.name.to_owned())?;
        }
        if sum != profile.truth {
            bail!("{} read {sum:?}, not {:?}", reader.name, profile.truth);
        }
    }
    println!(
        "{}: {} mails, {} records, {} messages: each reader found them all",
        profile.name,
        profile.mails.len(),
        profile.truth.records,
        profile.truth.messages
    );
    Ok(())
}

/// The CPU seconds of each reader for all mails.
fn times(profile: &Profile) -> [f64; READERS.len()] {
    let mut least = [f64::INFINITY; READERS.len()];
    for _ in 0..ROUNDS {
        for (least, reader) in least.iter_mut().zip(&READERS) {
            let start = cpu();
            once(reader, profile);
            *least = least.min((cpu() - start).as_secs_f64());
        }
    }
    least
}

/// One pass over all mails. Valgrind counts what happens within, by this name.
#[inline(never)]
fn once(reader: &Reader, profile: &Profile) {
    for mail in &profile.mails {
        let sum = (reader.read)(mail);
        std::hint::black_box(sum.is_ok());
    }
}

/// CPU time of this process.
pub fn cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)
        .map(Duration::from)
        .unwrap_or_default()
}

/// Says how our readers compare with the others.
fn print_ratios(profile: &Profile, unit: &str, costs: [f64; READERS.len()]) {
    let [_, _, peer, floor] = costs;
    for (reader, cost) in READERS.iter().zip(costs).take(2) {
        println!(
            "{:5} {unit:12} {:16} {:.2} x mail-auth (goal {}), {:.2} x floor (goal {})",
            profile.name,
            reader.name,
            cost / peer,
            profile.goals.peer,
            cost / floor,
            profile.goals.floor
        );
    }
}
