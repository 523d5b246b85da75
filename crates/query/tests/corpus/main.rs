//! The corpus: a fixed fleet, and queries on it with results that were written by hand.
//!
//! `fleet.json` has 40 twins with missing, null, wrongly typed, nested, hyphenated and quoted members, and rows of jobs.
//! The comment at the start of `devices.txt` describes the form of the cases.
#![allow(clippy::unwrap_used, reason = "a test ends by panicking")]

mod case;

use std::collections::BTreeSet;

use ferrohub_query::plan::{Collection, Output};
use ferrohub_query::{Dialect, Filter, Limits, Query, QueryError};
use serde_json::{Map, Value};

use self::case::{Case, Expected, Text};

const FLEET: &str = include_str!("fleet.json");
const FILES: [(&str, &str); 2] = [
    ("devices.txt", include_str!("devices.txt")),
    ("modules_and_jobs.txt", include_str!("modules_and_jobs.txt")),
];

fn fleet() -> Map<String, Value> {
    serde_json::from_str(FLEET).unwrap()
}

fn documents(fleet: &Map<String, Value>, collection: Collection) -> &[Value] {
    fleet[collection.as_str()].as_array().unwrap()
}

fn parse(text: &Text) -> Result<Query, QueryError> {
    match text {
        Text::Query(text) => Query::parse(text, Dialect::Twins, &Limits::QUERY),
        Text::Condition(text) => {
            let filter = Filter::parse(text, Dialect::Twins, &Limits::QUERY)?;
            Ok(Query { filter, output: Output::Documents, top: None })
        }
    }
}

fn id(document: &Value) -> String {
    let text = |key: &str| document[key].as_str();
    match (text("jobId"), text("deviceId").unwrap(), text("moduleId")) {
        (Some(job), device, _) => format!("{job}/{device}"),
        (None, device, Some(module)) => format!("{device}/{module}"),
        (None, device, None) => device.to_owned(),
    }
}

/// Returns what a query gives, in the form of the expected result.
fn result(query: &Query, expected: &Expected, fleet: &Map<String, Value>) -> Expected {
    match expected {
        Expected::Plan(_) => Expected::Plan(format!("{} {query}", query.item_type().as_str())),
        Expected::Truth(_) => {
            let no_row = Map::new();
            Expected::Truth(query.filter.condition.as_ref().unwrap().evaluate(&no_row))
        }
        _ => run(query, fleet),
    }
}

/// Runs a query on the fleet in an order that is not that of the result.
fn run(query: &Query, fleet: &Map<String, Value>) -> Expected {
    let rows = query.run(documents(fleet, query.filter.collection).iter().rev());
    match query.output {
        Output::Documents => Expected::Ids(rows.iter().map(|row| id(row)).collect()),
        _ => Expected::Rows(rows.into_iter().map(std::borrow::Cow::into_owned).collect()),
    }
}

#[test]
fn every_case_has_its_expected_result() {
    let fleet = fleet();
    let mut failures = Vec::new();
    for (file, text) in FILES {
        for Case { line, text, expected } in case::parse(text) {
            let result = match parse(&text) {
                Ok(query) => result(&query, &expected, &fleet),
                Err(error) => Expected::Error(error.to_string()),
            };
            if result != expected {
                failures
                    .push(format!("{file}:{line}: {text:?}\n  expected {expected:?}\n  but got  {result:?}"));
            }
        }
    }
    assert!(failures.is_empty(), "{} cases fail:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn the_fleet_has_40_twins_with_distinct_ids() {
    let fleet = fleet();
    let twins = [Collection::Devices, Collection::Modules].map(|collection| documents(&fleet, collection));
    let ids: BTreeSet<_> = twins.concat().iter().map(id).collect();
    assert_eq!(ids.len(), 40);
    assert_eq!(twins.concat().len(), 40);
}

#[test]
fn no_text_is_in_the_corpus_twice() {
    let mut texts = BTreeSet::new();
    for case in FILES.iter().flat_map(|(_, text)| case::parse(text)) {
        let text = format!("{:?}", case.text);
        assert!(texts.insert(text.clone()), "{text}");
    }
}
