//! Texts that would be SQL or JSON paths if they were not bind parameters, and queries at the limits of the language.

use ferrohub_core::queries::PageItems;
use ferrohub_model::SharedAccessKey;
use serde_json::json;

use crate::fixture::{Fleet, Stored, parse, stored};

/// Texts that end a string, a name, a comment or a parameter in one of the languages on the way.
const TEXTS: [&str; 16] = [
    "' OR 1=1 --",
    "'; DROP TABLE identity; --",
    "\" OR \"\"=\"",
    "\\",
    "\\\"",
    "'||(SELECT primary_secret FROM identity)||'",
    "$.a",
    "$[0]",
    "\"].a[\"",
    "?1",
    ":a",
    "\0",
    "a\0' OR '1'='1",
    "%",
    "_",
    "\u{202e}\u{feff}",
];

#[tokio::test]
async fn a_text_is_only_equal_to_itself_wherever_it_stands() {
    let mut twins: Vec<Stored> = TEXTS
        .iter()
        .enumerate()
        .map(|(index, text)| stored(&format!("d{index:02}"), json!({ "a": text, "b": { "c": [text] } })))
        .collect();
    twins.push(stored("other", json!({ "a": "x" })));
    let fleet = Fleet::new(twins).await;
    let ids = async |condition: String| match fleet
        .check(&parse(&format!("SELECT * FROM devices WHERE {condition}")), 5)
        .await
    {
        PageItems::Twins(twins) => {
            twins.iter().map(|(identity, _)| identity.id.as_str().to_owned()).collect::<Vec<_>>()
        }
        PageItems::Rows(_) => panic!("not twins"),
    };
    for (index, text) in TEXTS.iter().enumerate() {
        let quoted = format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''").replace('\0', "\\u0000"));
        let own = vec![format!("d{index:02}")];
        assert_eq!(ids(format!("tags.a = {quoted}")).await, own, "{text:?}");
        assert_eq!(ids(format!("tags.a IN [{quoted}]")).await, own, "{text:?}");
        assert_eq!(
            ids(format!("STARTSWITH(tags.a, {quoted}) AND ENDSWITH(tags.a, {quoted})")).await,
            own,
            "{text:?}"
        );
        assert_eq!(ids(format!("ARRAY_CONTAINS(tags.b.c, {quoted})")).await, own, "{text:?}");
        assert_eq!(ids(format!("tags.b.c[0] = {quoted}")).await, own, "{text:?}");
        for nobody in [
            "deviceId",
            "moduleId",
            "status",
            "statusReason",
            "etag",
            "modelId",
            "authenticationType",
            "deviceScope",
        ] {
            assert_eq!(ids(format!("{nobody} = {quoted}")).await, Vec::<String>::new(), "{nobody} {text:?}");
        }
        assert_eq!(
            ids(format!("tags[{quoted}] = 1 OR tags.b[{quoted}].c = {quoted}")).await,
            Vec::<String>::new()
        );
        assert_eq!(
            ids(format!("properties.desired[{quoted}] = 1 OR tags.[[{}]] = 1", text.replace(['[', ']'], "")))
                .await
                .len(),
            0
        );
        let row = fleet
            .rows(
                &format!("SELECT tags[{quoted}], tags.a, COUNT() FROM devices GROUP BY tags.a")
                    .replace(&format!("tags[{quoted}], "), ""),
            )
            .await;
        assert_eq!(row.len(), TEXTS.len() + 1);
    }
}

#[tokio::test]
async fn no_query_shows_a_key() {
    let fleet = Fleet::new(vec![stored("d", json!({}))]).await;
    let columns = [
        "x509Thumbprint",
        "x509Thumbprint.primaryThumbprint",
        "x509Thumbprint.secondaryThumbprint",
        "authentication",
        "authentication.symmetricKey.primaryKey",
        "primary_secret",
        "i.primary_secret",
        "authenticationType",
    ];
    let key = SharedAccessKey::from_bytes(&[1; 32]).unwrap().to_base64();
    for column in columns {
        let rows = fleet.rows(&format!("SELECT {column} AS value FROM devices")).await;
        assert!(!format!("{rows:?}").contains(&key[..8]), "{column}");
        let found =
            fleet.rows(&format!("SELECT COUNT() AS n FROM devices WHERE STARTSWITH({column}, 'A')")).await;
        assert_eq!(found[0]["n"], 0, "{column}");
    }
}

#[tokio::test]
async fn queries_at_the_limits_of_the_language_are_answered() {
    let fleet = Fleet::new(vec![stored("d", json!({ "a": 1 }))]).await;
    let chain = |part: &str, operator: &str| {
        let count = (8192 - 60) / (part.len() + operator.len());
        vec![part; count].join(operator)
    };
    let numbers: Vec<_> = (0..1000).map(|number| number.to_string()).collect();
    let deep = |open: &str, inner: &str, close: &str, levels| {
        format!("{}{inner}{}", open.repeat(levels), close.repeat(levels))
    };
    for condition in [
        chain("tags.a=1", " OR "),
        chain("a", " OR "),
        chain("NOT a", " AND "),
        format!("tags.a IN [{}]", numbers.join(",")),
        format!("NOT tags.a IN [{}]", numbers.join(",")),
        deep("(", "tags.a = 1", ")", 60),
        deep("NOT ", "tags.a = 1", "", 60),
        deep("(NOT (", "tags.a = 1", ") = true)", 20),
        deep("((", "tags.a = 1", ") AND a) = false", 20),
        format!("tags.a = {}", deep("-", "1", "", 60)),
        format!("tags.a = {}", deep("(1 + ", "1", ")", 30)),
        // Each test contains the one before: a statement that has an operand twice would double at each level.
        deep("IS_STRING(", "tags.a", ")", 60),
        deep("NOT IS_OBJECT(", "IS_ARRAY(tags.a)", ")", 30),
        deep("IS_BOOL(IS_NULL(IS_NUMBER(IS_PRIMITIVE(IS_DEFINED(", "tags.a", ")))))", 12),
        deep("CONTAINS('true', ", "tags.a = 1", ")", 60),
        format!("tags{} = 1", ".a".repeat(32)),
        format!("tags{} = 1", "[4294967295]".repeat(32)),
    ] {
        fleet.check(&parse(&format!("SELECT * FROM devices WHERE {condition}")), 1).await;
    }
    let columns: Vec<_> = (0..100).map(|number| format!("tags.a AS c{number}")).collect();
    assert_eq!(fleet.rows(&format!("SELECT {} FROM devices", columns.join(", "))).await[0].len(), 100);
    let sums: Vec<_> = (0..100).map(|number| format!("SUM(tags.a) AS c{number}")).collect();
    assert_eq!(fleet.rows(&format!("SELECT {} FROM devices", sums.join(", "))).await[0].len(), 100);
}
