//! Twins with Microsoft's packages: changes of a service reach the device, reported properties reach the service, and
//! acknowledged changes are durable.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::time::Duration;

use ferrohub_acceptance::{Client, Device, Hub, ManualAckDevice, Service, eventually, sas};
use serde_json::{Value, json};

#[track_caller]
fn twin(service: &Service, device_id: &str) -> Value {
    service.call("get_twin", &json!({ "device_id": device_id })).unwrap()
}

#[track_caller]
fn change(service: &Service, device_id: &str, mut change: Value) -> Value {
    change["device_id"] = device_id.into();
    service.call("change_twin", &change).unwrap()
}

/// Returns the properties of a section, without the hub's metadata.
fn values(section: &Value) -> Value {
    let mut values = section.clone();
    let object = values.as_object_mut().expect("a section");
    object.retain(|key, _| !key.starts_with('$'));
    values
}

#[test]
fn a_new_twin_is_empty_and_has_azures_versions() {
    let hub = Hub::start();
    let service = Service::with_service_policy(&hub);
    let identity = Service::owner(&hub).create_device("dev1");
    let twin = twin(&service, "dev1");
    let nothing = json!({ "$metadata": { "$lastUpdated": "0001-01-01T00:00:00Z" }, "$version": 1 });
    assert_eq!(twin["properties"]["desired"], nothing);
    assert_eq!(twin["properties"]["reported"], nothing);
    assert_eq!(twin["tags"], json!({}));
    assert_eq!((&twin["version"], &twin["etag"]), (&json!(2), &json!("AAAAAAAAAAE=")));
    assert_eq!(twin["deviceEtag"], identity.document["etag"]);
    assert_eq!((&twin["status"], &twin["connectionState"]), (&json!("enabled"), &json!("Disconnected")));
    assert_eq!((&twin["deviceId"], &twin["authenticationType"]), (&json!("dev1"), &json!("sas")));
}

#[test]
fn a_service_merges_and_replaces_twins() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let _ = service.create_device("dev1");
    let first = json!({ "tags": { "where": { "hall": 1, "row": 2 } }, "desired": { "rate": 5, "mode": { "a": true } } });
    let merged = change(&service, "dev1", first);
    assert_eq!(merged["tags"], json!({ "where": { "hall": 1, "row": 2 } }));
    assert_eq!(values(&merged["properties"]["desired"]), json!({ "rate": 5, "mode": { "a": true } }));
    assert_eq!((&merged["version"], &merged["properties"]["desired"]["$version"]), (&json!(3), &json!(2)));
    let metadata = &merged["properties"]["desired"]["$metadata"];
    assert_eq!(metadata["mode"]["a"]["$lastUpdatedVersion"], 2);
    assert!(metadata["rate"]["$lastUpdated"].as_str().unwrap().starts_with("20"), "{metadata}");

    let second =
        json!({ "tags": { "where": { "row": null } }, "desired": { "mode": { "a": null, "b": [1, 2] } } });
    change(&service, "dev1", second);
    let now = twin(&service, "dev1");
    assert_eq!(now["tags"], json!({ "where": { "hall": 1 } }));
    assert_eq!(values(&now["properties"]["desired"]), json!({ "rate": 5, "mode": { "b": [1, 2] } }));

    let replaced =
        change(&service, "dev1", json!({ "replace": true, "tags": { "x": 1 }, "desired": { "y": "z" } }));
    assert_eq!(replaced["tags"], json!({ "x": 1 }));
    assert_eq!(values(&replaced["properties"]["desired"]), json!({ "y": "z" }));
    assert_eq!(replaced["properties"]["reported"]["$version"], 1);
}

#[test]
fn an_update_with_an_old_etag_is_refused() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let _ = service.create_device("dev1");
    let seen = twin(&service, "dev1")["etag"].clone();
    let first = change(&service, "dev1", json!({ "tags": { "a": 1 }, "etag": seen }));
    assert_ne!(first["etag"], seen);
    let late = json!({ "device_id": "dev1", "tags": { "a": 2 }, "etag": seen });
    for replace in [false, true] {
        let mut late = late.clone();
        late["replace"] = replace.into();
        let refusal = service.call("change_twin", &late).unwrap_err();
        assert_eq!((refusal.http.status, refusal.http.error_code()), (412, "PreconditionFailed"));
        assert_eq!(refusal.http.nested_error()["errorCode"], 412_001);
    }
    let token = sas::policy_token(hub.variable("IOTHUB_CONNECTION_STRING"));
    for if_match in ["*", "\"*\"", "\"AAAAAAAAAAI=\"", "AAAAAAAAAAI="] {
        let path = "/twins/dev1?api-version=2021-04-12";
        let answer = service.http_with(
            "PATCH",
            path,
            json!({ "Authorization": token, "If-Match": if_match }),
            Some("{}"),
        );
        assert_eq!(answer.status, 200, "{if_match}: {}", answer.body);
        assert_eq!(answer.header("etag"), "\"AAAAAAAAAAI=\"");
    }
}

#[test]
fn an_invalid_update_is_refused_with_the_reason_and_changes_nothing() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let device = Device::with_identity(&service.create_device("dev1")).start(&hub);
    let before = twin(&service, "dev1");
    let deep = (0..11).fold(json!({}), |inner, _| json!({ "a": inner }));
    for (desired, reason) in [
        (json!({ "a.b": 1 }), "the key \"a.b\" contains '.'"),
        (json!({ "a b": 1 }), "contains ' '"),
        (json!({ "a": { "$b": 1 } }), "contains '$'"),
        (json!({ "a": "x".repeat(4097) }), "longer than 4096 bytes"),
        (json!({ "a": 4_503_599_627_370_496_u64 }), "a whole number outside"),
        (deep, "nested deeper than 10"),
        (json!({ "a": vec!["x".repeat(4096); 9] }), "the maximum is 32768"),
    ] {
        let all = json!({ "device_id": "dev1", "tags": { "good": 1 }, "desired": desired });
        let refusal = service.call("change_twin", &all).unwrap_err();
        assert_eq!((refusal.http.status, refusal.http.error_code()), (400, "ArgumentInvalid"), "{reason}");
        let text = refusal.http.nested_error()["message"].as_str().unwrap().to_owned();
        assert!(text.starts_with("properties.desired: ") && text.contains(reason), "{text}");
        let failure = device.report(&desired).unwrap_err();
        assert!(failure.cause.contains("twin operation returned status 400"), "{failure:?}");
    }
    for (body, code) in
        [("{", "IotHubFormatError"), ("[]", "IotHubFormatError"), ("{\"tags\":1}", "IotHubFormatError")]
    {
        let token = sas::policy_token(hub.variable("IOTHUB_SERVICE_CONNECTION_STRING"));
        let answer = service.http("PATCH", "/twins/dev1?api-version=2021-04-12", Some(&token), Some(body));
        assert_eq!((answer.status, answer.error_code()), (400, code), "{body}");
    }
    let after = twin(&service, "dev1");
    assert_eq!(
        (&after["tags"], &after["properties"], &after["version"]),
        (&before["tags"], &before["properties"], &before["version"])
    );
    let refusal = service.call("get_twin", &json!({ "device_id": "nobody" })).unwrap_err();
    assert_eq!((refusal.http.status, refusal.http.error_code()), (404, "DeviceNotFound"));
    let nobody = json!({ "device_id": "nobody", "tags": {} });
    assert_eq!(service.call("change_twin", &nobody).unwrap_err().http.error_code(), "DeviceNotFound");
}

#[track_caller]
fn check_both_sides(client: Client, websockets: bool) {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let device = Device::with_identity(&service.create_device("dev1"))
        .client(client)
        .option("websockets", websockets)
        .start(&hub);
    device.watch_desired(true);
    let read = device.twin().unwrap();
    assert_eq!(read, json!({ "desired": { "$version": 1 }, "reported": { "$version": 1 } }));

    change(&service, "dev1", json!({ "tags": { "secret": 1 }, "desired": { "rate": { "hz": 5 } } }));
    assert_eq!(device.next_desired(), json!({ "rate": { "hz": 5 }, "$version": 2 }));
    device.report(&json!({ "rate": { "hz": 5 }, "gone": 1 })).unwrap();
    device.report(&json!({ "gone": null })).unwrap();
    let seen = twin(&service, "dev1");
    assert_eq!(values(&seen["properties"]["reported"]), json!({ "rate": { "hz": 5 } }));
    assert_eq!(seen["properties"]["reported"]["$version"], 3);
    assert_eq!((&seen["version"], &seen["connectionState"]), (&json!(5), &json!("Connected")));

    change(&service, "dev1", json!({ "desired": { "rate": { "hz": null }, "on": true } }));
    assert_eq!(device.next_desired(), json!({ "rate": { "hz": null }, "on": true, "$version": 3 }));
    change(&service, "dev1", json!({ "tags": { "only": 1 } }));
    change(&service, "dev1", json!({ "replace": true, "desired": { "all": "new" } }));
    assert_eq!(device.next_desired(), json!({ "all": "new", "$version": 4 }));
    let read = device.twin().unwrap();
    assert_eq!(read["desired"], json!({ "all": "new", "$version": 4 }), "the device does not get tags");

    device.watch_desired(false);
    change(&service, "dev1", json!({ "desired": { "x": 1 } }));
    assert_eq!(device.twin().unwrap()["desired"]["$version"], 5);
    assert_eq!(device.desired(), Vec::<Value>::new(), "a device without the subscription gets no changes");
}

#[test]
fn device_and_service_see_each_others_changes() {
    check_both_sides(Client::Sync, false);
}

#[test]
fn device_and_service_see_each_others_changes_with_the_asynchronous_client_on_websocket() {
    check_both_sides(Client::Async, true);
}

#[test]
fn a_device_gets_the_current_desired_properties_after_a_reconnect() {
    let mut hub = Hub::start();
    let service = Service::owner(&hub);
    let device = Device::with_identity(&service.create_device("dev1"))
        .option("connection_retry_interval", 1)
        .start(&hub);
    device.watch_desired(true);
    change(&service, "dev1", json!({ "desired": { "a": 1 } }));
    assert_eq!(device.next_desired(), json!({ "a": 1, "$version": 2 }));
    device.disconnect();
    change(&service, "dev1", json!({ "desired": { "a": 2 } }));
    change(&service, "dev1", json!({ "desired": { "b": 3 } }));
    device.connect().unwrap();
    // The client does not subscribe again; it reads the twin and compares versions.
    assert_eq!(device.next_desired(), json!({ "a": 2, "b": 3, "$version": 4 }));
    change(&service, "dev1", json!({ "desired": { "c": 4 } }));
    assert_eq!(device.next_desired(), json!({ "c": 4, "$version": 5 }));
    // The same after a restart of the hub.
    hub.restart();
    eventually("the device is connected again", Duration::from_secs(30), || {
        (twin(&service, "dev1")["connectionState"] == "Connected").then_some(())
    });
    change(&service, "dev1", json!({ "desired": { "d": 5 } }));
    assert_eq!(device.next_desired(), json!({ "d": 5, "$version": 6 }));
}

#[test]
fn acknowledged_changes_survive_a_crash() {
    let mut hub = Hub::start();
    let service = Service::owner(&hub);
    let device = Device::with_identity(&service.create_device("dev1")).start(&hub);
    for round in 1..=20 {
        change(&service, "dev1", json!({ "tags": { "round": round }, "desired": { "round": round } }));
        device.report(&json!({ "round": round })).unwrap();
    }
    hub.kill();
    hub.start_again();
    let after = twin(&service, "dev1");
    assert_eq!(after["tags"]["round"], 20);
    assert_eq!(after["properties"]["desired"]["round"], 20);
    assert_eq!(after["properties"]["reported"]["round"], 20);
    assert_eq!(after["version"], 42);
}

/// Microsoft's Python client runs its handlers on four threads, so they may see changes in another order than it received
/// them. Therefore this device is plain MQTT.
#[test]
fn changes_of_concurrent_writers_reach_the_device_in_order() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let device = ManualAckDevice::start(&hub, &service.create_device("dev1"), true);
    device.connect();
    device.subscribe("$iothub/twin/PATCH/properties/desired/#", 0);
    let writers: Vec<_> = (0..24)
        .map(|n| {
            let desired = json!({ format!("key{n}"): n });
            service.begin("change_twin", &json!({ "device_id": "dev1", "desired": desired }))
        })
        .collect();
    writers.into_iter().for_each(|writer| drop(writer.wait().unwrap()));
    let mut received = serde_json::Map::new();
    for version in 2..26 {
        let change = device.next();
        assert_eq!(change.topic, format!("$iothub/twin/PATCH/properties/desired/?$version={version}"));
        let mut patch: Value = serde_json::from_str(&change.body).unwrap();
        assert_eq!(patch["$version"], version);
        patch.as_object_mut().unwrap().remove("$version");
        received.append(patch.as_object_mut().unwrap());
    }
    let desired = twin(&service, "dev1")["properties"]["desired"].clone();
    assert_eq!(Value::from(received), values(&desired));
}

#[test]
fn the_twin_contains_the_model_id_of_the_device() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let identity = service.create_device("dev1");
    let device =
        Device::with_identity(&identity).option("product_info", "dtmi:com:example:Thermostat;1").start(&hub);
    device.connect().unwrap();
    let token = sas::policy_token(hub.variable("IOTHUB_SERVICE_CONNECTION_STRING"));
    let answer = service.http("GET", "/twins/dev1?api-version=2021-04-12", Some(&token), None);
    assert_eq!(answer.json()["modelId"], "dtmi:com:example:Thermostat;1");
    assert_eq!(answer.json()["version"], 2, "the model id does not change the version");
}

#[test]
fn only_authorized_callers_read_and_write_twins() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let identity = service.create_device("dev1");
    let path = "/twins/dev1?api-version=2021-04-12";
    for policy in ["device", "registryRead", "registryReadWrite"] {
        let shown = hub.command(["policy", "show", policy, "--output", "json"]).success();
        let shown: Value = serde_json::from_str(&shown).unwrap();
        let token = sas::policy_token(&format!(
            "HostName={};SharedAccessKeyName={policy};SharedAccessKey={}",
            hub.name(),
            shown["primaryKey"].as_str().unwrap()
        ));
        for (verb, body) in [("GET", None), ("PATCH", Some("{}")), ("PUT", Some("{}"))] {
            let answer = service.http(verb, path, Some(&token), body);
            assert_eq!(
                (answer.status, answer.error_code()),
                (401, "IotHubUnauthorizedAccess"),
                "{policy} {verb}"
            );
        }
    }
    assert_eq!(service.http("GET", path, None, None).status, 401);
    let (resource, key) = (identity.resource(), &identity.primary_key);
    let own = sas::Token { resource: &resource, key, expiry: sas::now() + 60, policy: None }.sign();
    assert_eq!(
        service.http("GET", path, Some(&own), None).status,
        401,
        "a device token is refused by the service API"
    );
    assert_eq!(
        service
            .http(
                "DELETE",
                path,
                Some(&sas::policy_token(hub.variable("IOTHUB_SERVICE_CONNECTION_STRING"))),
                None
            )
            .status,
        405
    );
}

#[test]
fn the_twin_is_deleted_with_its_device() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let _ = service.create_device("dev1");
    change(&service, "dev1", json!({ "tags": { "a": 1 }, "desired": { "b": 1 } }));
    service.call("delete_device", &json!({ "device_id": "dev1" })).unwrap();
    let _ = service.create_device("dev1");
    let fresh = twin(&service, "dev1");
    assert_eq!((&fresh["tags"], &fresh["version"]), (&json!({}), &json!(2)));
}
