//! Twins with our own device SDK, with Microsoft's service package.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::fs;
use std::time::Duration;

use ferrohub_acceptance::{Hub, Identity, Service};
use ferrohub_device::{
    Builder, DesiredUpdate, DesiredUpdateStream, DeviceClient, ErrorKind, RetryPolicy, Transport,
};
use serde_json::{Map, Value, json};

fn builder(hub: &Hub, identity: &Identity) -> Builder {
    DeviceClient::builder_from_connection_string(&identity.connection_string())
        .unwrap()
        .root_certificates_only(fs::read(hub.variable("SSL_CERT_FILE")).unwrap())
        // A restart of the hub takes little time.
        .retry(RetryPolicy::default().max_delay(Duration::from_millis(500)))
}

async fn next(updates: &mut DesiredUpdateStream) -> DesiredUpdate {
    let update = tokio::time::timeout(Duration::from_secs(30), updates.next()).await;
    update.expect("an update in time").expect("an update")
}

fn change(service: &Service, device_id: &str, desired: Value) {
    service.call("change_twin", &json!({ "device_id": device_id, "desired": desired })).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_twin_is_read_updated_and_watched_over_both_transports() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let identity = service.create_device("d+1");
    let mut version = 1;
    for transport in [Transport::Mqtt, Transport::MqttWebSocket] {
        let client = builder(&hub, &identity).transport(transport).build().unwrap();
        client.connect().await.unwrap();
        let twin = client.get_twin().await.unwrap();
        assert_eq!(twin.desired.version(), version);

        let mut updates = client.desired_updates();
        let mut known = Map::new();
        next(&mut updates).await.apply_to(&mut known);
        change(&service, "d+1", json!({ "rate": { "up": 5, "down": 1 }, "old": 1 }));
        change(&service, "d+1", json!({ "rate": { "down": null }, "old": null, "name": "é" }));
        for _ in 0..2 {
            let update = next(&mut updates).await;
            version += 1;
            assert!(matches!(&update, DesiredUpdate::Patch(patch) if patch.version() == version));
            update.apply_to(&mut known);
        }
        assert_eq!(json!(known), json!({ "rate": { "up": 5 }, "name": "é" }));

        let before = client.get_twin().await.unwrap().reported.version();
        let reported = client.patch_reported(&json!({ "rate": known["rate"], "fault": 7 })).await.unwrap();
        assert_eq!(reported, before + 1);
        assert_eq!(client.patch_reported(&json!({ "fault": null })).await.unwrap(), reported + 1);
        let stale = client.patch_reported_if_version(&json!({ "lost": true }), reported).await.unwrap_err();
        assert_eq!((stale.kind(), stale.status()), (ErrorKind::PreconditionFailed, Some(412)));
        client.patch_reported_if_version(&json!({ "kept": true }), reported + 1).await.unwrap();
        let mut section = service.call("get_twin", &json!({ "device_id": "d+1" })).unwrap();
        let mut section = section["properties"]["reported"].take();
        section.as_object_mut().unwrap().retain(|name, _| !name.starts_with('$'));
        assert_eq!(section, json!({ "rate": { "up": 5 }, "kept": true }));
        let bad = client.patch_reported(&json!({ "a.b": 1 })).await.unwrap_err();
        assert_eq!(bad.kind(), ErrorKind::BadRequest);
        assert!(bad.code().is_some(), "{bad}");
        client.disconnect().await;
    }
}

/// Changes desired properties while the hub restarts and crashes and while tokens are renewed.
#[tokio::test(flavor = "multi_thread")]
async fn no_change_is_missed_over_restarts_and_token_renewals() {
    let mut hub = Hub::start();
    let service = Service::owner(&hub);
    let identity = service.create_device("d");
    let client = builder(&hub, &identity).token_ttl(Duration::from_secs(3)).build().unwrap();
    client.connect().await.unwrap();
    let mut updates = client.desired_updates();
    assert!(matches!(next(&mut updates).await, DesiredUpdate::Full(_)));
    let mut known = Map::new();
    let mut version = 1;
    for value in 0..60 {
        if value == 20 {
            hub.restart();
        }
        if value == 40 {
            hub.kill();
            hub.start_again();
        }
        change(&service, "d", json!({ "value": value }));
        client.patch_reported(&json!({ "value": value })).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    while known.get("value") != Some(&json!(59)) {
        let update = next(&mut updates).await;
        // The first complete section after a restart may contain the same change as the last patch before it.
        assert!(update.version() > version, "{update:?} after {version}");
        version = update.version();
        update.apply_to(&mut known);
    }
    assert_eq!(client.get_twin().await.unwrap().reported.get("value"), Some(&json!(59)));
    client.disconnect().await;
    assert_eq!(client.get_twin().await.unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_has_its_own_twin() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let device = service.create_device("d");
    let module = service.create_module("d", "m");
    let client = builder(&hub, &module).build().unwrap();
    client.connect().await.unwrap();
    client.patch_reported(&json!({ "of": "the module" })).await.unwrap();
    let own = client.get_twin().await.unwrap();
    assert_eq!(own.reported.get("of"), Some(&json!("the module")));
    let other = builder(&hub, &device).build().unwrap();
    other.connect().await.unwrap();
    assert!(other.get_twin().await.unwrap().reported.properties().is_empty());
}
