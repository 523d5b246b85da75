//! Modules and twins with our own service SDK, with Microsoft's device package.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::fs;

use ferrohub_acceptance::{Device, Hub, Service};
use ferrohub_service::{ErrorKind, Module, Properties, ServiceClient, Twin, TwinChange};
use serde_json::{Value, json};

fn owner(hub: &Hub) -> ServiceClient {
    ServiceClient::builder_from_connection_string(hub.variable("IOTHUB_CONNECTION_STRING"))
        .unwrap()
        .additional_root_certificates(fs::read(hub.variable("SSL_CERT_FILE")).unwrap())
        .build()
        .unwrap()
}

fn object(value: Value) -> Properties {
    value.as_object().cloned().expect("an object")
}

/// Returns the desired properties, without the hub's metadata.
fn desired(twin: &Twin) -> Value {
    let mut desired = twin.properties.clone().unwrap().desired.unwrap();
    desired.retain(|key, _| !key.starts_with('$'));
    desired.into()
}

#[tokio::test(flavor = "multi_thread")]
async fn modules_are_created_changed_and_deleted() {
    let hub = Hub::start();
    let client = owner(&hub);
    let _ = Service::owner(&hub).create_device("d1");
    let module = client.create_module(&Module::new("d1", "m1")).await.unwrap();
    let key = |module: &Module| {
        module.authentication.clone().unwrap().symmetric_key.unwrap().primary_key.expect("a key")
    };
    assert_eq!(key(&client.get_module("d1", "m1").await.unwrap()), key(&module));
    let again = client.create_module(&Module::new("d1", "m1")).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Conflict);
    let lost = client.create_module(&Module::new("nobody", "m1")).await.unwrap_err();
    assert_eq!(lost.kind(), ErrorKind::NotFound);

    let mut changed = module.clone();
    changed.managed_by = Some("fleet".to_owned());
    let changed = client.update_module(&changed).await.unwrap();
    assert_eq!(changed.managed_by.as_deref(), Some("fleet"));
    let late = client.update_module(&module).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::PreconditionFailed);
    client.create_module(&Module::new("d1", "m0")).await.unwrap();
    let ids: Vec<String> =
        client.list_modules("d1").await.unwrap().into_iter().map(|module| module.module_id).collect();
    assert_eq!(ids, ["m0", "m1"]);

    let late = client.delete_module("d1", "m1", module.etag.as_deref()).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::PreconditionFailed);
    client.delete_module("d1", "m1", changed.etag.as_deref()).await.unwrap();
    assert_eq!(client.get_module("d1", "m1").await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(client.get_module("d1", "").await.unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_twin_is_read_merged_and_replaced_and_its_device_is_notified() {
    let hub = Hub::start();
    let client = owner(&hub);
    let device = Device::with_identity(&Service::owner(&hub).create_device("d1")).listen(&hub);
    device.watch_desired(true);
    let seen = client.get_twin("d1").await.unwrap();

    let change = TwinChange::desired(object(json!({ "rate": 5, "mode": { "fast": true } })))
        .and_tags(object(json!({ "hall": 7 })));
    let twin = client.update_twin("d1", &change, seen.etag.as_deref()).await.unwrap();
    assert_eq!(device.next_desired(), json!({ "rate": 5, "mode": { "fast": true }, "$version": 2 }));
    assert_eq!(
        (desired(&twin), &twin.tags.clone().unwrap()["hall"]),
        (json!({ "rate": 5, "mode": { "fast": true } }), &json!(7))
    );
    let late = client.update_twin("d1", &change, seen.etag.as_deref()).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::PreconditionFailed);

    let replaced =
        client.replace_twin("d1", &TwinChange::desired(object(json!({ "rate": 1 }))), None).await.unwrap();
    assert_eq!(device.next_desired(), json!({ "rate": 1, "$version": 3 }));
    assert_eq!((desired(&replaced), &replaced.tags), (json!({ "rate": 1 }), &twin.tags));

    device.report(&json!({ "firmware": "1.2" })).unwrap();
    let reported = client.get_twin("d1").await.unwrap().properties.unwrap().reported.unwrap();
    assert_eq!(reported["firmware"], "1.2");
    let bad = TwinChange::desired(object(json!({ "a.b": 1 })));
    assert_eq!(client.update_twin("d1", &bad, None).await.unwrap_err().kind(), ErrorKind::BadRequest);
    assert_eq!(client.get_twin("nobody").await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_has_its_own_twin() {
    let hub = Hub::start();
    let client = owner(&hub);
    let _ = Service::owner(&hub).create_device("d1");
    client.create_module(&Module::new("d1", "m1")).await.unwrap();
    let change = TwinChange::desired(object(json!({ "rate": 5 })));
    let twin = client.update_twin(("d1", "m1"), &change, None).await.unwrap();
    assert_eq!((desired(&twin), twin.module_id.as_deref()), (json!({ "rate": 5 }), Some("m1")));
    assert_eq!(desired(&client.get_twin("d1").await.unwrap()), json!({}));
}
