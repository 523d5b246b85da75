//! Every public method of Microsoft's service clients, each with what it returns. The programs record the methods that they
//! call, so that a method that the package has and no test calls fails the test.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::time::Duration;

use ferrohub_acceptance::{Device, HttpsDevice, Hub, NodeClient, Service, eventually, sas};
use serde_json::{Value, json};

const KEY: &str = "AAECAwQFBgcICQoLDA0ODw==";
const OTHER_KEY: &str = "Dw4NDAsKCQgHBgUEAwIBAA==";
const THUMBPRINT: &str = "AB0123456789AB0123456789AB0123456789AB01";
const OTHER_THUMBPRINT: &str = "CD0123456789CD0123456789CD0123456789CD01";
const LIMIT: Duration = Duration::from_secs(30);
const MODEL: &str = "dtmi:com:example:Thermostat;1";

/// Calls an operation of the program, which must succeed.
type Call<'a> = dyn Fn(&str, Value) -> Value + 'a;

/// Returns whether the values at these paths are those.
#[track_caller]
fn assert_has(found: &Value, expected: &[(&str, Value)]) {
    for (path, value) in expected {
        assert_eq!(found.pointer(path).unwrap_or(&Value::Null), value, "{path} in {found}");
    }
}

#[track_caller]
fn assert_all_were_called(calls: &Value, classes: &[(&str, usize)]) {
    let names = |list: &str| -> Vec<String> {
        calls[list].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
    };
    let methods = names("methods");
    for (class, least) in classes {
        let found = methods.iter().filter(|name| name.starts_with(&format!("{class}."))).count();
        assert!(found >= *least, "only {found} methods of {class} were found");
    }
    assert_eq!(names("called"), methods);
}

fn container_url(hub: &Hub) -> String {
    let printed = hub.command(["files", "container-url", "--output", "json"]).success();
    serde_json::from_str::<Value>(&printed).unwrap()["url"].as_str().unwrap().to_owned()
}

/// Starts the device `sas`, which answers methods and has a model.
fn thermostat(hub: &Hub, key: &str) -> Device {
    let connection_string = format!("HostName={};DeviceId=sas;SharedAccessKey={key}", hub.name());
    Device::with_connection_string(&connection_string).option("product_info", MODEL).listen(hub)
}

#[test]
fn every_method_of_the_python_service_clients_works() {
    let config = "[messages]\nfeedback_delay_seconds = 1\n";
    let hub = Hub::builder().config(config).with_development_issuer().start();
    let service = Service::recording(&hub);
    let call = |operation: &str, arguments: Value| {
        service.call(operation, &arguments).unwrap_or_else(|error| panic!("{operation}: {error:?}"))
    };
    python_devices(&service, &call);
    python_modules(&hub, &service, &call);
    python_twins_and_queries(&call);
    python_configurations(&call);
    let device = thermostat(&hub, KEY);
    python_calls(&device, &call);
    python_messages(&service, &call);
    python_jobs(&hub, &service, &call);

    let read = call("read_with_token_credentials", json!({}));
    assert_eq!(read["devices"], json!(["authority", "edge", "sas", "thumbprint"]));
    assert_eq!(
        (&read["configurations"], &read["digital_twin"], &read["feedback"]),
        (&json!([]), &json!("authority"), &Value::Null)
    );
    assert_eq!(read["jobs"].as_array().unwrap().len(), 1);
    let classes = [
        ("DigitalTwinClient", 6),
        ("IoTHubConfigurationManager", 9),
        ("IoTHubHttpRuntimeManager", 5),
        ("IoTHubJobManager", 10),
        ("IoTHubRegistryManager", 33),
    ];
    assert_all_were_called(&call("calls", json!({})), &classes);
}

fn python_devices(service: &Service, call: &Call<'_>) {
    let create = json!({ "device_id": "sas", "primary_key": OTHER_KEY, "secondary_key": KEY });
    let created = call("create_device_with_sas", create);
    let keys = "/authentication/symmetricKey";
    assert_has(
        &created,
        &[
            ("/deviceId", json!("sas")),
            ("/status", json!("enabled")),
            ("/authentication/type", json!("sas")),
            (&format!("{keys}/primaryKey"), json!(OTHER_KEY)),
            (&format!("{keys}/secondaryKey"), json!(KEY)),
            ("/connectionState", json!("Disconnected")),
        ],
    );
    let update = json!({ "device_id": "sas", "etag": created["etag"], "primary_key": KEY,
        "secondary_key": OTHER_KEY, "status": "disabled" });
    let updated = call("update_device_with_sas", update.clone());
    assert_has(&updated, &[(&format!("{keys}/primaryKey"), json!(KEY)), ("/status", json!("disabled"))]);
    assert_eq!(updated["generationId"], created["generationId"]);
    let stale = (412, "PreconditionFailed".to_owned());
    assert_eq!(service.refusal("update_device_with_sas", &update), stale);
    // Without an etag, the client sends "*".
    let enable = json!({ "device_id": "sas", "etag": null, "primary_key": KEY, "secondary_key": OTHER_KEY });
    assert_eq!(call("update_device_with_sas", enable)["status"], "enabled");

    let create = json!({ "device_id": "thumbprint", "primary_thumbprint": THUMBPRINT });
    let created = call("create_device_with_x509", create);
    let primary = "/authentication/x509Thumbprint/primaryThumbprint";
    let secondary = "/authentication/x509Thumbprint/secondaryThumbprint";
    assert_has(&created, &[("/authentication/type", json!("selfSigned")), (primary, json!(THUMBPRINT))]);
    let update = json!({ "device_id": "thumbprint", "etag": created["etag"], "status": "disabled",
        "primary_thumbprint": OTHER_THUMBPRINT, "secondary_thumbprint": THUMBPRINT });
    let updated = call("update_device_with_x509", update.clone());
    let expected =
        [(primary, json!(OTHER_THUMBPRINT)), (secondary, json!(THUMBPRINT)), ("/status", json!("disabled"))];
    assert_has(&updated, &expected);
    assert_eq!(call("get_device", json!({ "device_id": "thumbprint" })), updated);
    assert_eq!(service.refusal("update_device_with_x509", &update), stale);

    let created = call("create_device_with_certificate_authority", json!({ "device_id": "authority" }));
    assert_has(
        &created,
        &[("/authentication/type", json!("certificateAuthority")), ("/status", json!("enabled"))],
    );
    let update = json!({ "device_id": "authority", "etag": created["etag"], "status": "disabled" });
    let updated = call("update_device_with_certificate_authority", update.clone());
    assert_has(
        &updated,
        &[("/authentication/type", json!("certificateAuthority")), ("/status", json!("disabled"))],
    );
    assert_eq!(service.refusal("update_device_with_certificate_authority", &update), stale);

    let items = json!([
        { "id": "edge", "importMode": "create", "capabilities": { "iotEdge": true } },
        { "id": "sas", "importMode": "create" },
    ]);
    let result = call("bulk", json!({ "devices": items }));
    assert_has(
        &result,
        &[
            ("/isSuccessful", json!(false)),
            ("/errors/0/deviceId", json!("sas")),
            ("/errors/0/errorCode", json!("DeviceAlreadyExists")),
        ],
    );
    let ids = |found: Value| -> Vec<Value> {
        found.as_array().unwrap().iter().map(|device| device["deviceId"].clone()).collect()
    };
    assert_eq!(ids(call("get_devices", json!({}))), ["authority", "edge", "sas", "thumbprint"]);
    assert_eq!(ids(call("get_devices", json!({ "max_number_of_devices": 1 }))), ["authority"]);
    let statistics = call("get_device_registry_statistics", json!({}));
    assert_eq!(
        statistics,
        json!({ "totalDeviceCount": 4, "enabledDeviceCount": 2, "disabledDeviceCount": 2 })
    );
    assert_eq!(call("get_service_statistics", json!({})), json!({ "connectedDeviceCount": 0 }));
    call("create_device_with_sas", json!({ "device_id": "gone" }));
    call("delete_device", json!({ "device_id": "gone" }));
    let gone = (404, "DeviceNotFound".to_owned());
    assert_eq!(service.refusal("get_device", &json!({ "device_id": "gone" })), gone);
}

fn python_modules(hub: &Hub, service: &Service, call: &Call<'_>) {
    let of = |module: &str, more: Value| {
        let mut arguments = json!({ "device_id": "sas", "module_id": module, "managed_by": "operator" });
        arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        arguments
    };
    let keys = |primary: &str, secondary: &str| json!({ "primary_key": primary, "secondary_key": secondary });
    let created = call("create_module_with_sas", of("m", keys(KEY, OTHER_KEY)));
    assert_has(
        &created,
        &[
            ("/deviceId", json!("sas")),
            ("/moduleId", json!("m")),
            ("/managedBy", json!("operator")),
            ("/authentication/symmetricKey/primaryKey", json!(KEY)),
        ],
    );
    let mut update = of("m", keys(OTHER_KEY, KEY));
    update["etag"] = created["etag"].clone();
    let updated = call("update_module_with_sas", update.clone());
    assert_eq!(updated["authentication"]["symmetricKey"]["primaryKey"], OTHER_KEY);
    let stale = (412, "PreconditionFailed".to_owned());
    assert_eq!(service.refusal("update_module_with_sas", &update), stale);

    let created = call("create_module_with_x509", of("x", json!({ "primary_thumbprint": THUMBPRINT })));
    assert_eq!(created["authentication"]["type"], "selfSigned");
    let mut update =
        of("x", json!({ "primary_thumbprint": OTHER_THUMBPRINT, "secondary_thumbprint": THUMBPRINT }));
    update["etag"] = created["etag"].clone();
    let updated = call("update_module_with_x509", update.clone());
    assert_eq!(
        updated["authentication"]["x509Thumbprint"],
        json!({ "primaryThumbprint": OTHER_THUMBPRINT, "secondaryThumbprint": THUMBPRINT })
    );
    assert_eq!(service.refusal("update_module_with_x509", &update), stale);

    let created = call("create_module_with_certificate_authority", of("a", json!({})));
    assert_eq!(created["authentication"]["type"], "certificateAuthority");
    let mut update = of("a", json!({ "managed_by": "another" }));
    update["etag"] = created["etag"].clone();
    let updated = call("update_module_with_certificate_authority", update.clone());
    assert_has(
        &updated,
        &[("/authentication/type", json!("certificateAuthority")), ("/managedBy", json!("another"))],
    );
    assert_eq!(service.refusal("update_module_with_certificate_authority", &update), stale);
    assert_eq!(call("get_module", json!({ "device_id": "sas", "module_id": "a" })), updated);
    let modules = call("get_modules", json!({ "device_id": "sas" }));
    let ids: Vec<_> = modules.as_array().unwrap().iter().map(|module| &module["moduleId"]).collect();
    assert_eq!(ids, ["a", "m", "x"]);
    call("delete_module", json!({ "device_id": "sas", "module_id": "x" }));
    let gone = (404, "ModuleNotFound".to_owned());
    assert_eq!(service.refusal("get_module", &json!({ "device_id": "sas", "module_id": "x" })), gone);

    let connection_string =
        format!("HostName={};DeviceId=sas;ModuleId=m;SharedAccessKey={OTHER_KEY}", hub.name());
    let _module = Device::with_connection_string(&connection_string).listen(hub);
    let invoke = json!({ "device_id": "sas", "module_id": "m", "method_name": "echo", "payload": [1],
        "connect_timeout_in_seconds": 10 });
    assert_eq!(call("invoke_module", invoke), json!({ "status": 200, "payload": [1] }));
}

fn python_twins_and_queries(call: &Call<'_>) {
    for ids in [json!({ "device_id": "sas" }), json!({ "device_id": "sas", "module_id": "m" })] {
        let with = |more: Value| {
            let mut arguments = ids.clone();
            arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            arguments
        };
        let twin = call("get_twin", ids.clone());
        assert_has(&twin, &[("/deviceId", json!("sas")), ("/tags", json!({}))]);
        assert_eq!(twin["moduleId"], ids["module_id"]);
        let patch = json!({ "tags": { "floor": 7 }, "desired": { "rate": 5, "mode": "fast" } });
        let patched = call("change_twin", with(patch));
        assert_has(&patched, &[("/tags/floor", json!(7)), ("/properties/desired/rate", json!(5))]);
        assert_ne!(patched["etag"], twin["etag"]);
        let whole = json!({ "tags": { "room": 1 }, "desired": { "rate": 6 }, "replace": true,
            "etag": patched["etag"] });
        let replaced = call("change_twin", with(whole));
        let desired = &replaced["properties"]["desired"];
        assert_eq!((&replaced["tags"], &desired["rate"]), (&json!({ "room": 1 }), &json!(6)));
        assert_eq!(desired.get("mode"), None, "{replaced}");
        assert_eq!(call("get_twin", ids.clone()), replaced);
    }
    let query = json!({ "query": "SELECT * FROM devices WHERE tags.room = 1", "max_item_count": 1 });
    let page = call("query", query);
    assert_has(
        &page,
        &[
            ("/type", json!("Twin")),
            ("/continuation_token", Value::Null),
            ("/items/0/deviceId", json!("sas")),
        ],
    );
    // The client reads each row as a twin, so that it loses the columns of others.
    let columns = call("query", json!({ "query": "SELECT tags.room AS n, deviceId FROM devices" }));
    assert_eq!(columns["type"], "Raw");
    assert_has(&columns["items"][2], &[("/deviceId", json!("sas")), ("/n", Value::Null)]);
}

fn python_configurations(call: &Call<'_>) {
    let content = json!({ "deviceContent": { "properties.desired.interval": 60 } });
    let configuration =
        json!({ "id": "slow", "content": content, "targetCondition": "tags.none = 1", "priority": 1 });
    let created = call("create_configuration", json!({ "configuration": configuration }));
    assert_has(
        &created,
        &[("/id", json!("slow")), ("/content/deviceContent", content["deviceContent"].clone())],
    );
    let mut changed = created.clone();
    changed["priority"] = 2.into();
    let updated = call("update_configuration", json!({ "configuration": changed, "etag": created["etag"] }));
    assert_eq!(updated["priority"], 2);
    let read = call("get_configuration", json!({ "configuration_id": "slow" }));
    assert_eq!((&read["etag"], &read["priority"]), (&updated["etag"], &json!(2)));
    let all = call("get_configurations", json!({ "max_count": 5 }));
    assert_eq!(all.as_array().unwrap().len(), 1);
    let tested = call(
        "test_configuration_queries",
        json!({ "target_condition": "tags.", "custom_metric_queries": { "m": "SELECT deviceId FROM devices" } }),
    );
    assert!(tested["targetConditionError"].is_string(), "{tested}");
    assert_eq!(tested.get("customMetricQueryErrors"), None, "{tested}");
    call("delete_configuration", json!({ "configuration_id": "slow" }));
    assert_eq!(call("get_configurations", json!({})), json!([]));
    let modules = json!({ "modulesContent": { "$edgeHub": { "properties.desired": { "routes": {} } } } });
    call("apply_configuration_on_edge_device", json!({ "device_id": "edge", "content": modules }));
    let twin = call("get_twin", json!({ "device_id": "edge", "module_id": "$edgeHub" }));
    assert_eq!(twin["properties"]["desired"]["routes"], json!({}));
}

fn python_calls(device: &Device, call: &Call<'_>) {
    let invoke = json!({ "device_id": "sas", "method_name": "echo", "payload": { "a": 1 },
        "connect_timeout_in_seconds": 10, "response_timeout_in_seconds": 20 });
    assert_eq!(call("invoke", invoke), json!({ "status": 200, "payload": { "a": 1 } }));
    let twin = call("get_digital_twin", json!({ "device_id": "sas" }));
    assert_has(&twin, &[("/$dtId", json!("sas")), ("/$metadata/$model", json!(MODEL))]);
    let patch = json!([{ "op": "add", "path": "/targetTemperature", "value": 21 }]);
    call("update_digital_twin", json!({ "device_id": "sas", "patch": patch }));
    let changed = call("get_digital_twin", json!({ "device_id": "sas" }));
    assert_eq!(changed["$metadata"]["targetTemperature"]["desiredValue"], 21);
    let command = json!({ "device_id": "sas", "command": "echo", "payload": [2] });
    assert_eq!(call("invoke_command", command), json!([2]));
    let command = json!({ "device_id": "sas", "component": "fan", "command": "stop", "payload": "now" });
    assert_eq!(call("invoke_command", command), json!({ "Response": "Unknown method" }));
    let _ = device.request_of("fan*stop");
}

fn python_messages(service: &Service, call: &Call<'_>) {
    let receiver = service.create_device("receiver");
    let device = HttpsDevice::new(service, &receiver);
    assert_eq!(call("receive_feedback_notification", json!({})), Value::Null, "there is none");
    let send = |message: &str, properties: Value| {
        let message = json!({ "device_id": "receiver", "message": message, "properties": properties });
        call("send_c2d_message", message);
    };
    send("hello", json!({ "iothub-ack": "full", "messageId": "m1" }));
    assert_eq!(device.take().as_deref(), Some("hello"));
    let feedback = || {
        eventually("feedback arrives", LIMIT, || {
            Some(call("receive_feedback", json!({}))).filter(|found| !found.is_null())
        })
    };
    let first = feedback();
    assert_has(
        &first["records"][0],
        &[("/originalMessageId", json!("m1")), ("/statusCode", json!("Success"))],
    );
    call("abandon_feedback", json!({ "lock_token": first["lock_token"] }));
    let again = feedback();
    assert_eq!(again["records"][0]["originalMessageId"], "m1");
    call("complete_feedback", json!({ "lock_token": again["lock_token"] }));
    assert_eq!(call("receive_feedback", json!({})), Value::Null);
    send("one", json!({}));
    send("two", json!({}));
    assert_eq!(call("purge", json!({ "device_id": "receiver" }))["totalMessagesPurged"], 2);
    call("delete_device", json!({ "device_id": "receiver" }));
}

fn python_jobs(hub: &Hub, service: &Service, call: &Call<'_>) {
    let url = container_url(hub);
    let created = call(
        "create_job",
        json!({ "type": "export", "output_blob_container_uri": url, "exclude_keys_in_export": true }),
    );
    assert_has(&created, &[("/type", json!("export")), ("/excludeKeysInExport", json!(true))]);
    let id = json!({ "job_id": created["jobId"] });
    let listed = call("list_jobs", json!({}));
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["jobId"]), (1, &created["jobId"]));
    assert_eq!(call("get_job", id.clone())["jobId"], created["jobId"]);
    // It may have ended.
    assert_eq!(call("cancel_job", id)["jobId"], created["jobId"]);

    let job = json!({ "jobId": "later", "type": "scheduleUpdateTwin", "queryCondition": "*",
        "startTime": "2030-01-01T00:00:00Z", "maxExecutionTimeInSeconds": 60,
        "updateTwin": { "etag": "*", "tags": { "floor": 8 } } });
    let created = call("create_scheduled_job", json!({ "job_id": "later", "job": job }));
    assert_has(&created, &[("/jobId", json!("later")), ("/status", json!("scheduled"))]);
    let id = json!({ "job_id": "later" });
    assert_eq!(call("get_scheduled_job", id.clone()), created);
    let listed = call("query_scheduled_jobs", json!({ "job_status": "scheduled" }));
    assert_has(
        &listed,
        &[
            ("/type", json!("jobResponse")),
            ("/items/0/jobId", json!("later")),
            ("/items/0/updateTwin", created["updateTwin"].clone()),
        ],
    );
    assert_eq!(call("cancel_scheduled_job", id.clone())["status"], "cancelled");
    let unknown = json!({ "job_id": "unknown" });
    assert_eq!(service.refusal("get_scheduled_job", &unknown), (404, "JobNotFound".to_owned()));
}

#[test]
fn every_method_of_the_node_service_clients_works() {
    let hub = Hub::builder().with_development_issuer().start();
    let node = NodeClient::service(&hub);
    let call = |operation: &str, arguments: Value| node.ok(operation, &arguments);
    node_devices(&node, &call);
    node_modules_and_twins(&node, &call);
    node_queries(&call);
    node_configurations(&node, &call);
    let device = thermostat(&hub, KEY);
    node_digital_twins(&device, &call);
    node_jobs(&hub, &node, &call);

    let entra = Service::with_entra(&hub).call("entra_token", &json!({})).unwrap();
    let sas = sas::policy_token(hub.variable("IOTHUB_CONNECTION_STRING"));
    let read = call("read_with_tokens", json!({ "sas": sas, "entra": entra }));
    let (devices, jobs) = (json!(["edge", "sas"]), json!(["twin", "method"]));
    assert_eq!(read, json!([devices, devices, jobs, jobs]));
    let classes = [("DigitalTwinClient", 4), ("JobClient", 8), ("Query", 2), ("Registry", 35)];
    assert_all_were_called(&call("calls", json!({})), &classes);
}

fn node_devices(node: &NodeClient, call: &Call<'_>) {
    let keys = json!({ "symmetricKey": { "primaryKey": KEY, "secondaryKey": OTHER_KEY } });
    let created = call("create_device", json!({ "device": { "deviceId": "sas", "authentication": keys } }));
    assert_has(
        &created,
        &[("/status", json!("enabled")), ("/authentication/symmetricKey/primaryKey", json!(KEY))],
    );
    let update = json!({ "device": { "deviceId": "sas", "status": "disabled", "statusReason": "test" } });
    assert_has(&call("update_device", update), &[("/status", json!("disabled"))]);
    let read = call("get_device", json!({ "device_id": "sas" }));
    assert_has(
        &read,
        &[("/statusReason", json!("test")), ("/authentication/symmetricKey/secondaryKey", json!(OTHER_KEY))],
    );
    let added = call("add_devices", json!({ "devices": [{ "deviceId": "a" }, { "deviceId": "b" }] }));
    assert_eq!(added["isSuccessful"], true);
    let enable = json!({ "devices": [{ "deviceId": "sas", "status": "enabled" }], "force": true });
    assert_eq!(call("update_devices", enable)["isSuccessful"], true);
    let statistics = call("registry_statistics", json!({}));
    assert_eq!(
        statistics,
        json!({ "totalDeviceCount": 3, "enabledDeviceCount": 3, "disabledDeviceCount": 0 })
    );
    let remove = json!({ "devices": [{ "deviceId": "a" }], "force": true });
    assert_eq!(call("remove_devices", remove)["isSuccessful"], true);
    call("delete_device", json!({ "device_id": "b" }));
    let gone = node.call("get_device", &json!({ "device_id": "b" })).unwrap_err();
    assert_eq!(gone.exception, "DeviceNotFoundError", "{gone:?}");
    call("create_device", json!({ "device": { "deviceId": "edge", "capabilities": { "iotEdge": true } } }));
    let listed = call("list_devices", json!({}));
    let ids: Vec<_> = listed.as_array().unwrap().iter().map(|device| &device["deviceId"]).collect();
    assert_eq!(ids, ["edge", "sas"]);
}

fn node_modules_and_twins(node: &NodeClient, call: &Call<'_>) {
    let ids = json!({ "device_id": "sas", "module_id": "m" });
    let module = |managed_by: &str| json!({ "deviceId": "sas", "moduleId": "m", "managedBy": managed_by });
    let created = call("create_module", json!({ "module": module("me") }));
    assert_has(&created, &[("/moduleId", json!("m")), ("/managedBy", json!("me"))]);
    let mut changed = created.clone();
    changed["managedBy"] = "you".into();
    let updated = call("update_module", json!({ "module": changed, "force": false }));
    assert_eq!(updated["managedBy"], "you");
    assert_eq!(updated["authentication"], created["authentication"]);
    let stale = node.call("update_module", &json!({ "module": changed, "force": false }));
    assert!(stale.is_err(), "the etag is that of before: {stale:?}");
    assert_eq!(call("update_module", json!({ "module": module("all"), "force": true }))["managedBy"], "all");
    let read = call("get_module", ids.clone());
    assert_eq!(read["managedBy"], "all");
    assert_eq!(call("list_modules", json!({ "device_id": "sas" })), json!([read]));

    for (ids, other) in [(json!({ "device_id": "sas" }), 1), (ids.clone(), 2)] {
        let before = call("get_twin", ids.clone());
        assert_eq!((&before["deviceId"], &before["tags"]), (&json!("sas"), &json!({})));
        let mut patch = ids.clone();
        patch["patch"] =
            json!({ "tags": { "floor": other }, "properties": { "desired": { "rate": other } } });
        patch["etag"] = before["etag"].clone();
        let changed = call("patch_twin", patch.clone());
        assert_has(&changed, &[("/tags/floor", json!(other)), ("/properties/desired/rate", json!(other))]);
        assert_eq!(call("get_twin", ids)["tags"], json!({ "floor": other }));
        assert!(node.call("patch_twin", &patch).is_err(), "the etag is that of before");
    }
    let stale = node.call("remove_module_if_unchanged", &json!({ "module": created }));
    assert!(stale.is_err(), "{stale:?}");
    call("remove_module", ids);
    assert_eq!(call("list_modules", json!({ "device_id": "sas" })), json!([]));
}

fn node_queries(call: &Call<'_>) {
    let query = "SELECT deviceId FROM devices";
    let rows = call("query", json!({ "query": query, "page_size": 1 }));
    let page = |id: &str| json!({ "items": [{ "deviceId": id }], "type": "Raw" });
    assert_eq!(rows, json!([page("edge"), page("sas")]));
    let query = "SELECT * FROM devices WHERE tags.floor = 1";
    let twins = call("query", json!({ "query": query, "page_size": 1, "as_twins": true }));
    assert_has(&twins, &[("/0/type", json!("Twin")), ("/0/items/0/deviceId", json!("sas"))]);
}

fn node_configurations(node: &NodeClient, call: &Call<'_>) {
    let content = json!({ "deviceContent": { "properties.desired.interval": 60 } });
    let configuration = json!({ "id": "slow", "content": content, "targetCondition": "tags.none = 1",
        "priority": 1, "schemaVersion": "1.0" });
    let added = call("add_configuration", json!({ "configuration": configuration }));
    let mut changed = added.clone();
    changed["priority"] = 2.into();
    assert_eq!(call("update_configuration", json!({ "configuration": changed }))["priority"], 2);
    assert_eq!(call("get_configuration", json!({ "id": "slow" }))["priority"], 2);
    assert_eq!(call("get_configurations", json!({})).as_array().unwrap().len(), 1);
    call("remove_configuration", json!({ "id": "slow" }));
    assert!(node.call("get_configuration", &json!({ "id": "slow" })).is_err());
    let modules = json!({ "modulesContent": { "$edgeHub": { "properties.desired": { "routes": {} } } } });
    call("apply_configuration", json!({ "device_id": "edge", "content": modules }));
    let twin = call("get_twin", json!({ "device_id": "edge", "module_id": "$edgeHub" }));
    assert_eq!(twin["properties"]["desired"]["routes"], json!({}));
}

fn node_digital_twins(device: &Device, call: &Call<'_>) {
    let twin = call("get_digital_twin", json!({ "device_id": "sas" }));
    assert_eq!(twin["body"]["$metadata"]["$model"], MODEL);
    let patch = json!([{ "op": "add", "path": "/targetTemperature", "value": 21 }]);
    call("update_digital_twin", json!({ "device_id": "sas", "patch": patch, "etag": twin["etag"] }));
    let changed = call("get_digital_twin", json!({ "device_id": "sas" }));
    assert_eq!(changed["body"]["$metadata"]["targetTemperature"]["desiredValue"], 21);
    let command = json!({ "device_id": "sas", "command": "echo", "payload": [2], "options": {} });
    let answer = call("invoke_command", command);
    assert_eq!((&answer["xMsCommandStatuscode"], &answer["body"]), (&json!(200), &json!([2])));
    let command = json!({ "device_id": "sas", "component": "fan", "command": "stop", "payload": "now" });
    assert_eq!(call("invoke_command", command)["xMsCommandStatuscode"], 404);
    let _ = device.request_of("fan*stop");
}

fn node_jobs(hub: &Hub, node: &NodeClient, call: &Call<'_>) {
    let url = container_url(hub);
    // The hub has no identity in Microsoft Entra with which it could open a storage account.
    for (operation, arguments) in [
        ("export_devices_by_identity", json!({ "container": url, "exclude_keys": true })),
        ("import_devices_by_identity", json!({ "input": url, "output": url, "identity": "/user/one" })),
    ] {
        let refused = node.call(operation, &arguments).unwrap_err();
        let response = refused.response.unwrap();
        assert_eq!(response["headers"]["iothub-errorcode"], "ManagedIdentityNotEnabled", "{response}");
    }
    let exported = call("export_devices", json!({ "container": url, "exclude_keys": true }));
    let id = exported["jobId"].clone();
    assert_eq!(exported["type"], "export", "{exported}");
    eventually("the job ends", LIMIT, || {
        let job = call("get_import_export_job", json!({ "job_id": id }));
        (job["status"] == "completed").then_some(())
    });
    let imported = call("import_devices", json!({ "input": url, "output": url }));
    let jobs = call("list_import_export_jobs", json!({}));
    let ids: Vec<_> = jobs.as_array().unwrap().iter().map(|job| job["jobId"].clone()).collect();
    assert!(ids.len() == 2 && ids.contains(&id) && ids.contains(&imported["jobId"]), "{jobs}");
    let cancelled = call("cancel_import_export_job", json!({ "job_id": imported["jobId"] }));
    assert_eq!(cancelled["jobId"], imported["jobId"], "{cancelled}");

    let start = "2030-01-01T00:00:00Z";
    let method = json!({ "job_id": "method", "condition": "*", "method": { "methodName": "echo", "payload": 1 },
        "start": start, "seconds": 60 });
    assert_eq!(call("schedule_method", method)["type"], "scheduleDeviceMethod");
    let twin = json!({ "job_id": "twin", "condition": "*", "patch": { "etag": "*", "tags": { "a": 1 } },
        "start": start, "seconds": 60 });
    assert_eq!(call("schedule_twin", twin)["status"], "scheduled");
    assert_eq!(call("get_job", json!({ "job_id": "twin" }))["updateTwin"]["tags"], json!({ "a": 1 }));
    let pages = call("query_jobs", json!({ "type": "scheduleDeviceMethod", "page_size": 5 }));
    assert_has(&pages, &[("/0/type", json!("JobResponse")), ("/0/items/0/jobId", json!("method"))]);
    assert_eq!(call("cancel_job", json!({ "job_id": "method" }))["status"], "cancelled");
}
