//! Structured logging to standard error.

mod escaped;

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

use self::escaped::Escaped;
use crate::config::{LogConfig, LogFormat};

/// Starts logging.
pub(crate) fn start(config: &LogConfig) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&config.level)
        .with_context(|| format!("log.level {:?} is neither a level nor a filter", config.level))?;
    let builder = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match config.format {
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).init(),
        LogFormat::Text => {
            let is_terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
            builder
                .with_ansi(is_terminal)
                .map_event_format(|format| Escaped(format.with_ansi(is_terminal)))
                .init();
        }
    }
    Ok(())
}
