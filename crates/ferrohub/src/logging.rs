//! Structured logging to standard error.
//!
//! A log that cannot be written must not stop the hub: see `writer.rs`.

mod rotating_file;
mod writer;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fs::File;
use std::os::fd::AsFd as _;
use std::panic::PanicHookInfo;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

mod escaped;

use anyhow::Context as _;
use ferrohub_core::metrics::LogMetrics;
use tracing::error;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

use self::escaped::Escaped;
use self::rotating_file::RotatingFile;
use crate::config::{LogConfig, LogFormat};
use writer::LogWriter;

/// Longest time that the end of the program waits for the log.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);

static WRITER: OnceLock<LogWriter> = OnceLock::new();

/// Flushes the log when it is dropped.
#[must_use]
pub(crate) struct FlushOnDrop;

impl Drop for FlushOnDrop {
    fn drop(&mut self) {
        flush();
    }
}

/// Starts logging to standard error. Panics are logged, too. If standard error is `file`, it is rotated.
pub(crate) fn start(config: &LogConfig, file: Option<PathBuf>) -> anyhow::Result<FlushOnDrop> {
    let filter = EnvFilter::try_new(&config.level)
        .with_context(|| format!("log.level {:?} is neither a level nor a filter", config.level))?;
    // A descriptor of its own, because `Stderr` has a lock that a blocked write would hold.
    let stderr = std::io::stderr().as_fd().try_clone_to_owned().context("cannot use standard error")?;
    let stderr = File::from(stderr);
    let writer = match file {
        Some(path) => LogWriter::start(RotatingFile::new(stderr, path), LogMetrics::default()),
        None => LogWriter::start(stderr, LogMetrics::default()),
    };
    let writer = writer.context("cannot start the thread that writes the log")?;
    let writer = WRITER.get_or_init(|| writer).clone();
    // By default, the subscriber reports a failed write with `eprintln!`, which panics if that fails as well.
    let builder = fmt().with_env_filter(filter).with_writer(writer).log_internal_errors(false);
    match config.format {
        LogFormat::Json => {
            let builder = builder.json().flatten_event(true).with_current_span(false);
            builder.map_event_format(Escaped::json).init();
        }
        LogFormat::Text => {
            let is_terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
            builder
                .with_ansi(is_terminal)
                .map_event_format(|format| Escaped::text(format.with_ansi(is_terminal)))
                .init();
        }
    }
    std::panic::set_hook(Box::new(log_panic));
    Ok(FlushOnDrop)
}

/// Returns the metrics of the log.
pub(crate) fn metrics() -> LogMetrics {
    WRITER.get().map(|writer| writer.metrics().clone()).unwrap_or_default()
}

/// Waits a short time until the log is written. Call it before the program exits.
pub(crate) fn flush() {
    if let Some(writer) = WRITER.get() {
        writer.flush(FLUSH_LIMIT);
    }
}

/// Replaces the standard hook, which writes to standard error and may block there.
fn log_panic(info: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    let location = info.location().map(ToString::to_string).unwrap_or_default();
    let error = info.payload_as_str().unwrap_or("no message");
    let backtrace = Backtrace::capture();
    match backtrace.status() {
        BacktraceStatus::Captured => {
            error!(thread, location, error, %backtrace, "a thread or task panicked")
        }
        _ => error!(thread, location, error, "a thread or task panicked"),
    }
}
