use super::*;
use crate::error::Hint;

mod errors;
mod expressions;
mod limits;
mod statements;

fn parse(text: &str) -> Result<Query, QueryError> {
    Query::parse(text, Dialect::Twins, &Limits::QUERY)
}

fn parse_filter(text: &str) -> Result<Filter, QueryError> {
    Filter::parse(text, Dialect::Twins, &Limits::QUERY)
}

/// The canonical text of a query.
fn canonical(text: &str) -> String {
    parse(text).unwrap_or_else(|error| panic!("{text}: {error}")).to_string()
}

/// The canonical text of a condition on devices.
fn condition(text: &str) -> String {
    let filter = parse_filter(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    filter.condition.unwrap().to_string()
}

/// The text, its canonical form.
fn assert_conditions(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        assert_eq!(condition(text), *expected, "{text}");
    }
}
