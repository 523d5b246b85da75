//! Fuzzes the query language: no text may cause a panic, a query that is written from its plan must be parsed to the
//! same plan, and every query can be run.
#![no_main]

use ferrohub_query::{Dialect, Filter, Limits, Query};
use libfuzzer_sys::fuzz_target;
use serde_json::json;

/// The written text has more parentheses and is longer than the text that was parsed.
const LIMITS: Limits = Limits { characters: usize::MAX, depth: 512, ..Limits::QUERY };

/// Parts of queries, so that many inputs are queries.
const WORDS: [&str; 64] = [
    "SELECT ",
    "TOP 2 ",
    "* ",
    "FROM ",
    "devices ",
    "devices.modules ",
    "devices.jobs ",
    "WHERE ",
    "GROUP BY ",
    " AS x",
    "AND ",
    "OR ",
    "NOT ",
    "IN ",
    "NIN ",
    "undefined ",
    "null ",
    "true ",
    "false ",
    "(",
    ") ",
    "[",
    "] ",
    "[[",
    "]]",
    ",",
    ".",
    "= ",
    "!= ",
    "<> ",
    "< ",
    "<= ",
    "> ",
    ">= ",
    "-",
    "+ ",
    "/ ",
    "% ",
    "COUNT()",
    "SUM(",
    "AVG(",
    "MIN(",
    "MAX(",
    "IS_DEFINED(",
    "IS_NULL(",
    "IS_STRING(",
    "CONTAINS(",
    "STARTSWITH(",
    "ARRAY_CONTAINS(",
    "tags",
    "tags.a",
    "tags.b[0]",
    "properties.desired.a",
    "deviceId ",
    "id ",
    "other ",
    "['a b']",
    "'a' ",
    "\"it's\"",
    "7 ",
    "-0.5 ",
    "1e3 ",
    "0x1F ",
    "/* */ ",
];

fuzz_target!(|input: &[u8]| {
    match input.split_first() {
        Some((0, words)) => {
            let word = |byte: &u8| WORDS[usize::from(*byte) % WORDS.len()];
            check(&words.iter().map(word).collect::<String>());
        }
        _ => check(&String::from_utf8_lossy(input)),
    }
});

fn check(text: &str) {
    match Query::parse(text, Dialect::Twins, &Limits::QUERY) {
        Ok(query) => {
            let written = query.to_string();
            let twins = [
                json!({ "deviceId": "a", "tags": { "a": 1, "b": [null, { "a": "a" }] }, "version": i64::MAX }),
                json!({ "deviceId": "b", "properties": { "desired": { "a": 0.5, "b": true } } }),
                json!({}),
            ];
            let rows = query.run(&twins);
            assert!(rows.len() <= twins.len(), "{written}");
            assert_eq!(Query::parse(&written, Dialect::Twins, &LIMITS), Ok(query), "{written}");
        }
        Err(error) => assert!(error.position.offset <= text.len(), "{error}"),
    }
    if let Ok(filter) = Filter::parse(text, Dialect::Twins, &Limits::QUERY) {
        let written = filter.to_string();
        assert_eq!(Filter::parse(&written, Dialect::Twins, &LIMITS), Ok(filter), "{written}");
    }
}
