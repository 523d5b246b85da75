//! Queries with Microsoft's packages and over plain HTTP.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use ferrohub_acceptance::{Device, HttpResponse, Hub, NodeClient, Service, eventually, sas};
use ferrohub_service::{ErrorKind, ServiceClient, Twin};
use serde::Deserialize;
use serde_json::{Value, json};

const QUERY: &str = "/devices/query?api-version=2021-04-12";

/// Creates devices `d1`, `d2`, … with tags and a desired property.
#[track_caller]
fn create_devices(service: &Service, count: usize) {
    for n in 1..=count {
        let id = format!("d{n}");
        let _ = service.create_device(&id);
        let tags = json!({ "n": n, "even": n % 2 == 0, "owner": "O'Brien" });
        let change = json!({ "device_id": id, "tags": tags, "desired": { "rate": n * 10 } });
        service.call("change_twin", &change).unwrap();
    }
}

fn ids(items: &Value) -> Vec<&str> {
    items.as_array().unwrap().iter().map(|item| item["deviceId"].as_str().unwrap_or_default()).collect()
}

/// Sends a query over plain HTTP with the policy `service`.
fn post(hub: &Hub, service: &Service, query: &str, mut headers: Value) -> HttpResponse {
    headers["Authorization"] = sas::policy_token(hub.variable("IOTHUB_SERVICE_CONNECTION_STRING")).into();
    service.http_with("POST", QUERY, headers, Some(&json!({ "query": query }).to_string()))
}

#[track_caller]
fn rows(hub: &Hub, service: &Service, query: &str) -> Value {
    let response = post(hub, service, query, json!({}));
    assert_eq!(response.status, 200, "{query}: {}", response.body);
    response.json()
}

#[test]
fn the_python_client_pages_through_twins() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    create_devices(&service, 5);
    let (mut token, mut pages) = (Value::Null, Vec::new());
    loop {
        let arguments =
            json!({ "query": "SELECT * FROM devices", "max_item_count": 2, "continuation_token": token });
        let page = service.call("query", &arguments).unwrap();
        assert_eq!(page["type"], "Twin");
        token = page["continuation_token"].clone();
        pages.push(page);
        if token.is_null() {
            break;
        }
    }
    let found: Vec<_> = pages.iter().map(|page| ids(&page["items"])).collect();
    assert_eq!(found, [vec!["d1", "d2"], vec!["d3", "d4"], vec!["d5"]]);
    let twin = &pages[0]["items"][1];
    assert_eq!(twin["tags"], json!({ "n": 2, "even": true, "owner": "O'Brien" }));
    assert_eq!(twin["properties"]["desired"]["rate"], 20);
    assert_eq!(twin, &service.call("get_twin", &json!({ "device_id": "d2" })).unwrap(), "the same twin");
    let query = "SELECT * FROM devices WHERE tags.owner = 'O''Brien' AND tags.n > 3";
    assert_eq!(ids(&service.call("query", &json!({ "query": query })).unwrap()["items"]), ["d4", "d5"]);
    let invalid = json!({ "query": "SELECT" });
    assert_eq!(service.refusal("query", &invalid), (400, "ArgumentInvalid".to_owned()));
}

#[test]
fn the_node_client_reads_twins_and_rows() {
    let hub = Hub::start();
    create_devices(&Service::owner(&hub), 5);
    let node = NodeClient::service(&hub);
    let query = "SELECT * FROM devices WHERE tags.n < 5";
    let twins = node.ok("query", &json!({ "query": query, "page_size": 3, "as_twins": true }));
    let found: Vec<_> = twins.as_array().unwrap().iter().map(|page| ids(&page["items"])).collect();
    assert_eq!(found, [vec!["d1", "d2", "d3"], vec!["d4"]]);
    assert_eq!(twins[0]["items"][0]["properties"]["desired"]["rate"], 10);
    let query = "SELECT tags.even AS even, COUNT() AS n FROM devices GROUP BY tags.even";
    let groups = json!([{ "even": false, "n": 3 }, { "even": true, "n": 2 }]);
    assert_eq!(node.ok("query", &json!({ "query": query })), json!([{ "type": "Raw", "items": groups }]));
    // The loop ends also if the last page is full.
    let exact = node.ok("query", &json!({ "query": "SELECT deviceId FROM devices", "page_size": 5 }));
    assert_eq!(exact.as_array().unwrap().len(), 1);
}

#[test]
fn every_form_of_query_has_its_rows() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    create_devices(&service, 3);
    let _ = service.create_module("d1", "m");
    for (query, expected) in [
        (
            "SELECT deviceId, tags.n, tags.none FROM devices WHERE tags.even = false",
            json!([{ "deviceId": "d1", "n": 1 }, { "deviceId": "d3", "n": 3 }]),
        ),
        ("SELECT TOP 2 tags.n FROM devices", json!([{ "n": 1 }, { "n": 2 }])),
        ("SELECT TOP 0 tags.n FROM devices", json!([])),
        (
            "SELECT COUNT(), SUM(tags.n) AS sum, AVG(tags.n) AS mean, MAX(deviceId) AS last FROM devices",
            json!([{ "_1": 3, "sum": 6, "mean": 2, "last": "d3" }]),
        ),
        ("SELECT COUNT() AS n FROM devices WHERE tags.n > 5", json!([{ "n": 0 }])),
        (
            "SELECT deviceId, moduleId, connectionState FROM devices.modules",
            json!([{ "deviceId": "d1", "moduleId": "m", "connectionState": "Disconnected" }]),
        ),
        (
            "select devices.deviceid from DEVICES where devices.tags.n in [2, 'x'] ;",
            json!([{ "deviceId": "d2" }]),
        ),
        ("SELECT properties.desired.$version AS v FROM devices WHERE deviceId = 'd1'", json!([{ "v": 2 }])),
    ] {
        assert_eq!(rows(&hub, &service, query), expected, "{query}");
    }
    let modules = rows(&hub, &service, "SELECT * FROM devices.modules");
    let twin = service.http(
        "GET",
        "/twins/d1/modules/m?api-version=2021-04-12",
        Some(&sas::policy_token(hub.variable("IOTHUB_CONNECTION_STRING"))),
        None,
    );
    assert_eq!(modules, json!([twin.json()]));
}

#[test]
fn connection_state_and_last_activity_are_those_of_this_moment() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    create_devices(&service, 2);
    let device = Device::with_identity(&service.create_device("live")).start(&hub);
    device.connect().unwrap();
    let connected = "SELECT deviceId FROM devices WHERE connectionState = 'Connected'";
    let active = "SELECT deviceId FROM devices WHERE lastActivityTime > '2020'";
    assert_eq!(rows(&hub, &service, connected), json!([{ "deviceId": "live" }]));
    assert_eq!(rows(&hub, &service, active), json!([{ "deviceId": "live" }]));
    let state = "SELECT connectionState, COUNT() AS n FROM devices GROUP BY connectionState";
    assert_eq!(
        rows(&hub, &service, state),
        json!([{ "connectionState": "Connected", "n": 1 }, { "connectionState": "Disconnected", "n": 2 }])
    );
    let time = rows(&hub, &service, "SELECT lastActivityTime FROM devices WHERE deviceId = 'live'");
    let time = time[0]["lastActivityTime"].as_str().unwrap().to_owned();
    assert!(time.len() == 28 && time.ends_with("0000Z"), "{time}");
    device.disconnect();
    eventually("the query finds no connected device", Duration::from_secs(5), || {
        (rows(&hub, &service, connected) == json!([])).then_some(())
    });
    assert_eq!(rows(&hub, &service, active), json!([{ "deviceId": "live" }]));
}

#[test]
fn the_headers_are_those_that_clients_need() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    create_devices(&service, 2);
    let query = "SELECT * FROM devices";
    let first = post(&hub, &service, query, json!({ "x-ms-max-item-count": "1" }));
    assert_eq!((first.status, first.header("x-ms-item-type")), (200, "Twin"));
    assert_eq!(first.header("content-type"), "application/json; charset=utf-8");
    let token = first.header("x-ms-continuation").to_owned();
    assert!(!token.is_empty() && token.len() < 200, "{token}");
    let headers = json!({ "x-ms-max-item-count": "1", "x-ms-continuation": token });
    let second = post(&hub, &service, query, headers);
    assert_eq!(ids(&second.json()), ["d2"]);
    assert!(second.headers["x-ms-continuation"].is_null(), "absent, and not empty: {}", second.headers);
    for all in [
        json!({}),
        json!({ "x-ms-max-item-count": "2" }),
        json!({ "x-ms-max-item-count": "5000" }),
        json!({ "x-ms-continuation": "" }),
    ] {
        let page = post(&hub, &service, query, all);
        assert_eq!(ids(&page.json()), ["d1", "d2"]);
        assert!(page.headers["x-ms-continuation"].is_null());
    }
    let raw = post(&hub, &service, "SELECT deviceId FROM devices", json!({}));
    assert_eq!(raw.header("x-ms-item-type"), "Raw");
    let empty = post(&hub, &service, "SELECT * FROM devices WHERE false", json!({}));
    assert_eq!((empty.header("x-ms-item-type"), empty.json()), ("Twin", json!([])));
    // TOP counts over all pages.
    let top = post(&hub, &service, "SELECT TOP 1 * FROM devices", json!({ "x-ms-max-item-count": "1" }));
    assert!(top.headers["x-ms-continuation"].is_null());
}

#[test]
fn a_token_of_another_query_or_a_changed_one_is_refused() {
    let mut hub = Hub::start();
    let service = Service::owner(&hub);
    create_devices(&service, 3);
    let query = "SELECT * FROM devices WHERE tags.n > 0";
    let first = post(&hub, &service, query, json!({ "x-ms-max-item-count": "1" }));
    let token = first.header("x-ms-continuation").to_owned();
    let with = |hub: &Hub, query: &str, token: &str| {
        post(hub, &service, query, json!({ "x-ms-max-item-count": "1", "x-ms-continuation": token }))
    };
    // The same query in another spelling has the same tokens.
    assert_eq!(ids(&with(&hub, "select * from devices where tags.n > 0", &token).json()), ["d2"]);
    let changed = format!("A{}", &token[1..]);
    for (query, token) in [
        ("SELECT * FROM devices WHERE tags.n > 1", &*token),
        ("SELECT * FROM devices", &token),
        ("SELECT TOP 9 * FROM devices WHERE tags.n > 0", &token),
        (query, &changed[..token.len() - 1]),
        (query, "d1"),
        (query, "0"),
        (query, &"A".repeat(4000)),
    ] {
        let refused = with(&hub, query, token);
        assert_eq!((refused.status, refused.error_code()), (400, "ArgumentInvalid"), "{query} {token}");
        assert!(refused.body.contains("The continuation token is not valid"), "{}", refused.body);
    }
    // The hub keeps nothing between pages, so that a token also counts after a restart.
    hub.restart();
    assert_eq!(ids(&with(&hub, query, &token).json()), ["d2"]);
}

#[test]
fn a_query_that_is_not_valid_is_refused_with_the_place() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    for (query, message) in [
        (
            "SELECT * FORM devices".to_owned(),
            "The query is not valid. Line 1, column 10: expected FROM, but found \"FORM\". Did you mean FROM?",
        ),
        (String::new(), "the text is empty"),
        ("SELECT * FROM devices; DROP TABLE identity".to_owned(), "Line 1, column 24"),
        ("SELECT * FROM devices.unknown".to_owned(), "The query is not valid. Line 1, column"),
        (format!("SELECT * FROM devices WHERE tags.a = '{}'", "x".repeat(8192)), "at most 8192 characters"),
        (
            format!("SELECT * FROM devices WHERE {}true{}", "(".repeat(65), ")".repeat(65)),
            "at most 64 nested levels",
        ),
    ] {
        let refused = post(&hub, &service, &query, json!({}));
        assert_eq!((refused.status, refused.error_code()), (400, "ArgumentInvalid"), "{query}");
        let text = refused.json()["Message"].as_str().unwrap().to_owned();
        assert!(text.starts_with("ErrorCode:ArgumentInvalid;") && text.contains(message), "{text}");
    }
    let token = sas::policy_token(hub.variable("IOTHUB_SERVICE_CONNECTION_STRING"));
    for (body, code) in [
        ("{}", "ArgumentNull"),
        (r#"{"query":null}"#, "ArgumentNull"),
        (r#"{"query":7}"#, "IotHubFormatError"),
        ("[]", "IotHubFormatError"),
        ("SELECT * FROM devices", "IotHubFormatError"),
    ] {
        let refused = service.http("POST", QUERY, Some(&token), Some(body));
        assert_eq!((refused.status, refused.error_code()), (400, code), "{body}");
    }
    let large = json!({ "query": "x".repeat(2 * 1024 * 1024) }).to_string();
    assert_eq!(service.http("POST", QUERY, Some(&token), Some(&large)).status, 413);
    for count in ["0", "-1", "many", "1.5"] {
        let headers = json!({ "x-ms-max-item-count": count });
        let refused = post(&hub, &service, "SELECT * FROM devices", headers);
        assert_eq!((refused.status, refused.error_code()), (400, "ArgumentInvalid"), "{count}");
    }
}

#[test]
fn only_a_policy_that_may_connect_as_a_service_may_query() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let identity = service.create_device("query");
    let body = json!({ "query": "SELECT * FROM devices" }).to_string();
    let status = |token: Option<&str>| service.http("POST", QUERY, token, Some(&body)).status;
    let policy = |name: &str| service.token_of_policy(&hub, name);
    for (name, expected) in [
        ("iothubowner", 200),
        ("service", 200),
        ("registryRead", 401),
        ("registryReadWrite", 401),
        ("device", 401),
    ] {
        assert_eq!(status(Some(&policy(name))), expected, "{name}");
    }
    assert_eq!(status(None), 401);
    assert_eq!(status(Some(&identity.token())), 401);
    // A device may have the name of the path.
    let owner = policy("iothubowner");
    assert_eq!(service.http("GET", QUERY, Some(&owner), None).json()["deviceId"], "query");
    let delete = json!({ "Authorization": owner, "If-Match": "*" });
    assert_eq!(service.http_with("DELETE", QUERY, delete, None).status, 204);
}

#[test]
fn an_entra_principal_needs_the_data_action_of_reading_twins() {
    let hub = Hub::builder().with_development_issuer().start();
    create_devices(&Service::owner(&hub), 1);
    let service = Service::with_entra(&hub);
    let found = service.call("query", &json!({ "query": "SELECT * FROM devices" })).unwrap();
    assert_eq!(ids(&found["items"]), ["d1"]);
    let body = json!({ "query": "SELECT * FROM devices" }).to_string();
    for (role, status) in [
        ("IoT Hub Data Contributor", 200),
        ("IoT Hub Data Reader", 200),
        ("IoT Hub Twin Contributor", 200),
        ("IoT Hub Registry Contributor", 401),
    ] {
        let bearer = service.token_of_role(&hub, role);
        assert_eq!(service.http("POST", QUERY, Some(&bearer), Some(&body)).status, status, "{role}");
    }
}

#[test]
fn hostile_texts_in_ids_tags_and_queries_are_only_texts() {
    const IDS: [&str; 5] = ["d'OR'1'='1", "d';--", "%27--", "$.a,:b", "?1)OR(1=1"];
    const TEXTS: [&str; 5] =
        ["' OR '1'='1", "'; DROP TABLE identity; --", "\"]} $.a", "\\' OR 1=1 /*", "%_?1"];
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let items: Vec<Value> = IDS
        .iter()
        .zip(TEXTS)
        .map(
            |(id, text)| json!({ "id": id, "importMode": "create", "tags": { "text": text, "o'k\"": text } }),
        )
        .collect();
    assert_eq!(service.call("bulk", &json!({ "devices": items })).unwrap()["isSuccessful"], true);
    let quoted = |text: &str| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"));
    let keys = || {
        let devices = service.call("get_devices", &json!({})).unwrap();
        let key = |device: &Value| device["authentication"]["symmetricKey"]["primaryKey"].clone();
        devices.as_array().unwrap().iter().map(|device| (device["deviceId"].clone(), key(device))).collect()
    };
    for (id, text) in IDS.iter().zip(TEXTS) {
        let (id_text, tag_text) = (quoted(id), quoted(text));
        for condition in [
            format!("deviceId = {id_text}"),
            format!("STARTSWITH(deviceId, {id_text})"),
            format!("tags.text = {tag_text}"),
            format!("tags['o''k\"'] IN [{tag_text}]"),
            format!("ENDSWITH(tags.text, {tag_text}) AND CONTAINS(deviceId, {id_text})"),
        ] {
            let query = format!("SELECT deviceId, tags['o''k\"'] AS text FROM devices WHERE {condition}");
            let found = rows(&hub, &service, &query);
            assert_eq!(found, json!([{ "deviceId": id, "text": text }]), "{query}");
        }
        let before: BTreeMap<String, Value> = by_id(keys());
        let body = json!({ "policyKey": "primaryKey", "devices": [{ "id": id }] }).to_string();
        let path = "/devices/keys/regenerate?api-version=2021-04-12";
        let renewed = service.http("POST", path, Some(service.authorization()), Some(&body));
        assert_eq!((renewed.status, &renewed.json()["rotatedKeys"][0]["id"]), (200, &json!(id)));
        let after: BTreeMap<String, Value> = by_id(keys());
        let changed: Vec<&String> = after.keys().filter(|other| before[*other] != after[*other]).collect();
        assert_eq!(changed, [id]);
    }
    // The ids are in continuation tokens.
    let (mut token, mut found) = (Value::Null, Vec::new());
    loop {
        let query = "SELECT * FROM devices";
        let arguments = json!({ "query": query, "max_item_count": 1, "continuation_token": token });
        let page = service.call("query", &arguments).unwrap();
        found.extend(ids(&page["items"]).into_iter().map(str::to_owned));
        token = page["continuation_token"].clone();
        if token.is_null() {
            break;
        }
    }
    let mut sorted = IDS;
    sorted.sort_unstable();
    assert_eq!(found, sorted);
    let delete = json!({ "devices": [{ "id": IDS[0], "importMode": "delete" }] });
    assert_eq!(service.call("bulk", &delete).unwrap()["isSuccessful"], true);
    assert_eq!(rows(&hub, &service, "SELECT COUNT() AS n FROM devices"), json!([{ "n": 4 }]));
}

fn by_id(keys: Vec<(Value, Value)>) -> BTreeMap<String, Value> {
    keys.into_iter().map(|(id, key)| (id.as_str().unwrap().to_owned(), key)).collect()
}

/// A condition that takes long on each twin.
fn slow_condition() -> String {
    vec!["CONTAINS(tags,tags)"; 350].join(" OR ")
}

#[test]
fn a_query_that_takes_too_long_is_stopped_and_too_many_at_once_are_refused() {
    let config = "[queries]\nmax_running = 1\nmax_waiting = 0\ntimeout_seconds = 2\n";
    let hub = Hub::builder().config(config).start();
    let service = Service::owner(&hub);
    let tags = json!({ "a": "x".repeat(4000), "b": "y".repeat(4000) });
    let items: Vec<Value> =
        (0..2000).map(|n| json!({ "id": format!("d{n}"), "importMode": "create", "tags": tags })).collect();
    for items in items.chunks(100) {
        service.call("bulk", &json!({ "devices": items })).unwrap();
    }
    let slow = json!({ "query": format!("SELECT COUNT() AS n FROM devices WHERE {}", slow_condition()) });
    let running = service.begin("query", &slow);
    eventually("the query runs", Duration::from_secs(2), || {
        (hub.metric("ferrohub_queries_running", "") == 1.0).then_some(())
    });
    let refused = post(&hub, &service, "SELECT TOP 1 deviceId FROM devices", json!({}));
    assert_eq!((refused.status, refused.error_code()), (429, "ThrottlingException"));
    assert_eq!(refused.header("retry-after"), "5");
    let stopped = running.wait().unwrap_err().response.unwrap();
    assert_eq!(
        (&stopped["status"], &stopped["headers"]["iothub-errorcode"]),
        (&json!(400), &json!("InvalidOperation"))
    );
    assert!(stopped["body"].as_str().unwrap().contains("stopped after 2 seconds"), "{stopped}");
    // The hub is free again.
    assert_eq!(rows(&hub, &service, "SELECT COUNT() AS n FROM devices"), json!([{ "n": 2000 }]));
    for outcome in ["stopped", "throttled"] {
        assert_eq!(hub.metric("ferrohub_queries_total", &format!("outcome=\"{outcome}\"")), 1.0);
    }
}

#[test]
fn an_indexed_path_gives_the_same_rows() {
    let mut hub = Hub::start();
    let service = Service::owner(&hub);
    create_devices(&service, 5);
    let queries = [
        "SELECT deviceId FROM devices WHERE tags.n = 3",
        "SELECT deviceId FROM devices WHERE tags.n IN [1, 5.0, '3']",
        "SELECT deviceId FROM devices WHERE STARTSWITH(tags.owner, 'O''')",
        "SELECT COUNT() AS n FROM devices WHERE tags.even = true",
        "SELECT deviceId FROM devices WHERE NOT tags.n = 3",
    ];
    let all = |hub: &Hub| queries.map(|query| rows(hub, &service, query));
    let without = all(&hub);
    assert_eq!(without[0], json!([{ "deviceId": "d3" }]));
    hub.add_config("[queries]\nindexed_paths = [\"tags.n\", \"tags.owner\", \"tags.even\"]\n");
    hub.restart();
    assert_eq!(all(&hub), without);
    assert!(hub.log().contains("creates the index of a path"), "{}", hub.log());
    service.call("change_twin", &json!({ "device_id": "d1", "tags": { "n": 3 } })).unwrap();
    assert_eq!(rows(&hub, &service, queries[0]), json!([{ "deviceId": "d1" }, { "deviceId": "d3" }]));
    assert!(hub.metric("ferrohub_queries_total", "answered") >= 6.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rust_client_reads_typed_rows_across_pages() {
    #[derive(Debug, PartialEq, Deserialize)]
    struct Row {
        n: u32,
    }

    let hub = Hub::start();
    create_devices(&Service::owner(&hub), 5);
    let client =
        ServiceClient::builder_from_connection_string(hub.variable("IOTHUB_SERVICE_CONNECTION_STRING"))
            .unwrap()
            .additional_root_certificates(fs::read(hub.variable("SSL_CERT_FILE")).unwrap())
            .build()
            .unwrap();
    let mut rows = client.query("SELECT tags.n FROM devices").page_size(2).rows::<Row>();
    for n in 1..=5 {
        assert_eq!(rows.next().await.unwrap().unwrap(), Row { n });
    }
    assert!(rows.next().await.is_none() && rows.next().await.is_none());
    let first = client.query("SELECT * FROM devices").page_size(3).page::<Twin>().await.unwrap();
    assert_eq!((first.rows.len(), first.item_type.as_str()), (3, "Twin"));
    let token = first.continuation.unwrap();
    let second = client.query("SELECT * FROM devices").after(&token).page::<Twin>().await.unwrap();
    assert_eq!((second.rows[0].device_id.as_str(), second.continuation), ("d4", None));

    let other_type = client.query("SELECT tags.owner AS n FROM devices").page::<Row>().await.unwrap_err();
    assert_eq!(other_type.kind(), ErrorKind::Protocol);
    let mut invalid = client.query("SELECT * FORM devices").rows::<Value>();
    let error = invalid.next().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadRequest);
    assert!(error.message().contains("Did you mean FROM?"), "{error}");
    assert!(invalid.next().await.is_none());
    let foreign = client.query("SELECT deviceId FROM devices").after(token).page::<Value>().await;
    assert_eq!(foreign.unwrap_err().kind(), ErrorKind::BadRequest);
}

#[test]
fn the_command_line_prints_tables_and_json() {
    let hub = Hub::start();
    create_devices(&Service::owner(&hub), 3);
    let table = hub.command(["query", "SELECT deviceId, tags.n FROM devices WHERE tags.n > 1"]).success();
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines, [["deviceId", "n"], ["d2", "2"], ["d3", "3"]]);
    let twins = hub.command(["query", "SELECT * FROM devices", "--top", "2", "--output", "json"]).success();
    assert_eq!(ids(&serde_json::from_str(&twins).unwrap()), ["d1", "d2"]);
    let twins = hub.command(["query", "SELECT * FROM devices WHERE tags.n = 2"]).success();
    assert!(
        twins.contains("d2") && twins.contains("Disconnected") && twins.contains(r#""owner":"O'Brien""#),
        "{twins}"
    );
    let listed = hub.command(["device", "list", "--query", "tags.even = false"]).success();
    assert!(listed.contains("d1") && listed.contains("d3") && !listed.contains("d2"), "{listed}");
    let listed =
        hub.command(["device", "list", "--query", "tags.even = false", "--output", "json"]).success();
    assert_eq!(ids(&serde_json::from_str(&listed).unwrap()), ["d1", "d3"]);
    let refused = hub.command(["query", "SELECT * FORM devices"]);
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("Line 1, column 10: expected FROM"), "{}", refused.stderr);
    assert!(refused.stderr.contains("docs/query-language.md"), "the next step: {}", refused.stderr);
    let refused = hub.command(["device", "list", "--query", "tags.n ="]);
    assert_eq!((refused.code, refused.stdout.as_str()), (1, ""));
    for text in ["cannot run SELECT * FROM devices WHERE tags.n =: ", "Line 1, column 37: "] {
        assert!(refused.stderr.contains(text), "{}", refused.stderr);
    }
    let refused = hub.command(["query", "SELECT", "--output", "json"]);
    let error: Value = serde_json::from_str(&refused.stderr).unwrap();
    assert_eq!(error["error"]["codeName"], "ArgumentInvalid", "{error}");
    assert!(error["error"]["hint"].is_string(), "{error}");
    let none = hub.command(["query", "SELECT * FROM devices WHERE tags.n = 9", "--output", "json"]);
    assert_eq!(none.success().trim(), "[]");
}
