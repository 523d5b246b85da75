//! Configurations (automatic device management), as Microsoft's packages and the Azure CLI use them.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::time::Duration;

use ferrohub_acceptance::{Hub, NodeClient, Service, eventually, sas};
use serde_json::{Value, json};

/// How long a twin may take until it is changed.
const SOON: Duration = Duration::from_secs(20);
const API: &str = "api-version=2021-04-12";

/// A configuration for devices, as the Python package sends it.
fn thermostats(id: &str, condition: &str, priority: i64, settings: Value) -> Value {
    json!({
        "id": id, "schemaVersion": "1.0", "content": { "deviceContent": settings }, "targetCondition": condition,
        "priority": priority, "labels": { "team": "a" },
        "metrics": { "queries": { "warm": "SELECT deviceId FROM devices WHERE properties.reported.warm = true" } },
    })
}

fn set_tags(service: &Service, device: &str, tags: Value) {
    service.call("change_twin", &json!({ "device_id": device, "tags": tags })).unwrap();
}

/// Returns the desired properties of a twin without version and metadata, and its configurations.
fn state(service: &Service, device: &str, module: Option<&str>) -> (Value, Value) {
    let path = module.map(|module| format!("/modules/{module}")).unwrap_or_default();
    let twin = service
        .http("GET", &format!("/twins/{device}{path}?{API}"), Some(service.authorization()), None)
        .json();
    let mut desired = twin["properties"]["desired"].as_object().unwrap().clone();
    desired.retain(|key, _| !key.starts_with('$'));
    (desired.into(), twin["configurations"].clone())
}

#[track_caller]
fn becomes(service: &Service, device: &str, module: Option<&str>, expected: &(Value, Value)) {
    let what = format!("{device} becomes {expected:?}");
    eventually(&what, SOON, || (state(service, device, module) == *expected).then_some(()));
}

fn applied(ids: &[&str]) -> Value {
    ids.iter().map(|id| ((*id).to_owned(), json!({ "status": "Applied" }))).collect()
}

#[test]
fn every_method_of_the_python_configuration_manager_works() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let _ = service.create_device("t1");
    let _ = service.create_device("t2");
    set_tags(&service, "t1", json!({ "kind": "thermostat" }));
    let call = |operation: &str, arguments: Value| service.call(operation, &arguments).unwrap();

    let configuration = thermostats(
        "comfort",
        "tags.kind='thermostat'",
        10,
        json!({ "properties.desired.target": { "celsius": 21.5 } }),
    );
    let created = call("create_configuration", json!({ "configuration": configuration }));
    assert_eq!(
        (&created["id"], &created["priority"], &created["labels"]),
        (&json!("comfort"), &json!(10), &json!({ "team": "a" }))
    );
    assert_eq!(created["content"]["deviceContent"]["properties.desired.target"]["celsius"], 21.5);
    for time in ["createdTimeUtc", "lastUpdatedTimeUtc"] {
        assert!(created[time].as_str().unwrap().starts_with("20"), "{created}");
    }
    assert_eq!(
        created["systemMetrics"]["queries"],
        json!({
            "appliedCount": "select deviceId from devices where configurations.[[comfort]].status = 'Applied'",
            "targetedCount": "select deviceId from devices where tags.kind='thermostat'",
        })
    );
    let again = service.refusal("create_configuration", &json!({ "configuration": configuration }));
    assert_eq!(again, (409, "ConfigurationAlreadyExists".to_owned()));
    becomes(&service, "t1", None, &(json!({ "target": { "celsius": 21.5 } }), applied(&["comfort"])));
    assert_eq!(state(&service, "t2", None), (json!({}), Value::Null));

    let read = call("get_configuration", json!({ "configuration_id": "comfort" }));
    assert_eq!(read["etag"], created["etag"]);
    assert_eq!(read["systemMetrics"]["results"], json!({ "appliedCount": 1, "targetedCount": 1 }));
    assert_eq!(read["metrics"]["results"], json!({ "warm": 0 }));
    // The strings of the system metrics are queries, which clients run themselves.
    let query = read["systemMetrics"]["queries"]["appliedCount"].as_str().unwrap();
    let page = call("query", json!({ "query": query }));
    assert_eq!(page["items"].as_array().unwrap().len(), 1);

    // The package sends the etag without quotes.
    let mut changed = configuration.clone();
    changed["targetCondition"] = "tags.kind='thermostat' OR deviceId='t2'".into();
    let stale = json!({ "configuration": changed, "etag": "MA==" });
    assert_eq!(service.refusal("update_configuration", &stale), (412, "PreconditionFailed".to_owned()));
    let updated = call("update_configuration", json!({ "configuration": changed, "etag": created["etag"] }));
    assert_eq!(updated["targetCondition"], changed["targetCondition"]);
    assert_ne!(updated["etag"], created["etag"]);
    becomes(&service, "t2", None, &(json!({ "target": { "celsius": 21.5 } }), applied(&["comfort"])));
    let mut other = changed.clone();
    other["content"]["deviceContent"]["properties.desired.target"]["celsius"] = json!(5);
    let immutable = service.refusal("update_configuration", &json!({ "configuration": other, "etag": "*" }));
    assert_eq!(immutable, (400, "CannotModifyImmutableConfigurationContent".to_owned()));

    let listed = call("get_configurations", json!({}));
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["id"]), (1, &json!("comfort")));
    assert_eq!(call("get_configurations", json!({ "max_count": 1 })).as_array().unwrap().len(), 1);

    let queries = json!({
        "target_condition": "tags.kind = 'thermostat'", "custom_metric_queries": { "all": "SELECT * FROM devices" },
    });
    assert_eq!(call("test_configuration_queries", queries), json!({}));
    let queries =
        json!({ "target_condition": "edgeDeviceVM", "custom_metric_queries": { "bad": "select *" } });
    let errors = call("test_configuration_queries", queries);
    assert!(errors["targetConditionError"].as_str().unwrap().contains("edgeDeviceVM"), "{errors}");
    assert!(errors["customMetricQueryErrors"]["bad"].is_string(), "{errors}");

    call("create_edge_device", json!({ "device_id": "gate" }));
    let modules = json!({ "modulesContent": {
        "$edgeAgent": { "properties.desired": { "schemaVersion": "1.1", "modules": { "m": { "type": "docker" } } } },
        "m": { "properties.desired": { "interval": 5 } },
    } });
    call("apply_configuration_on_edge_device", json!({ "device_id": "gate", "content": modules }));
    assert_eq!(state(&service, "gate", Some("m")).0, json!({ "interval": 5 }));
    let on_leaf = json!({ "device_id": "t1", "content": modules });
    let refused = service.refusal("apply_configuration_on_edge_device", &on_leaf);
    assert_eq!(refused, (400, "InvalidConfigurationContent".to_owned()));

    let wrong = json!({ "configuration_id": "comfort", "etag": "\"x\"" });
    assert_eq!(service.refusal("delete_configuration", &wrong), (412, "PreconditionFailed".to_owned()));
    call("delete_configuration", json!({ "configuration_id": "comfort" }));
    becomes(&service, "t1", None, &(json!({}), Value::Null));
    becomes(&service, "t2", None, &(json!({}), Value::Null));
    let gone = json!({ "configuration_id": "comfort" });
    assert_eq!(service.refusal("get_configuration", &gone), (404, "ConfigurationNotFound".to_owned()));
    assert_eq!(service.refusal("delete_configuration", &gone), (404, "ConfigurationNotFound".to_owned()));
}

#[test]
fn a_node_back_end_manages_configurations() {
    let hub = Hub::start();
    let node = NodeClient::service(&hub);
    let service = Service::owner(&hub);
    let _ = service.create_device("chiller");
    // The configuration of the SDK's own sample.
    let configuration = json!({
        "id": "chiller-1", "targetCondition": "*", "priority": 20, "labels": { "App": "Mongo" },
        "content": { "deviceContent": { "properties.desired.chiller-water": { "temperature": 66, "pressure": 28.02 } } },
        "metrics": { "queries": {
            "waterSettingsPending":
                "SELECT deviceId FROM devices WHERE properties.reported.chillerWaterSettings.status='pending'",
        } },
    });
    let added = node.ok("add_configuration", &json!({ "configuration": configuration }));
    assert_eq!((&added["schemaVersion"], &added["contentType"]), (&json!("1.0"), &Value::Null));
    let water = &added["content"]["deviceContent"]["properties.desired.chiller-water"];
    assert!(water["temperature"].is_u64() && water["pressure"].is_f64(), "{water}");
    becomes(
        &service,
        "chiller",
        None,
        &(json!({ "chiller-water": { "temperature": 66, "pressure": 28.02 } }), applied(&["chiller-1"])),
    );
    // As its sample does: change what was read, and send it back with its etag.
    let mut read = node.ok("get_configuration", &json!({ "id": "chiller-1" }));
    assert_eq!(read["systemMetrics"]["results"]["appliedCount"], 1);
    read["priority"] = 21.into();
    let updated = node.ok("update_configuration", &json!({ "configuration": read }));
    assert_eq!(updated["priority"], 21);
    let stale = node.call("update_configuration", &json!({ "configuration": read }));
    assert!(stale.is_err(), "another editor was first: {stale:?}");
    let forced = node.ok("update_configuration", &json!({ "configuration": read, "force": true }));
    assert_ne!(forced["etag"], updated["etag"]);
    assert_eq!(node.ok("get_configurations", &Value::Null).as_array().unwrap().len(), 1);
    service.call("create_edge_device", &json!({ "device_id": "gate" })).unwrap();
    let content = json!({ "modulesContent": { "$edgeHub": { "properties.desired.routes.r": "FROM /* INTO $upstream" } } });
    node.ok("apply_configuration", &json!({ "device_id": "gate", "content": content }));
    assert_eq!(
        state(&service, "gate", Some("$edgeHub")).0,
        json!({ "routes": { "r": "FROM /* INTO $upstream" } })
    );
    node.ok("remove_configuration", &json!({ "id": "chiller-1" }));
    becomes(&service, "chiller", None, &(json!({}), Value::Null));
    assert!(node.call("get_configuration", &json!({ "id": "chiller-1" })).is_err());
}

/// Sends a request as the Azure CLI does.
#[track_caller]
fn cli(
    service: &Service,
    verb: &str,
    path: &str,
    if_match: Option<&str>,
    body: Option<&Value>,
) -> (u16, Value) {
    let mut headers = json!({
        "Authorization": service.authorization(), "Accept": "application/json", "Cache-Control": "no-cache",
    });
    if let Some(if_match) = if_match {
        headers["If-Match"] = if_match.into();
    }
    let body = body.map(Value::to_string);
    let response = service.http_with(verb, &format!("{path}?{API}"), headers, body.as_deref());
    let json = if response.body.is_empty() { Value::Null } else { response.json() };
    (response.status, json)
}

/// `az iot hub configuration create|show|update|show-metric|delete`.
#[test]
fn the_azure_cli_manages_configurations() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let _ = service.create_device("d");
    set_tags(&service, "d", json!({ "building": 9, "environment": "test" }));
    let create = json!({
        "id": "config", "schemaVersion": "2.0", "labels": { "key0": "value0" },
        "content": { "deviceContent": { "properties.desired.chillerWaterSettings": { "temperature": 38, "pressure": 78 } } },
        "metrics": { "queries": { "mymetric": "select *" } },
        "targetCondition": "tags.building=9 and tags.environment='test'", "etag": "*", "priority": 3,
    });
    let (status, created) = cli(&service, "PUT", "/configurations/config", None, Some(&create));
    assert_eq!((status, &created["schemaVersion"]), (200, &json!("2.0")), "{created}");
    becomes(
        &service,
        "d",
        None,
        &(json!({ "chillerWaterSettings": { "temperature": 38, "pressure": 78 } }), applied(&["config"])),
    );
    let (_, mut shown) = cli(&service, "GET", "/configurations/config", None, None);
    assert_eq!(shown["metrics"]["queries"]["mymetric"], "select *", "a query that is not one is stored");
    assert_eq!(shown["metrics"]["results"], json!({}));
    let query = json!({ "query": shown["systemMetrics"]["queries"]["appliedCount"] });
    let (status, rows) = cli(&service, "POST", "/devices/query", None, Some(&query));
    assert_eq!((status, rows), (200, json!([{ "deviceId": "d" }])));
    // `--set tags.x=null` leaves members that are null, and `priority` may be missing.
    shown["labels"] = json!({ "remove": null, "priority": "user-string" });
    shown["metrics"] = json!({ "queries": { "count": "select count() from devices", "remove": null } });
    shown["targetCondition"] = "tags.site='a'".into();
    shown.as_object_mut().unwrap().remove("priority");
    let (status, updated) = cli(&service, "PUT", "/configurations/config", Some("\"*\""), Some(&shown));
    assert_eq!(status, 200, "{updated}");
    assert_eq!(
        (&updated["labels"], &updated["priority"], &updated["metrics"]["queries"]),
        (
            &json!({ "priority": "user-string" }),
            &json!(3),
            &json!({ "count": "select count() from devices" })
        )
    );
    becomes(&service, "d", None, &(json!({}), Value::Null));
    let (_, listed) = cli(&service, "GET", "/configurations", None, None);
    assert_eq!(listed.as_array().unwrap().len(), 1);
    let (status, _) = cli(&service, "DELETE", "/configurations/config", Some("\"*\""), None);
    assert_eq!(status, 204);
}

/// `az iot edge deployment create`, also `--layered`, and `az iot edge set-modules`.
#[test]
fn the_azure_cli_deploys_modules_to_edge_devices() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    service.call("create_edge_device", &json!({ "device_id": "gate" })).unwrap();
    let runtime = json!({ "type": "docker", "settings": { "minDockerVersion": "v1.25" } });
    let agent = json!({ "schemaVersion": "1.0", "runtime": runtime, "systemModules": {}, "modules": {} });
    let router = json!({ "schemaVersion": "1.0", "routes": {}, "storeAndForwardConfiguration": { "timeToLiveSecs": 7200 } });
    let create = |id: &str, priority: i64, modules: Value| {
        let body = json!({
            "id": id, "schemaVersion": "2.0", "labels": {}, "content": { "modulesContent": modules },
            "metrics": { "queries": {} }, "targetCondition": "*", "etag": "*", "priority": priority,
        });
        let (status, created) = cli(&service, "PUT", &format!("/configurations/{id}"), None, Some(&body));
        assert_eq!(status, 200, "{created}");
        created
    };
    let base = create(
        "base",
        1,
        json!({ "$edgeAgent": { "properties.desired": agent }, "$edgeHub": { "properties.desired": router } }),
    );
    let names: Vec<_> = base["systemMetrics"]["queries"].as_object().unwrap().keys().collect();
    assert_eq!(names, ["appliedCount", "reportedFailedCount", "reportedSuccessfulCount", "targetedCount"]);
    let module = json!({ "settings": { "image": "myimageuri", "createOptions": "{\"MemorySwap\":0}" }, "type": "docker" });
    create(
        "layer",
        2,
        json!({
            "$edgeAgent": { "properties.desired.modules.mymodule0": module },
            "$edgeHub": { "properties.desired.routes.route0": "from /messages/* INTO $upstream" },
            "mymodule0": { "properties.desired.settings": { "prop0": "val0" } },
        }),
    );
    let mut expected = agent.clone();
    expected["modules"]["mymodule0"] = module;
    becomes(&service, "gate", Some("$edgeAgent"), &(expected, applied(&["base", "layer"])));
    let mut routes = router.clone();
    routes["routes"]["route0"] = "from /messages/* INTO $upstream".into();
    becomes(&service, "gate", Some("$edgeHub"), &(routes, Value::Null));
    becomes(&service, "gate", Some("mymodule0"), &(json!({ "settings": { "prop0": "val0" } }), Value::Null));
    let (_, shown) = cli(&service, "GET", "/configurations/layer", None, None);
    assert_eq!(shown["systemMetrics"]["results"]["appliedCount"], 1);
    for id in ["layer", "base"] {
        assert_eq!(cli(&service, "DELETE", &format!("/configurations/{id}"), Some("\"*\""), None).0, 204);
    }
    becomes(&service, "gate", Some("$edgeAgent"), &(json!({}), Value::Null));
    let content = json!({ "modulesContent": { "$edgeAgent": { "properties.desired": agent }, "m": { "properties.desired": { "a": 1 } } } });
    let (status, body) =
        cli(&service, "POST", "/devices/gate/applyConfigurationContent", None, Some(&content));
    assert_eq!((status, body), (204, Value::Null));
    let (_, modules) = cli(&service, "GET", "/devices/gate/modules", None, None);
    let ids: Vec<_> =
        modules.as_array().unwrap().iter().map(|module| module["moduleId"].as_str().unwrap()).collect();
    assert_eq!(ids, ["$edgeAgent", "$edgeHub", "m", "mymodule0"]);
    assert_eq!(state(&service, "gate", Some("$edgeAgent")).0, agent);
}

#[test]
fn requests_without_the_right_or_with_invalid_bodies_are_refused() {
    let hub = Hub::start();
    let owner = Service::owner(&hub);
    let reader = sas::policy_token(hub.variable("IOTHUB_SERVICE_CONNECTION_STRING"));
    let valid = thermostats("c", "*", 1, json!({ "properties.desired.a": 1 })).to_string();
    for (verb, path, body) in [
        ("GET", "/configurations", None),
        ("GET", "/configurations/c", None),
        ("PUT", "/configurations/c", Some(valid.as_str())),
        ("DELETE", "/configurations/c", None),
        ("POST", "/configurations/testQueries", Some("{}")),
        ("POST", "/devices/d/applyConfigurationContent", Some("{}")),
    ] {
        let response = owner.http(verb, &format!("{path}?{API}"), Some(&reader), body);
        assert_eq!(
            (response.status, response.error_code()),
            (401, "IotHubUnauthorizedAccess"),
            "{verb} {path}"
        );
    }
    let authorization = owner.authorization();
    let put = |id: &str, body: &str| {
        let response =
            owner.http("PUT", &format!("/configurations/{id}?{API}"), Some(authorization), Some(body));
        (response.status, response.error_code().to_owned())
    };
    let refused = |status: u16, code: &str| (status, code.to_owned());
    assert_eq!(put("C", &valid), refused(400, "ArgumentInvalid"));
    assert_eq!(put("other", &valid), refused(400, "ArgumentInvalid"));
    assert_eq!(put("c", "[]"), refused(400, "IotHubFormatError"));
    assert_eq!(put("c", "{}"), refused(400, "InvalidConfigurationContent"));
    let with = |condition: &str, settings: Value| thermostats("c", condition, 1, settings).to_string();
    let settings = || json!({ "properties.desired.a": 1 });
    let condition = refused(400, "InvalidConfigurationTargetCondition");
    assert_eq!(put("c", &with("edgeDeviceVM", settings())), condition);
    assert_eq!(put("c", &with("tags.a = ", settings())), condition);
    let content = refused(400, "InvalidConfigurationContent");
    assert_eq!(put("c", &with("*", json!({ "tags.a": 1 }))), content);
    assert_eq!(put("c", &with("*", json!({ "properties.desired.a": "x".repeat(5000) }))), content);
    let both = json!({ "content": { "deviceContent": settings(), "moduleContent": settings() } });
    assert_eq!(put("c", &both.to_string()), content);
    let (_, listed) = cli(&owner, "GET", "/configurations", None, None);
    assert_eq!(listed, json!([]));
}

#[test]
fn a_twin_that_cannot_have_a_configuration_is_reported_and_gets_the_others() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let _ = service.create_device("d");
    let large: Value = (0..8).map(|number| (format!("k{number}"), json!("x".repeat(4000)))).collect();
    service.call("change_twin", &json!({ "device_id": "d", "desired": large })).unwrap();
    for (id, settings) in [
        ("small", json!({ "properties.desired.small": 1 })),
        ("large", json!({ "properties.desired.large": "y".repeat(4000) })),
    ] {
        service
            .call("create_configuration", &json!({ "configuration": thermostats(id, "*", 1, settings) }))
            .unwrap();
    }
    let mut expected = large;
    expected["small"] = 1.into();
    let statuses = json!({ "large": { "status": "Targeted" }, "small": { "status": "Applied" } });
    becomes(&service, "d", None, &(expected, statuses));
    let line = "a device cannot have the settings of a configuration";
    eventually("a line in the log", SOON, || hub.log().contains(line).then_some(()));
    let metrics = hub.metrics();
    assert!(metrics.contains("ferrohub_configurations 2"), "{metrics}");
}

#[test]
fn configurations_survive_a_kill_and_go_on() {
    let mut hub = Hub::start();
    let service = Service::owner(&hub);
    for number in 0..50 {
        let _ = service.create_device(&format!("d{number}"));
    }
    let configuration = thermostats("c", "*", 1, json!({ "properties.desired.a": 1 }));
    service.call("create_configuration", &json!({ "configuration": configuration })).unwrap();
    hub.kill();
    hub.start_again();
    let service = Service::owner(&hub);
    for number in 0..50 {
        becomes(&service, &format!("d{number}"), None, &(json!({ "a": 1 }), applied(&["c"])));
    }
}
