//! The parts of the document that operations refer to.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::operation::reference;
use crate::heads::rest::described::JSON;
use crate::heads::rest::error::ErrorFormat;
use crate::heads::rest::table::ROUTES;

/// The described schemas, parameters and headers: each file is a part of `components`. A test checks that they are valid.
pub(super) const FILES: &[(&str, &str)] = &[
    ("requests", include_str!("../schemas/requests.json")),
    ("errors", include_str!("../schemas/errors.json")),
    ("bulk", include_str!("../schemas/bulk.json")),
    ("registry", include_str!("../schemas/registry.json")),
    ("twins", include_str!("../schemas/twins.json")),
    ("digital_twins", include_str!("../schemas/digital_twins.json")),
    ("queries", include_str!("../schemas/queries.json")),
    ("configurations", include_str!("../schemas/configurations.json")),
    ("jobs", include_str!("../schemas/jobs.json")),
    ("methods", include_str!("../schemas/methods.json")),
    ("telemetry", include_str!("../schemas/telemetry.json")),
    ("cloud_to_device", include_str!("../schemas/cloud_to_device.json")),
    ("files", include_str!("../schemas/files.json")),
    ("import_export", include_str!("../schemas/import_export.json")),
    ("policies", include_str!("../schemas/policies.json")),
    ("authorities", include_str!("../schemas/authorities.json")),
    ("faults", include_str!("../schemas/faults.json")),
];

/// Returns the components of the document.
pub(super) fn components() -> Map<String, Value> {
    let mut components: Map<String, Value> = Map::new();
    for (_, text) in FILES {
        let parts: Map<String, Value> = serde_json::from_str(text).unwrap_or_default();
        for (kind, parts) in parts {
            let all = components.entry(kind).or_insert_with(|| json!({}));
            if let (Value::Object(all), Value::Object(parts)) = (all, parts) {
                all.extend(parts);
            }
        }
    }
    components.insert("responses".to_owned(), failures().into());
    components.insert("securitySchemes".to_owned(), security_schemes());
    components
}

/// Returns the name of the response for an error with this status, or with any other.
pub(super) fn failure_name(format: ErrorFormat, status: Option<u16>) -> String {
    format!("{}{}", schema_of(format), status.map(|status| status.to_string()).unwrap_or_default())
}

fn schema_of(format: ErrorFormat) -> &'static str {
    match format {
        ErrorFormat::Registry => "Error",
        ErrorFormat::Nested => "NestedError",
    }
}

/// Returns what a status means.
pub(super) fn failure_description(status: Option<u16>) -> Option<&'static str> {
    Some(match status {
        Some(400) => "The request is not valid.",
        Some(401) => "The caller is not authenticated, or lacks the right.",
        Some(403) => "A limit of the hub or of the device is reached.",
        Some(404) => "What the request names does not exist, or the device is not connected.",
        Some(409) => {
            "It exists already, it cannot be changed, or a reader with an owner level reads the partition."
        }
        Some(412) => "The etag is another one, or the lock is lost.",
        Some(413) => "The body or message is too large, or a limit of the registry is reached.",
        Some(429) => "There are too many requests, connections, readers or faults.",
        Some(502) => "The response of the device is not valid.",
        Some(504) => "The device did not respond in time.",
        Some(_) => return None,
        None => {
            "Any other error, such as 429 (too many connections), 500 (the hub failed) or 503 (the hub starts, stops or \
             is overloaded)."
        }
    })
}

/// Returns the responses with errors, for each format and status that a row has.
fn failures() -> Map<String, Value> {
    let mut responses = Map::new();
    for format in [ErrorFormat::Registry, ErrorFormat::Nested] {
        let routes = ROUTES.iter().filter(|route| route.errors == format);
        let statuses: BTreeSet<u16> = routes.flat_map(|route| route.described.failures).copied().collect();
        let statuses = [400, 401].into_iter().chain(statuses).map(Some).chain([None]);
        for status in statuses {
            responses.insert(failure_name(format, status), failure(format, status));
        }
    }
    responses
}

fn failure(format: ErrorFormat, status: Option<u16>) -> Value {
    let mut headers = Map::new();
    let waits = matches!(status, None | Some(429)).then_some("Retry-After");
    for name in ["iothub-errorcode", "x-ms-request-id"].into_iter().chain(waits) {
        headers.insert(name.to_owned(), reference("headers", name));
    }
    json!({
        "description": failure_description(status).unwrap_or_default(),
        "headers": headers,
        "content": { JSON: { "schema": reference("schemas", schema_of(format)) } },
    })
}

fn security_schemes() -> Value {
    json!({
        "sas": {
            "type": "apiKey",
            "in": "header",
            "name": "Authorization",
            "description": "A SAS token of a shared access policy, a device or a module: \
                `SharedAccessSignature sr=…&sig=…&se=…`. `x-ferrohub-rights` has the alternative sets of rights that a \
                policy needs, `x-ferrohub-identities` which identities may use their own token.",
        },
        "entra": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "A token of Microsoft Entra, or of the development issuer. Its roles need \
                `x-ferrohub-data-action`.",
        },
        "certificate": {
            "type": "mutualTLS",
            "description": "The client certificate of a device or module.",
        },
    })
}
