//! The description of one operation on one path.

use ferrohub_core::operations::{Identities, Operation};
use ferrohub_model::Right;
use serde_json::{Map, Value, json};

use super::components::failure_name;
use crate::heads::rest::described::Content;
use crate::heads::rest::routes::Route;

/// What a data action of Entra begins with.
const DATA_ACTIONS: &str = "Microsoft.Devices/IotHubs/";

/// Errors that every operation may have.
const COMMON_FAILURES: [u16; 2] = [400, 401];

/// Returns the paths of a route without those that differ from an earlier one in capitalisation only.
pub(super) fn documented_paths(route: &Route) -> impl Iterator<Item = &'static str> {
    let paths = route.paths;
    paths.iter().copied().enumerate().filter_map(|(index, path)| {
        let is_known = paths.iter().take(index).any(|earlier| earlier.eq_ignore_ascii_case(path));
        (!is_known).then_some(path)
    })
}

/// Returns a path of the table as the document writes it.
pub(super) fn template(path: &str) -> String {
    path.replace("{*", "{")
}

/// Returns the names of the parameters of a path.
fn parameters(path: &str) -> impl Iterator<Item = &str> {
    path.split('/')
        .filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| name.trim_start_matches('*'))
}

/// Describes the operation of a route on one of its paths.
pub(super) fn operation(route: &Route, path: &str) -> Value {
    let operation = route.operation;
    let mut members = Map::new();
    let mut set = |name: &str, value: Value| members.insert(name.to_owned(), value);
    set("operationId", operation_id(route, path).into());
    set("tags", json!([operation.group().name()]));
    set("summary", operation.description().into());
    let version = route.versioned.then_some("api-version");
    let used: Vec<Value> = parameters(path)
        .chain(version)
        .chain(route.described.parameters.iter().copied())
        .map(|name| reference("parameters", name))
        .collect();
    if !used.is_empty() {
        set("parameters", used.into());
    }
    if let Some(body) = route.described.body {
        // A message may be empty.
        let required = matches!(body, Content::Json(_));
        set("requestBody", json!({ "required": required, "content": content(body) }));
    }
    set("responses", responses(route).into());
    set("security", security(operation).into());
    set("x-ferrohub-operation", operation.name().into());
    if !operation.rights().is_empty() {
        let names = |set: &&[Right]| set.iter().map(|right| right.name()).collect::<Vec<_>>();
        set("x-ferrohub-rights", operation.rights().iter().map(names).collect());
    }
    match operation.data_actions() {
        [] => None,
        [action] => set("x-ferrohub-data-action", format!("{DATA_ACTIONS}{action}").into()),
        actions => {
            let names = actions.iter().map(|action| format!("{DATA_ACTIONS}{action}"));
            set("x-ferrohub-data-action", names.collect::<Vec<_>>().into())
        }
    };
    match operation.identities() {
        Identities::None => None,
        Identities::Devices => set("x-ferrohub-identities", json!(["device"])),
        Identities::Modules => set("x-ferrohub-identities", json!(["module"])),
        Identities::All => set("x-ferrohub-identities", json!(["device", "module"])),
    };
    members.into()
}

/// Returns the name of the operation. The paths after the first need other names, which say what they name in addition.
fn operation_id(route: &Route, path: &str) -> String {
    let name = route.operation.name();
    let first = route.paths.first().copied().unwrap_or_default();
    match parameters(path).find(|parameter| !parameters(first).any(|known| known == *parameter)) {
        None => name.to_owned(),
        Some("module") => format!("{name}OfModule"),
        Some("component") => format!("{name}OfComponent"),
        Some(_) => format!("{name}InPath"),
    }
}

pub(super) fn reference(kind: &str, name: &str) -> Value {
    json!({ "$ref": format!("#/components/{kind}/{name}") })
}

fn content(content: Content) -> Value {
    let described = |(media_type, schema): (&str, &str)| {
        (media_type.to_owned(), json!({ "schema": reference("schemas", schema) }))
    };
    content.media_types().into_iter().map(described).collect::<Map<_, _>>().into()
}

fn responses(route: &Route) -> Map<String, Value> {
    let described = &route.described;
    let mut responses = Map::new();
    if let Some(result) = described.result {
        let response = json!({ "description": "The result.", "content": content(result) });
        responses.insert("200".to_owned(), with_headers(response, described.headers));
    }
    if described.is_accepted {
        let response = json!({ "description": "Done. The device is notified." });
        responses.insert("202".to_owned(), with_headers(response, described.headers));
    }
    if described.may_be_empty {
        let text = if described.result.is_some() { "There is nothing to receive." } else { "Done." };
        responses.insert("204".to_owned(), json!({ "description": text }));
    }
    for status in COMMON_FAILURES.iter().chain(described.failures) {
        responses
            .insert(status.to_string(), reference("responses", &failure_name(route.errors, Some(*status))));
    }
    for status in described.partial {
        responses.insert(status.to_string(), partial_response(route, *status));
    }
    responses.insert("default".to_owned(), reference("responses", &failure_name(route.errors, None)));
    responses
}

/// Adds headers to the description of a response.
fn with_headers(mut response: Value, headers: &[&str]) -> Value {
    if let (Some(members), false) = (response.as_object_mut(), headers.is_empty()) {
        let headers = headers.iter().map(|name| ((*name).to_owned(), reference("headers", name)));
        members.insert("headers".to_owned(), headers.collect::<Map<_, _>>().into());
    }
    response
}

/// Returns a response that has the body of the result. With the status of an error, it may also be an error of the whole request:
/// the name of that schema ends with `OrError`.
fn partial_response(route: &Route, status: u16) -> Value {
    let suffix = if status >= 400 { "OrError" } else { "" };
    let body = |(media_type, schema): (&str, &str)| {
        (media_type.to_owned(), json!({ "schema": reference("schemas", &format!("{schema}{suffix}")) }))
    };
    let media_types = route.described.result.into_iter().flat_map(Content::media_types);
    json!({
        "description": "What was done, and what was not.",
        "content": media_types.map(body).collect::<Map<_, _>>(),
    })
}

/// Returns the alternative credentials.
fn security(operation: Operation) -> Vec<Value> {
    let mut schemes = vec![json!({ "sas": [] })];
    if !operation.data_actions().is_empty() {
        schemes.push(json!({ "entra": [] }));
    }
    if operation.identities() != Identities::None {
        schemes.push(json!({ "certificate": [] }));
    }
    schemes
}
