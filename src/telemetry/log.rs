//! The log: where it goes, in which form, and what never gets into it.
//!
//! Only our own crate speaks at the configured level. Other crates are heard from `warn` up;
//! indymilter prints whole message bodies at `trace` and has no more than `info`. The
//! environment (`RUST_LOG`) has no say in it. Control characters in fields come out escaped, so
//! that one event is one line, whatever a stranger wrote into it.

mod rejected;
mod unwaited;

use std::{
    fmt::{self, Write},
    io::IsTerminal,
    sync::{Arc, Mutex},
};

use tracing::{Level, Subscriber, field::Field};
use tracing_subscriber::{
    Layer,
    field::MakeExt,
    filter::{LevelFilter, Targets},
    fmt::{
        MakeWriter,
        format::{Writer, debug_fn},
    },
    layer::SubscriberExt,
    registry::LookupSpan,
    util::SubscriberInitExt,
};

use self::unwaited::Unwaited;
use super::{TelemetryError, instruments::Exports};
use crate::config::{Log, LogFormat, LogTarget};

/// Sets up the log of the process, once. What the SDK tells in it of `exports` is counted there.
pub fn init(config: &Log, exports: &Arc<Exports>) -> Result<(), TelemetryError> {
    let registry = tracing_subscriber::registry().with(rejected::layer(Arc::clone(exports)));
    let filter = filter(config.level);
    match config.target {
        LogTarget::Journald => {
            let journal = tracing_journald::layer()
                .map_err(TelemetryError::Journald)?
                .with_syslog_identifier(env!("CARGO_PKG_NAME").into());
            registry.with(journal.with_filter(filter)).try_init()?;
        }
        LogTarget::Stderr => {
            // https://no-color.org
            let no_color = std::env::var_os("NO_COLOR").is_some_and(|it| !it.is_empty());
            let ansi = std::io::stderr().is_terminal() && !no_color;
            let out = Mutex::new(Unwaited::new(std::io::stderr(), config.format));
            let lines = lines(config.format, ansi, out);
            registry.with(lines.with_filter(filter)).try_init()?;
        }
    }
    Ok(())
}

fn filter(level: Level) -> Targets {
    // `Level` orders by verbosity: ERROR is the least.
    Targets::new()
        .with_default(LevelFilter::from(level.min(Level::WARN)))
        .with_target("rua_milter", level)
        .with_target("indymilter", level.min(Level::INFO))
}

/// Lines of `format` into `out`.
fn lines<S, W>(format: LogFormat, ansi: bool, out: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(out);
    match format {
        LogFormat::Json => layer.json().flatten_event(true).with_ansi(false).boxed(),
        LogFormat::Text => layer
            .with_ansi(ansi)
            .fmt_fields(debug_fn(write_field).delimited(" "))
            .boxed(),
    }
}

fn write_field(out: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    let mut out = Escaping(out);
    match field.name() {
        "message" => write!(out, "{value:?}"),
        name => write!(out, "{name}={value:?}"),
    }
}

/// Escapes what could end a line, move a cursor or turn the direction of writing. The library's
/// own escaping (0.3.20) leaves line ends alone.
struct Escaping<'a, 'b>(&'a mut Writer<'b>);

impl Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            if is_invisible(c) {
                write!(self.0, "{}", c.escape_default())?;
            } else {
                self.0.write_char(c)?;
            }
        }
        Ok(())
    }
}

fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use super::*;

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, level: Level, events: impl FnOnce()) -> String {
        let memory = Memory::default();
        let out = memory.clone();
        let subscriber = tracing_subscriber::registry()
            .with(lines(format, false, move || out.clone()).with_filter(filter(level)));
        tracing::subscriber::with_default(subscriber, events);
        let bytes = memory.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    const HOSTILE: &str = "a\nERROR forged\r\u{1b}[2J\u{9b}1m\u{202e}b";

    #[test]
    fn a_stranger_cannot_forge_a_line_in_either_form() {
        for format in [LogFormat::Text, LogFormat::Json] {
            let log = logged(format, Level::INFO, || {
                tracing::info!(display = %HOSTILE, debug = ?HOSTILE, text = HOSTILE, "said {HOSTILE}");
            });
            assert_eq!(log.lines().count(), 1, "{log}");
            let body = log.trim_end_matches('\n');
            assert!(!body.contains(['\n', '\r', '\u{1b}']), "{body:?}");
            if format == LogFormat::Text {
                assert!(!body.contains(is_invisible), "{body:?}");
                assert!(body.contains("display=a\\nERROR forged"), "{body:?}");
            }
        }
    }

    #[test]
    fn mail_bodies_in_indymilter_trace_stay_out_at_every_level() {
        let log = logged(LogFormat::Text, Level::TRACE, || {
            tracing::trace!(target: "indymilter::session", "body");
            tracing::debug!(target: "hyper::proto", "chatter");
            tracing::info!(target: "indymilter", "heard");
            tracing::trace!(target: "rua_milter::intake", "ours");
        });
        assert!(!log.contains("body") && !log.contains("chatter"), "{log}");
        assert!(log.contains("heard") && log.contains("ours"), "{log}");
    }

    #[test]
    fn a_quiet_level_quietens_everybody() {
        let log = logged(LogFormat::Text, Level::ERROR, || {
            tracing::warn!(target: "hyper", "warned");
            tracing::info!(target: "indymilter", "told");
        });
        assert_eq!(log, "");
    }
}
