//! Reads the files with cases.

use serde_json::Value;

/// A text with its expected result.
pub(crate) struct Case {
    /// The line of the text in its file.
    pub(crate) line: usize,
    pub(crate) text: Text,
    pub(crate) expected: Expected,
}

/// What is parsed.
#[derive(Debug)]
pub(crate) enum Text {
    Query(String),
    Condition(String),
}

/// What must come out.
#[derive(Debug, PartialEq)]
pub(crate) enum Expected {
    /// The ids of whole documents.
    Ids(Vec<String>),
    Rows(Vec<Value>),
    /// The type of the rows and the written plan.
    Plan(String),
    /// The result of a condition; `None` is undefined.
    Truth(Option<bool>),
    Error(String),
}

pub(crate) fn parse(file: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut text = None;
    let lines =
        file.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    for (index, line) in lines {
        let (key, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.trim().to_owned();
        let expected = match key {
            "query" | "condition" => {
                assert!(text.is_none(), "line {}: the case before has no expected result", index + 1);
                text = Some(if key == "query" { Text::Query(value) } else { Text::Condition(value) });
                continue;
            }
            "ids" => {
                Expected::Ids(value.split(", ").filter(|id| !id.is_empty()).map(str::to_owned).collect())
            }
            "row" => {
                let row = serde_json::from_str(&value)
                    .unwrap_or_else(|error| panic!("line {}: {error}", index + 1));
                if text.is_none()
                    && let Some(Case { expected: Expected::Rows(rows), .. }) = cases.last_mut()
                {
                    rows.push(row);
                    continue;
                }
                Expected::Rows(vec![row])
            }
            "no rows" => Expected::Rows(Vec::new()),
            "plan" => Expected::Plan(value),
            "truth" => Expected::Truth(match value.as_str() {
                "true" => Some(true),
                "false" => Some(false),
                "undefined" => None,
                other => panic!("line {}: unknown truth {other}", index + 1),
            }),
            "error" => Expected::Error(value),
            other => panic!("line {}: unknown key {other}", index + 1),
        };
        let text = text.take().unwrap_or_else(|| panic!("line {}: there is no text", index + 1));
        cases.push(Case { line: index, text, expected });
    }
    assert!(text.is_none(), "the last case has no expected result");
    cases
}
