//! Escapes characters in log lines that would reorder or hide text on a terminal.
//!
//! The subscriber itself escapes control sequences in fields, but not the characters that change the direction of text.

use std::fmt;

use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::registry::LookupSpan;

use crate::output::{escape_json, escape_log_line};

/// Formats events as `format` does, and escapes the result.
pub(super) struct Escaped<F> {
    format: F,
    escape: fn(&str) -> String,
}

impl<F> Escaped<F> {
    /// For a format that is text.
    pub(super) fn text(format: F) -> Self {
        Self { format, escape: escape_log_line }
    }

    /// For a format that is JSON: the values stay the same for a program that parses the line.
    pub(super) fn json(format: F) -> Self {
        Self { format, escape: escape_json }
    }
}

impl<S, N, F> FormatEvent<S, N> for Escaped<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = String::new();
        self.format.format_event(context, Writer::new(&mut line), event)?;
        writer.write_str(&(self.escape)(&line))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn names_in_the_log_cannot_change_the_direction_of_text() {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .with_ansi(true)
            .map_event_format(|format| Escaped::text(format.with_ansi(true)))
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(name = "a\u{202e}b\u{1b}[2J", other = %"c\u{2066}d", "an event");
        });
        let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        assert!(text.contains("a\\u{202e}b") && text.contains("c\\u{2066}d"), "{text:?}");
        assert!(!text.contains("\u{1b}[2J") && text.ends_with('\n'), "{text:?}");
        assert_eq!(text.lines().count(), 1);
    }

    #[test]
    fn names_in_a_json_log_are_escaped_and_keep_their_value() {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .flatten_event(true)
            .with_writer(move || writer.clone())
            .map_event_format(Escaped::json)
            .finish();
        let hostile = "a\u{202e}b\u{1b}[2J\u{9b}";
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(name = hostile, other = %hostile, "an event");
        });
        let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        assert!(text.is_ascii() && text.lines().count() == 1, "{text:?}");
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&line["name"], &line["other"]), (&hostile.into(), &hostile.into()));
    }
}
