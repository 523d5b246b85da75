use std::collections::{BTreeSet, HashSet};

use super::components::{FILES, failure_description};
use super::*;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/openapi.json");

/// Calls `visit` with every object in the value.
fn visit_objects<'a>(value: &'a Value, visit: &mut impl FnMut(&'a Map<String, Value>)) {
    match value {
        Value::Object(members) => {
            visit(members);
            members.values().for_each(|member| visit_objects(member, visit));
        }
        Value::Array(items) => items.iter().for_each(|item| visit_objects(item, visit)),
        _ => {}
    }
}

fn references(document: &Value) -> BTreeSet<&str> {
    let mut references = BTreeSet::new();
    visit_objects(document, &mut |members| references.extend(members.get("$ref").and_then(Value::as_str)));
    references
}

/// Returns the operations of the document with their paths.
fn operations(document: &Value) -> Vec<(&str, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    paths
        .iter()
        .flat_map(|(path, verbs)| {
            verbs.as_object().unwrap().values().map(move |operation| (path.as_str(), operation))
        })
        .collect()
}

/// If a change of the API is intended, run this test with `UPDATE_GOLDEN=1` and add the change to `CHANGELOG.md`.
#[test]
fn the_document_is_the_golden_file() {
    let text = serde_json::to_string_pretty(&document()).unwrap() + "\n";
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(GOLDEN, &text).unwrap();
    }
    let golden = std::fs::read_to_string(GOLDEN).unwrap();
    assert!(golden == text, "the description of the API has changed; see the comment of this test");
}

#[test]
fn every_file_of_schemas_is_json_and_describes_each_thing_once() {
    let mut names = HashSet::new();
    for (file, text) in FILES {
        let parts: Map<String, Value> =
            serde_json::from_str(text).unwrap_or_else(|error| panic!("{file}: {error}"));
        for (kind, parts) in parts {
            for name in parts.as_object().unwrap().keys() {
                assert!(names.insert(format!("{kind}/{name}")), "{file}: {kind}/{name} is described twice");
            }
        }
    }
}

#[test]
fn every_reference_leads_somewhere_and_every_component_is_used() {
    let document = document();
    let references = references(&document);
    for reference in &references {
        let target = document.pointer(reference.strip_prefix('#').unwrap());
        assert!(target.is_some(), "{reference} is not described");
    }
    for (kind, parts) in document["components"].as_object().unwrap() {
        for name in parts.as_object().unwrap().keys().filter(|_| kind != "securitySchemes") {
            let reference = format!("#/components/{kind}/{name}");
            assert!(references.contains(reference.as_str()), "{reference} is not used");
        }
    }
}

#[test]
fn every_parameter_has_the_name_by_which_the_table_calls_it() {
    let document = document();
    for (name, parameter) in document["components"]["parameters"].as_object().unwrap() {
        assert_eq!(parameter["name"], name.as_str());
        assert!(parameter["schema"].is_object(), "{name}");
        let place = parameter["in"].as_str().unwrap();
        assert!(["path", "query", "header"].contains(&place), "{name}");
        assert_eq!(parameter["required"] == true, place == "path" || name == "iothub-to", "{name}");
    }
}

#[test]
fn every_parameter_of_a_path_is_described_and_no_other() {
    let document = document();
    for (path, operation) in operations(&document) {
        let used = operation["parameters"].as_array().into_iter().flatten();
        let used = used
            .map(|used| document.pointer(used["$ref"].as_str().unwrap().trim_start_matches('#')).unwrap());
        let described: BTreeSet<&str> = used
            .filter(|parameter| parameter["in"] == "path")
            .map(|parameter| parameter["name"].as_str().unwrap())
            .collect();
        let in_path: BTreeSet<&str> =
            path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}')).collect();
        assert_eq!(described, in_path, "{path}");
    }
}

#[test]
fn operation_ids_are_unique_and_every_row_has_the_name_of_its_operation() {
    let document = document();
    let mut ids = HashSet::new();
    for (path, operation) in operations(&document) {
        assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{path}");
    }
    for route in ROUTES {
        assert!(ids.contains(route.operation.name()), "{:?}", route.operation);
    }
    assert!(ids.contains("getTwinOfModule") && ids.contains("completeUploadInPath"));
}

#[test]
fn every_error_of_a_row_says_what_it_means() {
    for route in ROUTES {
        for status in route.described.failures {
            assert!(failure_description(Some(*status)).is_some(), "{status} of {:?}", route.operation);
        }
    }
}

#[test]
fn rights_data_actions_and_credentials_are_those_of_the_table_of_operations() {
    let document = document();
    let verbs = &document["paths"]["/statistics/service"]["get"];
    assert_eq!(verbs["x-ferrohub-rights"], json!([["ServiceConnect"], ["RegistryRead"]]));
    assert_eq!(verbs["x-ferrohub-data-action"], "Microsoft.Devices/IotHubs/statistics/read");
    assert_eq!(verbs["security"], json!([{ "sas": [] }, { "entra": [] }]));
    let verbs = &document["paths"]["/devices/{id}/messages/events"]["post"];
    assert!(verbs["x-ferrohub-rights"].is_null() && verbs["x-ferrohub-data-action"].is_null());
    assert_eq!(verbs["x-ferrohub-identities"], json!(["device", "module"]));
    assert_eq!(verbs["security"], json!([{ "sas": [] }, { "certificate": [] }]));
}
