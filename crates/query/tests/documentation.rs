//! The examples, errors and limits in `docs/query-language.md` are those of the crate.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test ends by panicking")]

use ferrohub_query::{Dialect, Limits, Query, QueryError};

const PAGE: &str = include_str!("../../../docs/query-language.md");

fn parse(text: &str) -> Result<Query, QueryError> {
    Query::parse(text, Dialect::Twins, &Limits::QUERY)
}

/// The cells of all rows of the table below a heading.
fn table(heading: &str) -> Vec<Vec<&'static str>> {
    let (_, section) = PAGE.split_once(heading).unwrap();
    let lines = section.lines().skip_while(|line| !line.starts_with("|---")).skip(1);
    let rows = lines.take_while(|line| line.starts_with('|'));
    rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

#[test]
fn every_example_is_a_query() {
    let blocks = PAGE.split("```sql\n").skip(1).filter_map(|rest| rest.split("```").next());
    let examples: Vec<_> = blocks.flat_map(str::lines).collect();
    assert!(examples.len() > 10);
    for example in examples {
        assert!(parse(example).is_ok(), "{example}: {:?}", parse(example));
    }
}

#[test]
fn every_error_is_as_documented() {
    let rows = table("## Errors");
    assert!(!rows.is_empty());
    for row in rows {
        let [text, error] = row.as_slice() else { panic!("{row:?}") };
        assert_eq!(parse(text.trim_matches('`')).unwrap_err().to_string(), *error);
    }
}

#[test]
fn every_limit_is_as_documented() {
    let (queries, jobs) = (Limits::QUERY, Limits::JOB_CONDITION);
    let expected = [
        (queries.characters, Some(jobs.characters)),
        (queries.depth, Some(jobs.depth)),
        (queries.list_elements, Some(jobs.list_elements)),
        (queries.columns, None),
        (queries.path_members, Some(jobs.path_members)),
    ];
    let documented: Vec<_> = table("## Limits")
        .iter()
        .map(|row| (row[row.len() - 2].parse().unwrap(), row[row.len() - 1].parse().ok()))
        .collect();
    assert_eq!(documented, expected);
}
