//! Many identities in one request, as Microsoft's packages and the Azure CLI send it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::fs;

use ferrohub_acceptance::{Device, Hub, Identity, NodeClient, Service, sas};
use ferrohub_service::{
    BulkKeyRequest, ErrorKind, ImportMode, KeyOwner, RegistryItem, RenewedKey, ServiceClient,
};
use serde_json::{Value, json};

const KEY: &str = "AAECAwQFBgcICQoLDA0ODw==";

fn keys() -> Value {
    json!({ "type": "sas", "symmetricKey": { "primaryKey": KEY, "secondaryKey": KEY } })
}

#[test]
fn a_python_back_end_changes_many_devices_and_reads_what_failed() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let bulk = |devices: Value| service.call("bulk", &json!({ "devices": devices })).unwrap();
    let created = bulk(json!([
        { "id": "a", "importMode": "create", "status": "enabled", "authentication": keys(),
          "tags": { "site": "north" }, "properties": { "desired": { "interval": 5 } } },
        { "id": "b", "importMode": "create", "status": "disabled" },
    ]));
    assert_eq!(created["isSuccessful"], true);
    let twin = service.call("get_twin", &json!({ "device_id": "a" })).unwrap();
    assert_eq!(
        (&twin["tags"]["site"], &twin["properties"]["desired"]["interval"]),
        (&json!("north"), &json!(5))
    );
    let device = service.call("get_device", &json!({ "device_id": "a" })).unwrap();
    assert_eq!(device["authentication"]["symmetricKey"]["primaryKey"], KEY);
    let mixed = bulk(json!([
        { "id": "a", "importMode": "create" },
        { "id": "b", "importMode": "update", "status": "enabled" },
        { "id": "c", "importMode": "deleteIfMatchETag", "eTag": "x" },
    ]));
    assert_eq!(mixed["isSuccessful"], false, "the client reads the body of status 400");
    let errors: Vec<(&str, &str)> = mixed["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| (error["deviceId"].as_str().unwrap(), error["errorCode"].as_str().unwrap()))
        .collect();
    assert_eq!(errors, [("a", "DeviceAlreadyExists"), ("c", "DeviceNotFound")]);
    let updated = service.call("get_device", &json!({ "device_id": "b" })).unwrap();
    assert_eq!(updated["status"], "enabled");
    let device =
        Device::with_connection_string(&format!("HostName={};DeviceId=a;SharedAccessKey={KEY}", hub.name()));
    device.start(&hub).connect().unwrap();
}

#[test]
fn a_node_back_end_adds_updates_and_removes_many_devices() {
    let hub = Hub::start();
    let service = NodeClient::service(&hub);
    let added =
        service.call("add_devices", &json!({ "devices": [{ "deviceId": "a" }, { "deviceId": "b" }] }));
    assert_eq!(added.unwrap()["isSuccessful"], true);
    let disabled = json!({ "devices": [{ "deviceId": "a", "status": "disabled" }], "force": true });
    assert_eq!(service.call("update_devices", &disabled).unwrap()["isSuccessful"], true);
    let device = service.call("get_device", &json!({ "device_id": "a" })).unwrap();
    assert_eq!(device["status"], "disabled");
    let stale = json!({ "devices": [{ "deviceId": "b", "etag": "stale" }], "force": false });
    // Whether the package reads the status 400 as a result or as an error: nothing is deleted.
    let refused = service.call("remove_devices", &stale);
    assert!(refused.is_err() || refused.is_ok_and(|result| result["isSuccessful"] == false));
    assert!(service.call("get_device", &json!({ "device_id": "b" })).is_ok());
    let all = json!({ "devices": [{ "deviceId": "a" }, { "deviceId": "b" }], "force": true });
    assert_eq!(service.call("remove_devices", &all).unwrap()["isSuccessful"], true);
    assert_eq!(service.call("list_devices", &json!({})).unwrap(), json!([]));
}

#[test]
fn the_azure_cli_renews_keys() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let old = service.create_device("d1");
    let device = Device::with_identity(&old).start(&hub);
    device.connect().unwrap();
    let renew = |body: &str, token: &str| {
        let headers = json!({
            "Authorization": token, "Content-Type": "application/json; charset=utf-8", "accept-language": "en-US",
            "User-Agent": "azext_iot/0.25.0 msrest_azure/0.6.4 AZURECLI/2.60.0",
        });
        let path = "/devices/keys/regenerate?api-version=2021-04-12";
        service.http_with("POST", path, headers, Some(body))
    };
    let owner = sas::policy_token(hub.variable("IOTHUB_CONNECTION_STRING"));
    let renewed = renew(r#"{"policyKey": "primaryKey", "devices": [{"id": "d1"}]}"#, &owner);
    assert_eq!(renewed.status, 200, "{}", renewed.body);
    let result = renewed.json();
    let current = service.call("get_device", &json!({ "device_id": "d1" })).unwrap();
    let current = &current["authentication"]["symmetricKey"];
    assert_eq!((&result["policyKey"], &result["errors"]), (&json!("primaryKey"), &json!([])));
    assert_eq!(result["rotatedKeys"], json!([{ "id": "d1", "primaryKey": current["primaryKey"] }]));
    let partly =
        renew(r#"{"policyKey": "both", "devices": [{"id": "d1"}, {"id": "d1", "moduleId": "m"}]}"#, &owner);
    assert_eq!(partly.status, 207, "{}", partly.body);
    assert_eq!(partly.json()["errors"][0]["errorCode"], "ModuleNotFound");
    assert_eq!(partly.json()["errors"][0]["moduleId"], "m");
    let failed = renew(r#"{"policyKey": "secondaryKey", "devices": [{"id": "d2"}]}"#, &owner);
    assert_eq!((failed.status, failed.json()["rotatedKeys"].clone()), (400, json!([])));
    for body in ["{}", "[]", r#"{"policyKey": "Unknown", "devices": []}"#, r#"{"policyKey": "both"}"#] {
        let refused = renew(body, &owner);
        assert_eq!((refused.status, refused.error_code()), (400, "IotHubFormatError"), "{body}");
    }
    let reader = sas::policy_token(hub.variable("IOTHUB_SERVICE_CONNECTION_STRING"));
    assert_eq!(renew(r#"{"policyKey": "both", "devices": [{"id": "d1"}]}"#, &reader).status, 401);
    let command = ["device", "regenerate-key", "d1", "--key", "both", "--output", "json"];
    let both: Value = serde_json::from_str(&hub.command(command).success()).unwrap();
    let keys = &both["authentication"]["symmetricKey"];
    assert_ne!(keys["secondaryKey"], current["secondaryKey"]);
}

#[test]
fn a_request_that_is_no_list_or_too_long_or_not_permitted_changes_nothing() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let owner = sas::policy_token(hub.variable("IOTHUB_CONNECTION_STRING"));
    let post =
        |body: &Value, token: &str| service.http("POST", "/devices", Some(token), Some(&body.to_string()));
    for body in [json!({ "id": "d" }), json!("d"), json!(null)] {
        let refused = post(&body, &owner);
        assert_eq!((refused.status, refused.error_code()), (400, "IotHubFormatError"), "{body}");
    }
    let many: Vec<Value> = (0..101).map(|number| json!({ "id": format!("d{number}") })).collect();
    let refused = post(&json!(many), &owner);
    assert_eq!((refused.status, refused.error_code()), (413, "TooManyDevices"));
    let twice = post(&json!([{ "id": "d" }, { "id": "d" }]), &owner);
    assert_eq!((twice.status, twice.error_code()), (400, "DeviceDefinedMultipleTimes"));
    let reader = sas::policy_token(hub.variable("IOTHUB_SERVICE_CONNECTION_STRING"));
    assert_eq!(post(&json!([{ "id": "d" }]), &reader).status, 401);
    assert_eq!(service.call("get_devices", &json!({})).unwrap(), json!([]));
    assert_eq!(post(&json!(many[..100]), &owner).status, 200);
}

#[test]
fn only_callers_that_may_write_the_registry_change_identities_and_keys() {
    let hub = Hub::builder().with_development_issuer().start();
    let (service, entra) = (Service::owner(&hub), Service::with_entra(&hub));
    let device = service.create_device("d");
    let mut number = 0;
    let mut status = |token: Option<&str>| {
        number += 1;
        let created = json!([{ "id": format!("new{number}"), "importMode": "create" }]).to_string();
        let keys = json!({ "policyKey": "primaryKey", "devices": [{ "id": "d" }] }).to_string();
        let bulk = service.http("POST", "/devices", token, Some(&created)).status;
        let renewed = service.http("POST", "/devices/keys/regenerate", token, Some(&keys)).status;
        assert_eq!(bulk, renewed);
        bulk
    };
    for (policy, expected) in [
        ("iothubowner", 200),
        ("registryReadWrite", 200),
        ("registryRead", 401),
        ("service", 401),
        ("device", 401),
    ] {
        assert_eq!(status(Some(&service.token_of_policy(&hub, policy))), expected, "{policy}");
    }
    for (role, expected) in [
        ("IoT Hub Data Contributor", 200),
        ("IoT Hub Registry Contributor", 200),
        ("IoT Hub Twin Contributor", 401),
        ("IoT Hub Data Reader", 401),
    ] {
        assert_eq!(status(Some(&entra.token_of_role(&hub, role))), expected, "{role}");
    }
    assert_eq!(status(None), 401);
    let current = service.call("get_device", &json!({ "device_id": "d" })).unwrap();
    let current = Identity::from_document(hub.name(), current);
    assert_ne!(current.primary_key, device.primary_key);
    assert_eq!(status(Some(&current.token())), 401, "a device");
    let devices = service.call("get_devices", &json!({})).unwrap();
    assert_eq!(devices.as_array().unwrap().len(), 1 + 4, "those of the four callers with the right");
    let again = service.call("get_device", &json!({ "device_id": "d" })).unwrap();
    assert_eq!(again, current.document);
}

#[tokio::test]
async fn the_rust_sdk_changes_many_identities_and_reads_what_failed() {
    let hub = Hub::start();
    let client = ServiceClient::builder_from_connection_string(hub.variable("IOTHUB_CONNECTION_STRING"))
        .unwrap()
        .additional_root_certificates(fs::read(hub.variable("SSL_CERT_FILE")).unwrap())
        .build()
        .unwrap();
    let item = |number: usize, mode| RegistryItem {
        id: format!("d{number}"),
        import_mode: Some(mode),
        ..RegistryItem::default()
    };
    let items: Vec<RegistryItem> = (0..120).map(|number| item(number, ImportMode::Create)).collect();
    let created = client.change_identities(&items).await.unwrap();
    assert!(created.is_successful && created.errors.is_empty(), "{created:?}");
    assert_eq!(client.list_devices(1000).await.unwrap().len(), 120);
    let deleted = client
        .change_identities(&[item(0, ImportMode::Delete), item(500, ImportMode::Delete)])
        .await
        .unwrap();
    assert!(!deleted.is_successful);
    assert_eq!((deleted.errors.len(), deleted.errors[0].error_code.as_str()), (1, "DeviceNotFound"));
    let refused = client.change_identities(&[item(1, ImportMode::Update), item(1, ImportMode::Delete)]).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::BadRequest, "nothing was changed");
    let owner = |id: &str| KeyOwner { id: id.to_owned(), module_id: None };
    let devices = vec![owner("d1"), owner("d500")];
    let request = BulkKeyRequest { policy_key: RenewedKey::Secondary, devices };
    let renewed = client.regenerate_keys(&request).await.unwrap();
    assert_eq!((renewed.errors.len(), renewed.rotated_keys.len()), (1, 1));
    let keys = client.get_device("d1").await.unwrap().authentication.unwrap().symmetric_key.unwrap();
    assert_eq!(renewed.rotated_keys[0].secondary_key, keys.secondary_key);
}
