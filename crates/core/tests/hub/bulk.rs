//! Many identities in one request.

use ferrohub_core::Operation;
use ferrohub_core::close_reason::CloseReason;
use ferrohub_core::registry::IfMatch;
use ferrohub_model::bulk::{BulkKeyRequest, BulkResult, KeyOwner, RenewedKey};
use ferrohub_model::device::Status;
use ferrohub_model::{DeviceId, ErrorCode, ModuleId};
use serde_json::{Value, json};

use crate::test_hub::{TestHub, id};

async fn change(hub: &TestHub, items: Value) -> BulkResult {
    let Value::Array(items) = items else { panic!("{items}") };
    hub.service().await.change_identities(items).await.unwrap()
}

/// Returns what failed: the ids and the errors.
fn errors(result: &BulkResult) -> Vec<(String, &str)> {
    assert_eq!(result.is_successful, result.errors.is_empty());
    assert!(result.warnings.is_empty());
    let name = |error: &ferrohub_model::bulk::BulkError| match &error.module_id {
        None => error.device_id.clone(),
        Some(module) => format!("{}/{module}", error.device_id),
    };
    result.errors.iter().map(|error| (name(error), error.error_code.as_str())).collect()
}

async fn exists(hub: &TestHub, name: &str) -> bool {
    hub.service().await.get_twin(&id(name)).await.is_ok()
}

#[tokio::test(start_paused = true)]
async fn each_mode_does_what_it_says_and_an_item_that_fails_does_not_affect_the_others() {
    let hub = TestHub::start().await;
    for name in ["there", "there/m", "gone", "gone-too", "tagged"] {
        hub.create(name).await;
    }
    let etag = hub.see("gone").await.etag.unwrap();
    let result = change(
        &hub,
        json!([
            { "id": "new", "importMode": "create", "status": "disabled", "statusReason": "in stock",
              "tags": { "a": 1 }, "properties": { "desired": { "b": 2, "$version": 7 } } },
            { "id": "there", "importMode": "Create" },
            { "id": "missing", "importMode": "update" },
            { "id": "upserted" },
            { "id": "gone", "importMode": "deleteIfMatchETag", "eTag": etag },
            { "id": "gone-too", "importMode": "deleteIfMatchETag", "eTag": "other" },
            { "id": "tagged", "importMode": "updateTwinIfMatchETag", "twinETag": "other", "tags": {} },
            { "id": "there", "moduleId": "m", "importMode": "updateTwin", "tags": { "c": 3 } },
            { "id": "new", "moduleId": "of-new" },
            { "id": "missing", "moduleId": "m" },
            { "id": "a b" },
            { "id": "x", "importMode": "replace" },
            { "moduleId": "m" },
            17,
        ]),
    )
    .await;
    assert_eq!(
        errors(&result),
        [
            ("a b".to_owned(), "ArgumentInvalid"),
            ("x".to_owned(), "IotHubFormatError"),
            ("/m".to_owned(), "ArgumentInvalid"),
            (String::new(), "IotHubFormatError"),
            ("there".to_owned(), "DeviceAlreadyExists"),
            ("missing".to_owned(), "DeviceNotFound"),
            ("gone-too".to_owned(), "PreconditionFailed"),
            ("tagged".to_owned(), "PreconditionFailed"),
            ("missing/m".to_owned(), "DeviceNotFound"),
        ]
    );
    let new = hub.see("new").await;
    assert_eq!((new.status, new.status_reason.as_deref()), (Some(Status::Disabled), Some("in stock")));
    assert!(new.authentication.unwrap().symmetric_key.unwrap().primary_key.is_some(), "keys are generated");
    let twin = hub.service().await.get_twin(&id("new")).await.unwrap();
    let twin = serde_json::to_value(&twin).unwrap();
    assert_eq!((&twin["tags"], &twin["properties"]["desired"]["b"]), (&json!({ "a": 1 }), &json!(2)));
    let module = hub.service().await.get_twin(&id("there/m")).await.unwrap();
    assert_eq!(serde_json::to_value(&module).unwrap()["tags"], json!({ "c": 3 }));
    for (name, expected) in
        [("upserted", true), ("gone", false), ("gone-too", true), ("new/of-new", true), ("missing", false)]
    {
        assert_eq!(exists(&hub, name).await, expected, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_identity_is_not_written_without_its_twin() {
    let hub = TestHub::start().await;
    hub.create("old").await;
    let before = hub.see("old").await;
    let bad = json!({ "desired": { "a.b": 1 } });
    let result = change(
        &hub,
        json!([
            { "id": "new", "importMode": "create", "properties": bad },
            { "id": "old", "importMode": "update", "status": "disabled", "properties": bad },
            { "id": "good", "importMode": "create" },
        ]),
    )
    .await;
    assert_eq!(
        errors(&result),
        [("new".to_owned(), "ArgumentInvalid"), ("old".to_owned(), "ArgumentInvalid")]
    );
    assert!(!exists(&hub, "new").await && exists(&hub, "good").await);
    assert_eq!(hub.see("old").await, before);
}

#[tokio::test(start_paused = true)]
async fn an_update_keeps_keys_that_the_item_leaves_empty_and_replaces_sections_of_the_twin() {
    let hub = TestHub::start().await;
    hub.create("d").await;
    let before = hub.see("d").await;
    let twin = json!({ "tags": { "a": 1, "b": 2 }, "properties": { "desired": { "x": 1 } } });
    let service = hub.service().await;
    service.patch_twin(&id("d"), serde_json::from_value(twin).unwrap(), IfMatch::Any).await.unwrap();
    let device = hub.connect("d").await;
    let empty = json!({ "type": "sas", "symmetricKey": { "primaryKey": "", "secondaryKey": null } });
    let result = change(
        &hub,
        json!([{ "id": "d", "authentication": empty, "tags": { "b": 3 }, "statusReason": "checked" }]),
    )
    .await;
    assert_eq!(errors(&result), []);
    let after = hub.see("d").await;
    assert_eq!(after.authentication, before.authentication);
    assert_eq!(after.status_reason.as_deref(), Some("checked"));
    assert_ne!(after.etag, before.etag);
    let twin = serde_json::to_value(service.get_twin(&id("d")).await.unwrap()).unwrap();
    assert_eq!(twin["tags"], json!({ "b": 3 }), "the section is replaced");
    assert_eq!(twin["properties"]["desired"]["x"], 1, "a section that the item does not have stays");
    assert_eq!(device.connection().close_reason(), None);
    change(&hub, json!([{ "id": "d", "importMode": "update", "status": "disabled" }])).await;
    assert_eq!(device.connection().close_reason(), Some(CloseReason::Disabled));
}

#[tokio::test(start_paused = true)]
async fn a_deleted_device_and_its_modules_are_disconnected() {
    let hub = TestHub::start().await;
    hub.create("d").await;
    hub.create("d/m").await;
    let (device, module) = (hub.connect("d").await, hub.connect("d/m").await);
    assert_eq!(errors(&change(&hub, json!([{ "id": "d", "importMode": "delete" }])).await), []);
    for connection in [device, module] {
        assert_eq!(connection.connection().close_reason(), Some(CloseReason::Deleted));
    }
    assert!(!exists(&hub, "d/m").await);
}

#[tokio::test(start_paused = true)]
async fn an_edge_device_has_its_system_modules_whose_keys_an_item_can_replace() {
    let hub = TestHub::start().await;
    let key = "AAECAwQFBgcICQoLDA0ODw==";
    let keys = json!({ "type": "sas", "symmetricKey": { "primaryKey": key, "secondaryKey": key } });
    let result = change(
        &hub,
        json!([
            { "id": "edge", "importMode": "create", "capabilities": { "iotEdge": true } },
            { "id": "edge", "moduleId": "$edgeAgent", "importMode": "create", "authentication": keys,
              "properties": { "desired": { "a": 1 } } },
            { "id": "edge", "moduleId": "$edgeHub", "importMode": "delete" },
            { "id": "plain", "importMode": "create" },
            { "id": "plain", "moduleId": "$edgeAgent", "importMode": "create" },
        ]),
    )
    .await;
    let refused = "SystemModuleModifyUnauthorizedAccess";
    assert_eq!(
        errors(&result),
        [("edge/$edgeHub".to_owned(), refused), ("plain/$edgeAgent".to_owned(), refused)]
    );
    let service = hub.service().await;
    let device = DeviceId::new("edge").unwrap();
    let agent = service.get_module(&device, &ModuleId::new("$edgeAgent").unwrap()).await.unwrap();
    assert_eq!(agent.authentication.unwrap().symmetric_key.unwrap().primary_key.as_deref(), Some(key));
    let twin = service.get_twin(&id("edge/$edgeAgent")).await.unwrap();
    assert_eq!(serde_json::to_value(twin).unwrap()["properties"]["desired"]["a"], 1);
    change(&hub, json!([{ "id": "edge", "importMode": "update", "capabilities": { "iotEdge": false } }]))
        .await;
    assert!(!exists(&hub, "edge/$edgeAgent").await);
}

#[tokio::test(start_paused = true)]
async fn too_many_items_or_two_about_one_identity_change_nothing() {
    let hub = TestHub::start().await;
    let service = hub.service().await;
    let many = (0..101).map(|number| json!({ "id": format!("d{number}") })).collect();
    assert_eq!(service.change_identities(many).await.unwrap_err().code, ErrorCode::TooManyDevices);
    let twice = vec![json!({ "id": "d" }), json!({ "id": "d", "importMode": "delete" })];
    assert_eq!(
        service.change_identities(twice).await.unwrap_err().code,
        ErrorCode::DeviceDefinedMultipleTimes
    );
    let distinct = vec![json!({ "id": "d" }), json!({ "id": "d", "moduleId": "m" }), json!({ "id": "D" })];
    assert!(service.change_identities(distinct).await.unwrap().is_successful);
    assert_eq!(service.get_registry_statistics().await.unwrap().total_device_count, 2);
    assert!(service.change_identities(Vec::new()).await.unwrap().is_successful);
    let owner = KeyOwner { id: "d".to_owned(), module_id: None };
    for (number, code) in [(101, ErrorCode::TooManyDevices), (2, ErrorCode::DeviceDefinedMultipleTimes)] {
        let request = BulkKeyRequest { policy_key: RenewedKey::Both, devices: vec![owner.clone(); number] };
        assert_eq!(service.regenerate_keys(&request).await.unwrap_err().code, code);
    }
}

#[tokio::test(start_paused = true)]
async fn the_hub_is_full_for_single_items_only() {
    let hub = TestHub::start_with(|settings| settings.limits.devices = 2).await;
    let result = change(&hub, json!([{ "id": "a" }, { "id": "b" }, { "id": "c" }])).await;
    assert_eq!(errors(&result), [("c".to_owned(), "TooManyDevices")]);
    assert_eq!(result.errors[0].operation.as_deref(), Some("createOrUpdate"));
}

#[tokio::test(start_paused = true)]
async fn concurrent_requests_about_the_same_identities_all_succeed() {
    let hub = TestHub::start().await;
    let service = hub.service().await;
    let items =
        |request: u32| (0..50).map(|n| json!({ "id": format!("d{n}"), "tags": { "r": request } })).collect();
    let requests = (0..8).map(|request| service.change_identities(items(request)));
    let singles = (0..50).map(|n| {
        let service = service.clone();
        async move {
            let device = DeviceId::new(&format!("d{n}")).unwrap();
            let _ = service.put_device(&device, &Default::default(), Some(&IfMatch::Any)).await;
        }
    });
    let (results, _) =
        tokio::join!(futures_util::future::join_all(requests), futures_util::future::join_all(singles));
    for result in results {
        assert_eq!(errors(&result.unwrap()), []);
    }
    assert_eq!(service.get_registry_statistics().await.unwrap().total_device_count, 50);
}

#[tokio::test(start_paused = true)]
async fn keys_of_many_identities_are_replaced_and_their_connections_closed() {
    let hub = TestHub::start().await;
    for name in ["a", "b", "b/m", "c"] {
        hub.create(name).await;
    }
    let service = hub.service().await;
    let x509 = json!({ "authentication": { "type": "certificateAuthority" } });
    let c = DeviceId::new("c").unwrap();
    service.put_device(&c, &serde_json::from_value(x509).unwrap(), Some(&IfMatch::Any)).await.unwrap();
    let (a, module) = (hub.connect("a").await, hub.connect("b/m").await);
    let owner = |device: &str, module: Option<&str>| KeyOwner {
        id: device.to_owned(),
        module_id: module.map(str::to_owned),
    };
    let devices =
        vec![owner("a", None), owner("b", Some("m")), owner("c", None), owner("x", None), owner("", None)];
    let request = BulkKeyRequest { policy_key: RenewedKey::Both, devices };
    let result = service.regenerate_keys(&request).await.unwrap();
    let failed: Vec<(&str, &str)> =
        result.errors.iter().map(|error| (error.owner.id.as_str(), error.error_code.as_str())).collect();
    assert_eq!(failed, [("c", "InvalidOperation"), ("x", "DeviceNotFound"), ("", "ArgumentInvalid")]);
    assert_eq!(result.rotated_keys.len(), 2);
    let keys = hub.see("a").await.authentication.unwrap().symmetric_key.unwrap();
    assert_eq!(
        (&result.rotated_keys[0].primary_key, &result.rotated_keys[0].secondary_key),
        (&keys.primary_key, &keys.secondary_key)
    );
    for connection in [a, module] {
        assert_eq!(connection.connection().close_reason(), Some(CloseReason::CredentialChanged));
    }
    let primary = BulkKeyRequest { policy_key: RenewedKey::Primary, devices: vec![owner("a", None)] };
    let result = service.regenerate_keys(&primary).await.unwrap();
    assert!(result.rotated_keys[0].secondary_key.is_none());
    let after = hub.see("a").await.authentication.unwrap().symmetric_key.unwrap();
    assert_eq!(after.secondary_key, keys.secondary_key);
    assert_eq!(after.primary_key, result.rotated_keys[0].primary_key);
}

#[test]
fn both_data_actions_are_needed() {
    assert_eq!(Operation::ChangeIdentities.data_actions(), ["devices/write", "devices/delete"]);
}
