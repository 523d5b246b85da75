//! Compares requests and responses with the description of the API, `tests/golden/openapi.json`.
//!
//! [`Service`](crate::Service) does so with every plain request. A response must have a status, a media type and a body
//! that are described; so must the body of a request that succeeds. One with status 429 or 503 must have the header
//! `Retry-After`. Paths that are not described, such as those of signed
//! URLs, are not compared.

mod schemas;

use std::sync::LazyLock;

use serde_json::Value;

use self::schemas::{Direction, Schemas};

const DOCUMENT: &str = include_str!("../golden/openapi.json");

static DESCRIPTION: LazyLock<Description> =
    LazyLock::new(|| Description::new(serde_json::from_str(DOCUMENT).expect("the golden file is JSON")));

/// A request and its response.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Exchange<'a> {
    pub(crate) verb: &'a str,
    /// Path and query, as sent.
    pub(crate) path: &'a str,
    /// The media type of the request, or empty.
    pub(crate) sent_type: &'a str,
    pub(crate) sent: &'a [u8],
    pub(crate) status: u16,
    /// The media type of the response, or empty.
    pub(crate) received_type: &'a str,
    pub(crate) received: &'a str,
    /// Whether the response has the header `Retry-After`.
    pub(crate) has_retry_after: bool,
}

/// How an exchange differs from the description.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Mismatch {
    #[error("status {0} is not described")]
    Status(u16),
    #[error("status {0} has no header Retry-After")]
    RetryAfter(u16),
    #[error("the {0} has a body, which is not described")]
    Body(Direction),
    #[error("the {0} has no body")]
    NoBody(Direction),
    #[error("the media type {1:?} of the {0} is not described")]
    MediaType(Direction, String),
    #[error("the query parameter {0:?} is not described")]
    Parameter(String),
    #[error("the {0} is not JSON: {1}")]
    NotJson(Direction, serde_json::Error),
    #[error("the {direction} is not a {schema}: {reason} at {place:?}")]
    Schema { direction: Direction, schema: String, reason: String, place: String },
}

/// Compares an exchange with the description of the API.
pub(crate) fn check(exchange: &Exchange<'_>) -> Result<(), Mismatch> {
    DESCRIPTION.check(exchange)
}

struct Description {
    document: Value,
    schemas: Schemas,
}

impl Description {
    fn new(document: Value) -> Self {
        Self { schemas: Schemas::new(&document["components"]), document }
    }

    fn check(&self, exchange: &Exchange<'_>) -> Result<(), Mismatch> {
        let Some(operation) = self.operation(exchange.verb, exchange.path) else { return Ok(()) };
        self.check_response(operation, exchange)?;
        if (200..300).contains(&exchange.status) { self.check_request(operation, exchange) } else { Ok(()) }
    }

    /// Returns the description of a request; `None` if there is none.
    fn operation(&self, verb: &str, path: &str) -> Option<&Value> {
        let path = path.split('?').next().unwrap_or_default();
        let paths = self.document["paths"].as_object()?;
        let (_, verbs) = paths.iter().find(|(template, _)| matches(template, path))?;
        verbs.get(verb.to_ascii_lowercase())
    }

    fn check_response(&self, operation: &Value, exchange: &Exchange<'_>) -> Result<(), Mismatch> {
        let responses = &operation["responses"];
        let described = responses.get(exchange.status.to_string());
        let response = match described {
            Some(response) => response,
            None if exchange.status >= 400 => &responses["default"],
            None => return Err(Mismatch::Status(exchange.status)),
        };
        let response = self.resolve(response);
        if matches!(exchange.status, 429 | 503)
            && response["headers"].get("Retry-After").is_some() != exchange.has_retry_after
        {
            return Err(Mismatch::RetryAfter(exchange.status));
        }
        let body = exchange.received.as_bytes();
        let Some(content) = response.get("content") else {
            return if body.is_empty() { Ok(()) } else { Err(Mismatch::Body(Direction::Response)) };
        };
        let schema = schema_of(content, exchange.received_type)
            .ok_or_else(|| Mismatch::MediaType(Direction::Response, exchange.received_type.to_owned()))?;
        self.schemas.check(Direction::Response, schema, body)
    }

    fn check_request(&self, operation: &Value, exchange: &Exchange<'_>) -> Result<(), Mismatch> {
        self.check_query(operation, exchange.path)?;
        let Some(body) = operation.get("requestBody") else { return Ok(()) };
        if exchange.sent.is_empty() {
            return if body["required"] == true { Err(Mismatch::NoBody(Direction::Request)) } else { Ok(()) };
        }
        // The hub reads a body that can only be JSON without regard to its media type.
        let only = body["content"].as_object().filter(|content| content.len() == 1);
        let only = only.and_then(|content| content.values().next()).map(schema_name);
        let schema = schema_of(&body["content"], exchange.sent_type)
            .or(only)
            .ok_or_else(|| Mismatch::MediaType(Direction::Request, exchange.sent_type.to_owned()))?;
        self.schemas.check(Direction::Request, schema, exchange.sent)
    }

    fn check_query(&self, operation: &Value, path: &str) -> Result<(), Mismatch> {
        let described = operation["parameters"].as_array().into_iter().flatten();
        let described = described.map(|parameter| self.resolve(parameter));
        let described: Vec<&Value> = described.filter(|parameter| parameter["in"] == "query").collect();
        let (_, query) = path.split_once('?').unwrap_or_default();
        // Where the hub does not read the version, it ignores it.
        let mut names = query
            .split('&')
            .filter_map(|part| part.split('=').next())
            .filter(|name| !["", "api-version"].contains(name));
        match names.find(|name| !described.iter().any(|parameter| parameter["name"] == *name)) {
            None => Ok(()),
            Some(name) => Err(Mismatch::Parameter(name.to_owned())),
        }
    }

    /// Follows a reference.
    fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        let target = value["$ref"].as_str().and_then(|reference| self.document.pointer(&reference[1..]));
        target.unwrap_or(value)
    }
}

/// Returns the name of the schema for a media type.
fn schema_of<'a>(content: &'a Value, media_type: &str) -> Option<&'a str> {
    let media_type = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    content.get(&media_type).or_else(|| content.get("*/*")).map(schema_name)
}

fn schema_name(content: &Value) -> &str {
    content["schema"]["$ref"].as_str().and_then(|text| text.rsplit('/').next()).expect("a named schema")
}

/// Returns whether a path is one of a template. The queues' names differ in capitalisation; the name of a file may contain
/// slashes.
fn matches(template: &str, path: &str) -> bool {
    if let Some(before) = template.strip_suffix("{file}") {
        return path.strip_prefix(before).is_some_and(|name| !name.is_empty());
    }
    let path = path.strip_suffix('/').unwrap_or(path);
    let fits = |(part, segment): (&str, &str)| {
        if part.starts_with('{') { !segment.is_empty() } else { part.eq_ignore_ascii_case(segment) }
    };
    template.split('/').count() == path.split('/').count()
        && template.split('/').zip(path.split('/')).all(fits)
}

#[cfg(test)]
mod tests;
