//! Random queries on random twins.

use ferrohub_core::registry::{Authentication, Identity, Thumbprint};
use ferrohub_core::twins::{Configured, Section, TwinDocument};
use ferrohub_model::configuration::{ConfigurationStatus, TwinConfiguration};
use ferrohub_model::device::Status;
use ferrohub_model::{SharedAccessKey, Timestamp};
use ferrohub_query::Query;
use ferrohub_query::plan::Collection;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};

use crate::fixture::{Fleet, GENERATION, Stored};
use crate::generate;

/// Names of properties, with all characters that twins allow.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => select(vec!["a", "b", "c", "group", "fan-1"]).prop_map(str::to_owned),
        1 => select(vec!["\"", "\\", "'", "\\\"", "a\"b", "[0]", "é", "\u{1f600}", "]]"]).prop_map(str::to_owned),
        1 => "[^\\p{Cc}. $]{1,4}",
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        1 => Just(Value::Null),
        2 => any::<bool>().prop_map(Value::from),
        4 => generate::number().prop_map(|number| number.to_json()),
        4 => select(vec!["", "a", "ab", "abc", "it's", "a\0b", "a\0", "\"", "\\", "\n", "é", "\u{10FFFF}", "null", "1"])
            .prop_map(Value::from),
        1 => any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Value::from),
            btree_map(name(), inner, 0..4).prop_map(Value::from_iter),
        ]
    })
}

fn object() -> impl Strategy<Value = Map<String, Value>> {
    btree_map(name(), value(), 0..4).prop_map(Map::from_iter)
}

fn section() -> impl Strategy<Value = Section> {
    (object(), 1..4_u64, option::of(0..3_i64)).prop_map(|(values, version, second)| {
        let time = |second| Timestamp::from_unix_millis(second).to_fixed_width();
        let mut metadata = Section::default().metadata;
        if let Some(second) = second {
            metadata = Map::from_iter([
                ("$lastUpdated".to_owned(), time(second).into()),
                ("a".to_owned(), json!({ "$lastUpdated": time(second + 1) })),
            ]);
        }
        Section { values, metadata, version }
    })
}

fn configured() -> impl Strategy<Value = Configured> {
    let status = select(vec![ConfigurationStatus::Targeted, ConfigurationStatus::Applied]);
    let configuration = status.prop_map(|status| TwinConfiguration { status });
    let ids = select(vec!["a", "b", "fan-1", "it's"]).prop_map(str::to_owned);
    let paths = btree_map(name(), ids.clone(), 0..3);
    (btree_map(ids, configuration, 0..3), paths)
        .prop_map(|(configurations, paths)| Configured { configurations, paths })
}

fn twin() -> impl Strategy<Value = TwinDocument> {
    let model_id = select(vec!["", "dtmi:a;1", "it's \"\\\0"]);
    (object(), section(), section(), 1..300_u64, model_id, configured()).prop_map(
        |(tags, desired, reported, updates, model_id, configured)| TwinDocument {
            tags,
            desired,
            reported,
            updates,
            model_id: model_id.to_owned(),
            configured,
        },
    )
}

fn authentication() -> impl Strategy<Value = Authentication> {
    let thumbprint = || {
        option::of(select(vec!["a1", "b2"]).prop_map(|digits| Thumbprint::parse(&digits.repeat(20)).unwrap()))
    };
    let key = |byte| SharedAccessKey::from_bytes(&[byte; 32]).unwrap();
    prop_oneof![
        Just(Authentication::Sas { primary: key(1), secondary: key(2) }),
        (thumbprint(), thumbprint())
            .prop_map(|(primary, secondary)| Authentication::SelfSigned { primary, secondary }),
        Just(Authentication::CertificateAuthority),
        Just(Authentication::None),
    ]
}

/// An identity whose id will be replaced.
fn identity() -> impl Strategy<Value = Identity> {
    let reason = option::of(select(vec!["a", "it's \"\\", "a\0b"]));
    let parents = vec(select(vec!["ms-azure-iot-edge://\"a\"", "b\nc"]), 0..2);
    let times = (0..3_i64, select(vec![Timestamp::NEVER, Timestamp::from_unix_millis(7)]));
    (any::<bool>(), reason, authentication(), any::<bool>(), parents, times).prop_map(
        |(disabled, reason, authentication, iot_edge, parents, (status, activity))| Identity {
            id: "without-id".parse().unwrap(),
            generation_id: GENERATION.to_owned(),
            etag: format!("e{status}"),
            status: if disabled { Status::Disabled } else { Status::Enabled },
            status_reason: reason.map(str::to_owned),
            status_updated: Timestamp::from_unix_millis(status),
            authentication: authentication.clone(),
            iot_edge,
            device_scope: parents.first().map(|scope| (*scope).to_owned()),
            parent_scopes: parents.iter().map(|scope| (*scope).to_owned()).collect(),
            managed_by: None,
            connection_state_updated: Timestamp::NEVER,
            last_activity: activity,
            messages: 0,
        },
    )
}

/// Devices and modules with ids that sort in more than one way.
fn fleet() -> impl Strategy<Value = Vec<Stored>> {
    let ids = [
        "a",
        "b",
        "B",
        "a-1",
        "a.1",
        "a1",
        "'",
        "ab",
        "a/m",
        "a/M",
        "b/a",
        "a-1/a",
        "ab/$edgeAgent",
        "a/m-1",
    ];
    vec((identity(), option::weighted(0.8, twin())), ids.len()).prop_map(move |twins| {
        let with_id = |(id, (identity, twin)): (&&str, (Identity, _))| {
            (Identity { id: id.parse().unwrap(), ..identity }, twin)
        };
        ids.iter().zip(twins).map(with_id).collect()
    })
}

fn query() -> impl Strategy<Value = Query> {
    generate::query().prop_filter("there are no jobs", |query| query.filter.collection != Collection::Jobs)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn a_query_has_the_same_result_in_the_store_as_in_memory(
        stored in fleet(),
        queries in vec((query(), 1..5_usize), 150),
    ) {
        runtime().block_on(async {
            let fleet = Fleet::new(stored).await;
            for (query, page_rows) in &queries {
                let mut query = query.clone();
                // The adapter does not use it.
                query.top = None;
                fleet.check(&query, *page_rows).await;
            }
        });
    }

    #[test]
    fn a_simple_comparison_has_the_same_result_in_the_store_as_in_memory(
        stored in fleet(),
        queries in vec((generate::simple_query(), 1..5_usize), 150),
    ) {
        runtime().block_on(async {
            let fleet = Fleet::new(stored).await;
            for (query, page_rows) in &queries {
                fleet.check(query, *page_rows).await;
            }
        });
    }
}
