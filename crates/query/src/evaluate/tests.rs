use serde_json::{Value, json};

use crate::{Dialect, Filter, Limits};

const TRUE: Option<bool> = Some(true);
const FALSE: Option<bool> = Some(false);
const UNDEFINED: Option<bool> = None;

fn twin() -> Value {
    json!({
        "deviceId": "fan-7",
        "status": "enabled",
        "jobId": "not a member of a twin",
        "parentScopes": ["scope-1", "scope-2"],
        "capabilities": { "iotEdge": false },
        "tags": {
            "none": null, "yes": true, "no": false, "seven": 7, "text": "seven", "empty": {}, "list": [1, null, "x", [2]],
            "large": 9_007_199_254_740_993_i64, "half": 0.5, "Upper": 1, "upper": 2, "a b": { "'": 3 },
        },
        "properties": {
            "desired": { "speed": 3, "$version": 9, "$metadata": { "speed": { "$lastUpdated": "2026-01-02" } } },
            "reported": { "speed": 3.0, "$version": 4 },
        },
        "configurations": { "c-1": { "status": "Applied" } },
    })
}

fn assert_results(cases: &[(&str, Option<bool>)]) {
    for (text, expected) in cases {
        let filter = Filter::parse(text, Dialect::Twins, &Limits::QUERY)
            .unwrap_or_else(|error| panic!("{text}: {error}"));
        let twin = twin();
        assert_eq!(filter.condition.as_ref().unwrap().evaluate(&twin), *expected, "{text}");
        assert_eq!(filter.keeps(&twin), *expected == TRUE, "{text}");
    }
}

#[test]
fn and_or_and_not_have_three_values() {
    for (left, right, and, or) in [
        ("true", "true", TRUE, TRUE),
        ("true", "false", FALSE, TRUE),
        ("true", "undefined", UNDEFINED, TRUE),
        ("false", "true", FALSE, TRUE),
        ("false", "false", FALSE, FALSE),
        ("false", "undefined", FALSE, UNDEFINED),
        ("undefined", "true", UNDEFINED, TRUE),
        ("undefined", "false", FALSE, UNDEFINED),
        ("undefined", "undefined", UNDEFINED, UNDEFINED),
    ] {
        assert_results(&[(&format!("{left} AND {right}"), and), (&format!("{left} OR {right}"), or)]);
    }
    assert_results(&[("NOT true", FALSE), ("NOT false", TRUE), ("NOT undefined", UNDEFINED)]);
}

#[test]
fn only_booleans_are_true_or_false() {
    assert_results(&[
        ("tags.yes", TRUE),
        ("NOT tags.no", TRUE),
        ("tags.seven", UNDEFINED),
        ("tags.none OR false", UNDEFINED),
        ("NOT tags.missing", UNDEFINED),
        ("tags.text AND false", FALSE),
        ("(tags.seven = 7) = tags.yes", TRUE),
    ]);
}

#[test]
fn a_comparison_with_a_missing_value_or_of_two_types_is_undefined() {
    for operator in ["=", "!=", "<", "<=", ">", ">="] {
        for pair in [
            ("tags.missing", "1"),
            ("tags.missing", "undefined"),
            ("undefined", "undefined"),
            ("tags.seven", "'7'"),
            ("tags.text", "7"),
            ("tags.yes", "1"),
            ("tags.yes", "'true'"),
            ("tags.empty", "tags.empty"),
            ("tags.list", "tags.list"),
            ("tags.list", "['x']"),
            ("tags.empty", "null"),
            ("null", "tags.list"),
            ("tags.missing", "null"),
            ("tags.seven.inner", "1"),
            ("other.seven", "7"),
            ("jobId", "jobId"),
        ] {
            assert_results(&[(&format!("{} {operator} {}", pair.0, pair.1), UNDEFINED)]);
        }
    }
}

#[test]
fn null_equals_null_only_and_has_no_order() {
    assert_results(&[
        ("tags.none = null", TRUE),
        ("tags.none != null", FALSE),
        ("tags.seven = null", FALSE),
        ("tags.seven != null", TRUE),
        ("tags.none = tags.text", FALSE),
        ("null = null", TRUE),
        ("tags.none < null", UNDEFINED),
        ("tags.none >= null", UNDEFINED),
        ("tags.none < 1", UNDEFINED),
        ("null > 'a'", UNDEFINED),
    ]);
}

#[test]
fn booleans_numbers_and_strings_have_their_natural_order() {
    assert_results(&[
        ("tags.no < tags.yes", TRUE),
        ("tags.seven >= 7.0", TRUE),
        ("tags.seven > 7", FALSE),
        ("tags.half = .5", TRUE),
        ("0 = -0.0", TRUE),
        ("tags.large > 9007199254740992", TRUE),
        ("tags.large = 9007199254740993", TRUE),
        ("tags.large = 9007199254740992.0", FALSE),
        ("tags.text > 'Seven'", TRUE),
        ("'Z' < 'a'", TRUE),
        ("'é' > 'z'", TRUE),
        ("'' < 'a'", TRUE),
        // In UTF-16 the order would be the opposite.
        (r"'\uffff' < '\ud83d\ude00'", TRUE),
        ("properties.desired.speed = properties.reported.speed", TRUE),
    ]);
}

#[test]
fn a_value_is_in_a_list_if_it_equals_an_element() {
    assert_results(&[
        ("tags.seven IN [1, 7.0]", TRUE),
        ("tags.seven IN ['7', true, null]", FALSE),
        ("tags.seven NOT IN ['7']", TRUE),
        ("tags.seven NIN [7]", FALSE),
        ("tags.none IN [null]", TRUE),
        ("tags.none IN ['a']", FALSE),
        ("tags.empty IN [1]", FALSE),
        ("tags.empty NOT IN [1]", TRUE),
        ("tags.list IN [1]", FALSE),
        ("tags.missing IN [1]", UNDEFINED),
        ("tags.missing NOT IN [1]", UNDEFINED),
        ("tags.seven IN [undefined]", FALSE),
        ("undefined IN [undefined]", UNDEFINED),
    ]);
}

#[test]
fn functions_tell_whether_a_value_is_there_and_its_type() {
    let types = ["IS_NULL", "IS_BOOL", "IS_NUMBER", "IS_STRING", "IS_OBJECT", "IS_ARRAY", "IS_PRIMITIVE"];
    for (value, of_type) in [
        ("tags.none", Some("IS_NULL")),
        ("tags.no", Some("IS_BOOL")),
        ("tags.half", Some("IS_NUMBER")),
        ("deviceId", Some("IS_STRING")),
        ("tags", Some("IS_OBJECT")),
        ("parentScopes", Some("IS_ARRAY")),
        ("[1]", Some("IS_ARRAY")),
        ("tags.missing", None),
        ("3 / 0", None),
    ] {
        assert_results(&[(&format!("is_defined({value})"), Some(of_type.is_some()))]);
        for function in types {
            let is_primitive = function == "IS_PRIMITIVE"
                && matches!(of_type, Some("IS_NULL" | "IS_BOOL" | "IS_NUMBER" | "IS_STRING"));
            let expected = of_type == Some(function) || is_primitive;
            assert_results(&[(&format!("{function}({value})"), Some(expected))]);
        }
    }
}

#[test]
fn string_functions_need_two_strings_and_respect_the_case() {
    assert_results(&[
        ("STARTSWITH(deviceId, 'fan')", TRUE),
        ("STARTSWITH(deviceId, 'Fan')", FALSE),
        ("STARTSWITH(deviceId, '')", TRUE),
        ("ENDSWITH(deviceId, '-7')", TRUE),
        ("CONTAINS(deviceId, 'n-')", TRUE),
        ("CONTAINS(deviceId, '%')", FALSE),
        ("STARTSWITH(tags.seven, '7')", UNDEFINED),
        ("STARTSWITH(deviceId, tags.missing)", UNDEFINED),
        ("ENDSWITH(tags.none, null)", UNDEFINED),
        ("CONTAINS(parentScopes, 'scope-1')", UNDEFINED),
    ]);
}

#[test]
fn array_contains_needs_an_array_and_a_value() {
    assert_results(&[
        ("ARRAY_CONTAINS(parentScopes, 'scope-2')", TRUE),
        ("ARRAY_CONTAINS(parentScopes, 'scope')", FALSE),
        ("ARRAY_CONTAINS(tags.list, null)", TRUE),
        ("ARRAY_CONTAINS(tags.list, 1.0)", TRUE),
        ("ARRAY_CONTAINS(tags.list, '1')", FALSE),
        ("ARRAY_CONTAINS(tags.list, tags.list[3])", FALSE),
        ("ARRAY_CONTAINS(tags.text, 's')", UNDEFINED),
        ("ARRAY_CONTAINS(tags.list, tags.missing)", UNDEFINED),
        ("ARRAY_CONTAINS(tags.missing, 1)", UNDEFINED),
        ("ARRAY_CONTAINS(['enabled', 1], status)", TRUE),
        ("ARRAY_CONTAINS([1], tags.missing)", UNDEFINED),
    ]);
}

#[test]
fn calculations_need_numbers() {
    assert_results(&[
        ("tags.seven + 1 = 8", TRUE),
        ("1 + 2 * 3 - 4 / 2 = 5", TRUE),
        ("7 / 2 = 3.5", TRUE),
        ("-7 % 4 = -3", TRUE),
        ("-tags.seven < 0", TRUE),
        ("tags.text + 'x' = 'sevenx'", UNDEFINED),
        ("-tags.text = 'x'", UNDEFINED),
        ("tags.yes + 1 = 2", UNDEFINED),
        ("tags.none + 1 = 1", UNDEFINED),
        ("tags.seven / 0 = 1", UNDEFINED),
        ("tags.seven % 0 = 1", UNDEFINED),
        ("1e308 * 10 > 1", UNDEFINED),
        ("tags.large + 1 = 9007199254740994", TRUE),
    ]);
}

#[test]
fn paths_lead_through_objects_and_arrays() {
    assert_results(&[
        ("tags.Upper = 1", TRUE),
        ("tags.upper = 2", TRUE),
        ("TAGS.UPPER = 1", UNDEFINED),
        ("tags.[[a b]]['\\''] = 3", TRUE),
        ("tags.list[0] = 1", TRUE),
        ("tags.list[3][0] = 2", TRUE),
        ("tags.list[4] = 1", UNDEFINED),
        ("tags.list['0'] = 1", UNDEFINED),
        ("tags.text[0] = 's'", UNDEFINED),
        ("tags['list'][1] = null", TRUE),
        ("properties.desired.$version = 9", TRUE),
        ("Properties.Desired.$metadata.speed.$lastUpdated > '2026-01-01'", TRUE),
        ("configurations.[[c-1]].status = 'Applied'", TRUE),
        ("configurations.c-1.Status = 'Applied'", TRUE),
        ("devices.capabilities.iotedge = false", TRUE),
        ("id = deviceId", TRUE),
        ("moduleId = 'x'", UNDEFINED),
    ]);
}
