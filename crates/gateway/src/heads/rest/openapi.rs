//! The description of the REST API: an OpenAPI 3.1 document, served at `/openapi.json` to anybody.
//!
//! It is built from the table of the API and the table of operations. `schemas/` describes the bodies and parameters, one
//! file per feature. The golden file `tests/golden/openapi.json` is the document for people to review; the acceptance
//! tests validate the bodies of their requests and responses against it.

mod components;
mod operation;

use std::sync::LazyLock;

use axum::Router;
use axum::http::{HeaderValue, header};
use axum::routing::get;
use bytes::Bytes;
use ferrohub_core::operations::OperationGroup;
use serde_json::{Map, Value, json};

use self::components::components;
use self::operation::{documented_paths, operation, template};
use super::table::ROUTES;

/// The version of the specification that the document follows.
const OPENAPI_VERSION: &str = "3.1.0";

/// The document as it is sent. It is the same for the life of the process.
static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| document().to_string().into());

/// Returns the route `/openapi.json`.
pub(crate) fn routes() -> Router {
    let content_type = HeaderValue::from_static("application/json; charset=utf-8");
    Router::new()
        .route("/openapi.json", get(async || ([(header::CONTENT_TYPE, content_type)], DOCUMENT.clone())))
}

/// Builds the document. The order of its members is that of their names.
fn document() -> Value {
    let tags =
        OperationGroup::ALL.map(|group| json!({ "name": group.name(), "description": group.description() }));
    json!({
        "openapi": OPENAPI_VERSION,
        "info": {
            "title": "Ferrohub",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "MIT or Apache 2.0", "identifier": "MIT OR Apache-2.0" },
            "description": "The HTTPS API of a Ferrohub hub, for services and devices. The signed URLs of file uploads \
                have the API of Azure Storage, which is not described here.",
        },
        "servers": [{ "url": "/", "description": "This hub." }],
        "tags": tags,
        "paths": paths(),
        "components": components(),
    })
}

fn paths() -> Map<String, Value> {
    let mut paths: Map<String, Value> = Map::new();
    for route in ROUTES {
        for path in documented_paths(route) {
            let verbs = paths.entry(template(path)).or_insert_with(|| json!({}));
            if let Some(verbs) = verbs.as_object_mut() {
                verbs.insert(route.verb.name().to_ascii_lowercase(), operation(route, path));
            }
        }
    }
    paths
}

#[cfg(test)]
mod tests;
