//! A plan that is written in the query language is parsed to the same plan, and no text causes a panic.

use ferrohub_query::{Dialect, Filter, Limits, Query};
use proptest::prelude::*;

use crate::generate;

/// The written text has more parentheses than the limits of queries allow.
const LIMITS: Limits = Limits { characters: usize::MAX, depth: 256, ..Limits::QUERY };

const WORDS: [&str; 42] = [
    "SELECT",
    "TOP",
    "*",
    "FROM",
    "devices",
    "devices.modules",
    ".jobs",
    "WHERE",
    "GROUP",
    "BY",
    "AS",
    "AND",
    "OR",
    "NOT",
    "IN",
    "NIN",
    "undefined",
    "null",
    "true",
    "(",
    ")",
    "[",
    "]",
    "[[",
    "]]",
    ",",
    ".",
    "=",
    "!=",
    "<",
    "-",
    "+",
    "/",
    "%",
    "COUNT(",
    "IS_DEFINED(",
    "CONTAINS(",
    "tags.a",
    "deviceId",
    "'a'",
    "7",
    ";",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_written_query_is_parsed_to_the_same_plan(query in generate::query()) {
        let text = query.to_string();
        prop_assert_eq!(Query::parse(&text, Dialect::Twins, &LIMITS), Ok(query), "{}", text);
    }

    #[test]
    fn a_written_comparison_is_parsed_to_the_same_plan(query in generate::simple_query()) {
        let text = query.to_string();
        prop_assert_eq!(Query::parse(&text, Dialect::Twins, &LIMITS), Ok(query), "{}", text);
    }

    #[test]
    fn any_sequence_of_words_is_a_query_or_refused_inside_the_text(
        words in prop::collection::vec(prop::sample::select(&WORDS[..]), 0..24),
        separator in prop::sample::select(vec!["", " "]),
    ) {
        let text = words.join(separator);
        if let Err(error) = Query::parse(&text, Dialect::Twins, &Limits::QUERY) {
            prop_assert!(error.position.offset <= text.len());
        }
        let text = format!("tags.a {text}");
        if let Ok(filter) = Filter::parse(&text, Dialect::Twins, &Limits::QUERY) {
            let written = filter.to_string();
            prop_assert_eq!(Filter::parse(&written, Dialect::Twins, &LIMITS), Ok(filter), "{}", written);
        }
    }

    #[test]
    fn any_text_is_parsed_or_refused(text in "\\PC*") {
        let _ = Query::parse(&text, Dialect::Twins, &Limits::QUERY);
        let _ = Filter::parse(&text, Dialect::Twins, &Limits::QUERY);
    }
}
