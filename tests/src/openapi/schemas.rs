//! The schemas of bodies, stricter than the description says it to clients: a response has no member that is not described.
//! And as lenient as the hub: it reads enumerations without regard to case.

use std::collections::HashMap;
use std::fmt;
use std::sync::OnceLock;

use jsonschema::Validator;
use serde_json::{Value, json};

use super::Mismatch;

/// Who sent a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Direction {
    Request,
    Response,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Request => "request",
            Self::Response => "response",
        })
    }
}

/// The schemas by name. Each is compiled when it is used for the first time.
pub(super) struct Schemas {
    requests: Value,
    responses: Value,
    compiled: HashMap<(Direction, String), OnceLock<Validator>>,
}

impl Schemas {
    /// Takes the schemas from the `components` of the document.
    pub(super) fn new(components: &Value) -> Self {
        let schemas = components["schemas"].as_object().expect("schemas");
        let changed = |change: fn(&mut Value)| {
            let mut schemas = schemas.clone();
            schemas.values_mut().for_each(|schema| visit(schema, change));
            json!({ "schemas": schemas })
        };
        let directions = [Direction::Request, Direction::Response];
        let names =
            directions.iter().flat_map(|direction| schemas.keys().map(|name| (*direction, name.clone())));
        Self {
            requests: changed(ignore_case),
            responses: changed(close),
            compiled: names.map(|key| (key, OnceLock::new())).collect(),
        }
    }

    /// Compares a body with a schema.
    pub(super) fn check(&self, direction: Direction, name: &str, body: &[u8]) -> Result<(), Mismatch> {
        let schema = &self.components(direction)["schemas"][name];
        let text = String::from_utf8_lossy(body);
        if !schema["x-ferrohub-line"].is_null() {
            return text
                .lines()
                .filter(|line| !line.is_empty())
                .try_for_each(|line| self.check_json(direction, "Event", line));
        }
        if !schema["x-ferrohub-data"].is_null() {
            let mut data = text.lines().filter_map(|line| line.strip_prefix("data: "));
            return data.try_for_each(|data| self.check_json(direction, "Event", data));
        }
        match schema["contentMediaType"].as_str() {
            Some("application/octet-stream") => Ok(()),
            _ => self.check_json(direction, name, &text),
        }
    }

    fn check_json(&self, direction: Direction, name: &str, text: &str) -> Result<(), Mismatch> {
        let value: Value = serde_json::from_str(text).map_err(|error| Mismatch::NotJson(direction, error))?;
        if let Some(error) = self.validator(direction, name).iter_errors(&value).next() {
            let (reason, place) = (error.to_string(), error.instance_path().to_string());
            return Err(Mismatch::Schema { direction, schema: name.to_owned(), reason, place });
        }
        // `Message` is JSON as text.
        match (name, value["Message"].as_str()) {
            ("NestedError", Some(details)) => self.check_json(direction, "ErrorDetails", details),
            _ => Ok(()),
        }
    }

    fn components(&self, direction: Direction) -> &Value {
        match direction {
            Direction::Request => &self.requests,
            Direction::Response => &self.responses,
        }
    }

    fn validator(&self, direction: Direction, name: &str) -> &Validator {
        let compiled = &self.compiled[&(direction, name.to_owned())];
        compiled.get_or_init(|| {
            let schema = json!({
                "$ref": format!("#/components/schemas/{name}"),
                "components": self.components(direction),
            });
            let options = jsonschema::draft202012::options().should_validate_formats(true);
            options.build(&schema).unwrap_or_else(|error| panic!("the schema {name} is not valid: {error}"))
        })
    }
}

/// Calls `change` with a schema and all schemas in it.
fn visit(schema: &mut Value, change: fn(&mut Value)) {
    change(schema);
    let Some(keywords) = schema.as_object_mut() else { return };
    for (keyword, value) in keywords {
        match (keyword.as_str(), value) {
            ("properties", Value::Object(schemas)) => {
                schemas.values_mut().for_each(|schema| visit(schema, change))
            }
            ("anyOf" | "oneOf", Value::Array(schemas)) => {
                schemas.iter_mut().for_each(|schema| visit(schema, change))
            }
            ("items" | "additionalProperties", schema) => visit(schema, change),
            _ => {}
        }
    }
}

/// Forbids members that are not described.
fn close(schema: &mut Value) {
    if let Some(keywords) = schema.as_object_mut().filter(|keywords| keywords.contains_key("properties")) {
        keywords.entry("additionalProperties").or_insert(false.into());
    }
}

/// Allows the names of an enumeration in any case.
fn ignore_case(schema: &mut Value) {
    let Some(keywords) = schema.as_object_mut() else { return };
    let Some(names) = keywords.get("enum").and_then(Value::as_array) else { return };
    let Some(names) = names.iter().map(Value::as_str).collect::<Option<Vec<_>>>() else { return };
    let any_case = |letter: char| format!("[{}{}]", letter.to_ascii_lowercase(), letter.to_ascii_uppercase());
    let names: Vec<String> = names.iter().map(|name| name.chars().map(any_case).collect()).collect();
    keywords.insert("pattern".to_owned(), format!("^({})$", names.join("|")).into());
    keywords.remove("enum");
}
