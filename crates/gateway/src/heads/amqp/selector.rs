//! The filter of a reader: where in a partition it begins.
//!
//! A filter is a comparison as text, such as `amqp.annotation.x-opt-offset > '-1'`. Python describes it with a symbol,
//! Node and Go with the number of that symbol. The command line of Azure writes numbers without quotes, and another name of
//! the time.

use ferrohub_amqp::performative::Source;
use ferrohub_amqp::{Descriptor, Symbol, Value};
use ferrohub_core::telemetry::StartPosition;
use ferrohub_model::Timestamp;

/// Name of the filter.
const SELECTOR: &str = "apache.org:selector-filter:string";
/// The same as a number.
const SELECTOR_CODE: u64 = 0x0000_468C_0000_0004;
/// What the names of annotations begin with.
const ANNOTATION: &str = "amqp.annotation.";
/// Longest text of a filter, in bytes. The longest that a client writes has 64.
const MAX_LENGTH: usize = 256;

/// A filter that the hub does not understand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidFilter {
    #[error("the hub knows only the filter {SELECTOR}")]
    Unknown,
    #[error("the filter is not a described string of at most {MAX_LENGTH} bytes")]
    Type,
    #[error(
        "the filter is not a comparison such as amqp.annotation.x-opt-offset > '-1', with one of x-opt-offset, \
         x-opt-sequence-number, x-opt-enqueued-time, x-opt-enqueuedtimeutc, with > or >=, and a number"
    )]
    Text,
}

/// Returns the position at which a reader of a partition begins. Without a filter that is the first event, as on Azure.
pub(super) fn start_position(
    source: Option<&Source<'_>>,
    partition: u16,
) -> Result<StartPosition, InvalidFilter> {
    let Some(filters) = source.and_then(|source| source.filter) else { return Ok(StartPosition::Start) };
    let mut start = StartPosition::Start;
    for (name, filter) in filters {
        if name.as_str() != Some(SELECTOR) {
            return Err(InvalidFilter::Unknown);
        }
        start = parse(text(filter)?, partition).ok_or(InvalidFilter::Text)?;
    }
    Ok(start)
}

/// Returns the text of a filter.
fn text(filter: Value<'_>) -> Result<&str, InvalidFilter> {
    let Value::Described(described) = filter else { return Err(InvalidFilter::Type) };
    match described.descriptor {
        Descriptor::Symbol(Symbol(SELECTOR)) | Descriptor::Code(SELECTOR_CODE) => {}
        _ => return Err(InvalidFilter::Unknown),
    }
    let value = described.value();
    match value {
        Value::String(text) if text.len() <= MAX_LENGTH => Ok(text),
        _ => Err(InvalidFilter::Type),
    }
}

/// Parses a comparison.
fn parse(text: &str, partition: u16) -> Option<StartPosition> {
    let (name, comparison) = text.trim().strip_prefix(ANNOTATION)?.split_once('>')?;
    let (is_inclusive, value) = match comparison.strip_prefix('=') {
        Some(value) => (true, value.trim()),
        None => (false, comparison.trim()),
    };
    let value = match value.strip_prefix('\'') {
        Some(quoted) => quoted.strip_suffix('\'')?,
        None => value,
    };
    match name.trim_end() {
        "x-opt-offset" => StartPosition::at_offset(partition, value, is_inclusive),
        // A client that has read nothing asks for what follows -1.
        "x-opt-sequence-number" => match value {
            "-1" => Some(StartPosition::Start),
            sequence => Some(StartPosition::at_sequence(partition, number(sequence)?, is_inclusive)),
        },
        "x-opt-enqueued-time" | "x-opt-enqueuedtimeutc" => {
            let millis = i64::try_from(number(value)?).ok()?;
            Some(StartPosition::at_time(Timestamp::from_unix_millis(millis), is_inclusive))
        }
        _ => None,
    }
}

/// Parses a number without a sign.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use ferrohub_amqp::{Encoder, Map};
    use ferrohub_core::telemetry::Position;
    use proptest::prelude::*;

    use super::*;

    fn at(next: u64) -> Option<StartPosition> {
        Some(StartPosition::After(Position([(2, next)].into())))
    }

    fn time(millis: i64) -> Option<StartPosition> {
        Some(StartPosition::Time(Timestamp::from_unix_millis(millis)))
    }

    #[test]
    fn every_comparison_that_clients_write_is_read() {
        for (text, expected) in [
            ("amqp.annotation.x-opt-offset > '-1'", Some(StartPosition::Start)),
            ("amqp.annotation.x-opt-offset >= '-1'", Some(StartPosition::Start)),
            ("amqp.annotation.x-opt-offset > '@latest'", Some(StartPosition::End)),
            ("amqp.annotation.x-opt-offset > '12'", at(13)),
            ("amqp.annotation.x-opt-offset >= '12'", at(12)),
            ("amqp.annotation.x-opt-sequence-number > '2'", at(3)),
            ("amqp.annotation.x-opt-sequence-number >= 2", at(2)),
            ("amqp.annotation.x-opt-sequence-number > -1", Some(StartPosition::Start)),
            ("amqp.annotation.x-opt-enqueued-time > '1767225600000'", time(1_767_225_600_001)),
            ("amqp.annotation.x-opt-enqueued-time >= '1767225600000'", time(1_767_225_600_000)),
            ("amqp.annotation.x-opt-enqueuedtimeutc > 1700000000000", time(1_700_000_000_001)),
            ("amqp.annotation.x-opt-enqueuedtimeutc > '1700000000000'", time(1_700_000_000_001)),
            (" amqp.annotation.x-opt-offset>'0' ", at(1)),
        ] {
            assert_eq!(parse(text, 2), expected, "{text}");
        }
    }

    #[test]
    fn other_comparisons_are_refused() {
        for text in [
            "",
            "x-opt-offset > '1'",
            "amqp.annotation.x-opt-offset = '1'",
            "amqp.annotation.x-opt-offset < '1'",
            "amqp.annotation.x-opt-offset > '1",
            "amqp.annotation.x-opt-offset > ''",
            "amqp.annotation.x-opt-offset > '+1'",
            "amqp.annotation.x-opt-offset > '-2'",
            "amqp.annotation.x-opt-offset > 'a'",
            "amqp.annotation.x-opt-offset > '1' OR 1 > 0",
            "amqp.annotation.x-opt-offset > '18446744073709551616'",
            "amqp.annotation.x-opt-offset >> '1'",
            "amqp.annotation.x-opt-sequence-number > '@latest'",
            "amqp.annotation.x-opt-enqueued-time > '-1'",
            "amqp.annotation.x-opt-enqueued-time > '9223372036854775808'",
            "amqp.annotation.x-opt-publisher > '1'",
        ] {
            assert_eq!(parse(text, 2), None, "{text}");
        }
    }

    fn start(write: impl FnOnce(&mut Encoder<'_>)) -> Result<StartPosition, InvalidFilter> {
        let mut bytes = BytesMut::new();
        Encoder::new(&mut bytes).map(write);
        let filter = Some(Map::decode(&bytes).unwrap());
        start_position(Some(&Source { filter, ..Source::default() }), 2)
    }

    #[test]
    fn a_filter_is_described_by_a_symbol_or_a_number() {
        let text = "amqp.annotation.x-opt-offset > '5'";
        for descriptor in [Descriptor::Symbol(Symbol(SELECTOR)), Descriptor::Code(SELECTOR_CODE)] {
            let read = start(|map| {
                map.symbol(SELECTOR);
                map.described(descriptor, |value| value.string(text));
            });
            assert_eq!(read.ok(), at(6));
        }
        let other = |name: &'static str, descriptor, long| {
            start(move |map| {
                map.symbol(name);
                let text = if long { " ".repeat(MAX_LENGTH) + text } else { text.to_owned() };
                map.described(descriptor, |value| value.string(&text));
            })
        };
        let code = Descriptor::Code(SELECTOR_CODE);
        assert_eq!(other("apache.org:no-local-filter:list", code, false), Err(InvalidFilter::Unknown));
        assert_eq!(other(SELECTOR, Descriptor::Code(1), false), Err(InvalidFilter::Unknown));
        assert_eq!(other(SELECTOR, code, true), Err(InvalidFilter::Type));
        let plain = start(|map| {
            map.symbol(SELECTOR);
            map.string(text);
        });
        assert_eq!(plain, Err(InvalidFilter::Type));
        let number = start(|map| {
            map.symbol(SELECTOR);
            map.described(code, |value| value.ulong(1));
        });
        assert_eq!(number, Err(InvalidFilter::Type));
        assert_eq!(start(|_| {}), Ok(StartPosition::Start));
        assert_eq!(start_position(None, 0), Ok(StartPosition::Start));
    }

    proptest! {
        #[test]
        fn any_text_is_a_comparison_or_not(text in ".{0,80}", value in "[-@'0-9a-z ]{0,24}") {
            let _ = parse(&text, 0);
            let _ = parse(&format!("amqp.annotation.x-opt-offset > {value}"), 0);
        }
    }
}
