//! The corpus of the crate `ferrohub-query`: its fleet in the store, its queries, and their results that were written by
//! hand.

#[path = "../../../query/tests/corpus/case.rs"]
mod case;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ferrohub_core::queries::PageItems;
use ferrohub_core::registry::{Authentication, Identity, Thumbprint};
use ferrohub_core::twins::{Configured, Section, TwinDocument};
use ferrohub_model::device::Status;
use ferrohub_model::{SharedAccessKey, Timestamp};
use ferrohub_query::plan::{Collection, Output};
use ferrohub_query::{Dialect, Filter, Limits, Query};
use serde_json::{Map, Value};

use self::case::{Case, Expected, Text};
use crate::fixture::{Fleet, GENERATION, Stored};

const FLEET: &str = include_str!("../../../query/tests/corpus/fleet.json");
const FILES: [(&str, &str); 2] = [
    ("devices.txt", include_str!("../../../query/tests/corpus/devices.txt")),
    ("modules_and_jobs.txt", include_str!("../../../query/tests/corpus/modules_and_jobs.txt")),
];

fn text<'a>(document: &'a Value, key: &str) -> Option<&'a str> {
    document[key].as_str()
}

fn section(value: &Value) -> Section {
    let mut values = value.as_object().cloned().unwrap_or_default();
    let metadata =
        values.remove("$metadata").and_then(|metadata| metadata.as_object().cloned()).unwrap_or_default();
    let version = values.remove("$version").and_then(|version| version.as_u64()).unwrap_or(1);
    Section { values, metadata, version }
}

/// Returns the identity and the twin of a document of the fleet.
fn stored(document: &Value) -> Stored {
    let device = text(document, "deviceId").unwrap();
    let id =
        text(document, "moduleId").map_or_else(|| device.to_owned(), |module| format!("{device}/{module}"));
    let time = |key| text(document, key).and_then(Timestamp::parse).unwrap_or(Timestamp::NEVER);
    let thumbprint = |key| text(&document["x509Thumbprint"], key).and_then(Thumbprint::parse);
    let key = |byte| SharedAccessKey::from_bytes(&[byte; 32]).unwrap();
    let identity = Identity {
        id: id.parse().unwrap(),
        generation_id: GENERATION.to_owned(),
        etag: text(document, "deviceEtag").unwrap_or_default().to_owned(),
        status: if text(document, "status") == Some("disabled") { Status::Disabled } else { Status::Enabled },
        status_reason: text(document, "statusReason").map(str::to_owned),
        status_updated: time("statusUpdateTime"),
        authentication: match text(document, "authenticationType") {
            Some("selfSigned") => Authentication::SelfSigned {
                primary: thumbprint("primaryThumbprint"),
                secondary: thumbprint("secondaryThumbprint"),
            },
            Some("certificateAuthority") => Authentication::CertificateAuthority,
            Some("none") => Authentication::None,
            _ => Authentication::Sas { primary: key(1), secondary: key(2) },
        },
        iot_edge: document["capabilities"]["iotEdge"] == true,
        device_scope: text(document, "deviceScope").map(str::to_owned),
        parent_scopes: serde_json::from_value(document["parentScopes"].clone()).unwrap_or_default(),
        managed_by: None,
        connection_state_updated: Timestamp::NEVER,
        last_activity: time("lastActivityTime"),
        messages: 0,
    };
    let etag = STANDARD.decode(text(document, "etag").unwrap_or_default()).unwrap_or_default();
    let twin = TwinDocument {
        tags: document["tags"].as_object().cloned().unwrap_or_default(),
        desired: section(&document["properties"]["desired"]),
        reported: section(&document["properties"]["reported"]),
        updates: etag.try_into().map_or(1, u64::from_be_bytes),
        model_id: text(document, "modelId").unwrap_or_default().to_owned(),
        configured: Configured {
            configurations: serde_json::from_value(document["configurations"].clone()).unwrap_or_default(),
            ..Configured::default()
        },
    };
    (identity, Some(twin))
}

fn parse(text: &Text) -> Option<Query> {
    match text {
        Text::Query(text) => Query::parse(text, Dialect::Twins, &Limits::QUERY).ok(),
        Text::Condition(text) => {
            let filter = Filter::parse(text, Dialect::Twins, &Limits::QUERY).ok()?;
            Some(Query { filter, output: Output::Documents, top: None })
        }
    }
}

fn result(items: PageItems) -> Expected {
    match items {
        PageItems::Twins(twins) => {
            Expected::Ids(twins.iter().map(|(identity, _)| identity.id.as_str().to_owned()).collect())
        }
        PageItems::Rows(rows) => Expected::Rows(rows.into_iter().map(Value::from).collect()),
    }
}

fn limited(items: PageItems, top: Option<u64>) -> PageItems {
    let top = top.map_or(usize::MAX, |top| usize::try_from(top).unwrap());
    match items {
        PageItems::Twins(twins) => PageItems::Twins(twins.into_iter().take(top).collect()),
        PageItems::Rows(rows) => PageItems::Rows(rows.into_iter().take(top).collect()),
    }
}

/// Members of the documents that the hub derives from others or does not have, so that the fleet's are other ones.
const DERIVED: [&str; 4] = ["connectionState", "lastActivityTime", "version", "cloudToDeviceMessageCount"];

/// Conditions on what a twin in the store cannot be: without sections, and with a thumbprint of four digits.
const IMPOSSIBLE: [&str; 4] = [
    "x509Thumbprint.primaryThumbprint = 'AB12'",
    "x509Thumbprint.primaryThumbprint != null",
    "NOT IS_OBJECT(tags)",
    "NOT IS_DEFINED(properties)",
];

#[tokio::test]
async fn the_queries_of_the_corpus_have_their_results_in_the_store() {
    // The hub has no such id.
    let fleet = FLEET.replace("sensor-é", "sensor-x");
    let fleet: Map<String, Value> = serde_json::from_str(&fleet).unwrap();
    let documents = ["devices", "devices.modules"].iter().flat_map(|name| fleet[*name].as_array().unwrap());
    let mut twins: Vec<Stored> = documents.map(stored).collect();
    // A module needs its device; those of the fleet that have none get one that no query finds.
    let known: Vec<String> = twins.iter().map(|(identity, _)| identity.id.as_str().to_owned()).collect();
    let missing: Vec<String> = twins
        .iter()
        .map(|(identity, _)| identity.id.device_str().to_owned())
        .filter(|device| !known.contains(device))
        .collect();
    assert_eq!(missing, Vec::<String>::new());
    twins.dedup_by(|one, other| one.0.id == other.0.id);
    let store = Fleet::new(twins).await;
    let (mut checked, mut failures) = (0, Vec::new());
    for (file, cases) in FILES {
        for Case { line, text, expected } in case::parse(&cases.replace("sensor-é", "sensor-x")) {
            let Some(mut query) = parse(&text) else { continue };
            if query.filter.collection == Collection::Jobs {
                continue;
            }
            let top = query.top.take();
            let items = store.check(&query, 7).await;
            let is_derived = DERIVED.iter().any(|member| query.to_string().contains(member));
            let is_impossible = IMPOSSIBLE.iter().any(|condition| query.to_string().ends_with(condition));
            if is_derived || is_impossible || !matches!(expected, Expected::Ids(_) | Expected::Rows(_)) {
                continue;
            }
            checked += 1;
            let result = result(limited(items, top));
            if result != expected {
                failures
                    .push(format!("{file}:{line}: {text:?}\n  expected {expected:?}\n  but got  {result:?}"));
            }
        }
    }
    assert!(failures.is_empty(), "{} cases fail:\n{}", failures.len(), failures.join("\n"));
    assert!(checked > 150, "{checked}");
}
