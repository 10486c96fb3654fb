//! How far a command is, for whoever waits at a terminal.
//!
//! It stands on standard error, begins when the command has taken [`PATIENCE`], and is gone when the
//! work ends. Where standard error is no terminal nothing is shown at all.

use std::{
    cell::Cell,
    io::{IsTerminal as _, stderr, stdout},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// What ends sooner needs no bar.
const PATIENCE: Duration = Duration::from_secs(2);

/// A bar, or a number where no end is known; nothing where nobody sees it.
pub struct Progress {
    bar: Option<ProgressBar>,
    since: Instant,
    waits: Cell<bool>,
}

impl Progress {
    /// Whether anybody sees it, for what only it needs to know.
    pub fn is_watched() -> bool {
        stderr().is_terminal()
    }

    /// Bytes of files.
    pub fn of_bytes(total: Option<u64>) -> Self {
        let template = match total {
            Some(_) => "{bar:30} {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left",
            None => "{bytes}, {bytes_per_sec}",
        };
        Self::new(template, total)
    }

    /// Things of this name.
    pub fn of(things: &str, total: Option<u64>) -> Self {
        let template = match total {
            Some(_) => format!("{{bar:30}} {{pos}}/{{len}} {things}, {{eta}} left"),
            None => format!("{{pos}} {things}, {{elapsed}}"),
        };
        Self::new(&template, total)
    }

    /// The same while rows are printed, which show by themselves that it goes on at a terminal.
    pub fn beside_rows(things: &str) -> Self {
        let progress = Self::of(things, None);
        progress.waits.set(!stdout().is_terminal());
        progress
    }

    /// What takes its time in one piece; this stands there from its beginning.
    pub fn doing(what: &'static str) -> Self {
        let progress = Self::new("{msg} ...", None);
        progress.waits.set(false);
        if let Some(bar) = &progress.bar {
            bar.set_message(what);
            bar.set_draw_target(ProgressDrawTarget::stderr());
            bar.tick();
        }
        progress
    }

    fn new(template: &str, total: Option<u64>) -> Self {
        let bar = Self::is_watched().then(|| {
            let style = ProgressStyle::with_template(template).expect("a template of ours");
            ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden()).with_style(style)
        });
        Self {
            bar,
            since: Instant::now(),
            waits: Cell::new(true),
        }
    }

    /// So much more is done.
    pub fn add(&self, more: u64) {
        if let Some(bar) = &self.bar {
            self.reach(bar.position().saturating_add(more));
        }
    }

    /// So much is done.
    pub fn reach(&self, done: u64) {
        let Some(bar) = &self.bar else {
            return;
        };
        if self.waits.get() && self.since.elapsed() > PATIENCE {
            self.waits.set(false);
            bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        bar.set_position(done);
    }

    /// Lets something else be printed, the bar out of its way.
    pub fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
