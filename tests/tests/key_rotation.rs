//! Key regeneration in one step: only connections that used the old key are closed.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::time::Duration;

use ferrohub_acceptance::{Device, HttpResponse, Hub, Identity, Service, sas};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(30);

#[track_caller]
fn regenerate(
    hub: &Hub,
    service: &Service,
    identity: &str,
    key: &str,
    if_match: Option<&str>,
) -> HttpResponse {
    let path = format!("/ferrohub/devices/{identity}/regenerate-key?api-version=2021-04-12");
    let mut headers = json!({ "Authorization": sas::policy_token(hub.variable("IOTHUB_CONNECTION_STRING")) });
    if let Some(etag) = if_match {
        headers["If-Match"] = etag.into();
    }
    service.http_with("POST", &path, headers, Some(&json!({ "key": key }).to_string()))
}

fn keys(document: &Value) -> (Value, Value) {
    let keys = &document["authentication"]["symmetricKey"];
    (keys["primaryKey"].clone(), keys["secondaryKey"].clone())
}

fn with_key(hub: &Hub, identity: &Identity, key: &str) -> Device {
    let login = identity.connection_string_with(key);
    Device::with_connection_string(&login).option("connection_retry", false).start(hub)
}

#[test]
fn a_new_key_disconnects_only_connections_with_the_old_key() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let dev1 = service.create_device("dev1");
    let m1 = service.create_module("dev1", "m1");
    let device = with_key(&hub, &dev1, &dev1.primary_key);
    device.connect().unwrap();
    let module = with_key(&hub, &m1, &m1.primary_key);
    module.connect().unwrap();

    let answer = regenerate(&hub, &service, "dev1", "primary", None);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let changed = answer.json();
    assert_eq!(answer.header("etag"), format!("\"{}\"", changed["etag"].as_str().unwrap()));
    assert_ne!(changed["etag"], dev1.document["etag"]);
    let (old, new) = (keys(&dev1.document), keys(&changed));
    assert!(new.0 != old.0 && new.1 == old.1);
    assert_eq!(service.call("get_device", &json!({ "device_id": "dev1" })).unwrap()["etag"], changed["etag"]);
    device.wait_until_connected(false, SOON);
    assert_eq!(device.connect().unwrap_err().exception, "CredentialError");

    let by_primary = with_key(&hub, &dev1, new.0.as_str().unwrap());
    by_primary.connect().unwrap();
    assert_eq!(regenerate(&hub, &service, "dev1", "secondary", None).status, 200);
    let swapped = regenerate(&hub, &service, "dev1", "swap", None).json();
    assert_eq!(keys(&swapped).1, new.0, "the keys are swapped");
    by_primary.twin().unwrap();
    module.twin().unwrap();
    assert_eq!(by_primary.connects() + module.connects(), 2, "both stay connected");
    assert_eq!(regenerate(&hub, &service, "dev1", "secondary", None).status, 200);
    by_primary.wait_until_connected(false, SOON);
    module.twin().unwrap();

    let renewed = regenerate(&hub, &service, "dev1/modules/m1", "primary", None).json();
    assert_ne!(keys(&renewed).0, keys(&m1.document).0);
    module.wait_until_connected(false, SOON);
    with_key(&hub, &m1, &m1.secondary_key).connect().unwrap();
}

#[test]
fn invalid_requests_are_refused_and_change_nothing() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let dev1 = service.create_device("dev1");
    let thumbprint = json!({ "device_id": "x509", "primary_thumbprint": "A".repeat(40) });
    service.call("create_device_with_x509", &thumbprint).unwrap();
    for (of, key, if_match, expected) in [
        ("nobody", "primary", None, (404, "DeviceNotFound")),
        ("dev1/modules/m", "primary", None, (404, "ModuleNotFound")),
        ("dev1", "third", None, (400, "IotHubFormatError")),
        ("dev1", "primary", Some("\"other\""), (412, "PreconditionFailed")),
        ("x509", "primary", None, (400, "InvalidOperation")),
        ("x509", "swap", None, (400, "InvalidOperation")),
    ] {
        let answer = regenerate(&hub, &service, of, key, if_match);
        assert_eq!((answer.status, answer.error_code()), expected, "{of} {key} {if_match:?}");
    }
    let path = "/ferrohub/devices/dev1/regenerate-key";
    let weak = sas::policy_token(hub.variable("IOTHUB_SERVICE_CONNECTION_STRING"));
    for token in [None, Some(weak.as_str())] {
        assert_eq!(service.http("POST", path, token, Some(r#"{"key":"primary"}"#)).status, 401);
    }
    let now = service.call("get_device", &json!({ "device_id": "dev1" })).unwrap();
    assert_eq!(now["etag"], dev1.document["etag"]);
    let etag = format!("\"{}\"", dev1.document["etag"].as_str().unwrap());
    assert_eq!(regenerate(&hub, &service, "dev1", "primary", Some(&etag)).status, 200);
}

#[test]
fn the_command_line_regenerates_keys() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let dev1 = service.create_device("dev1");
    let m1 = service.create_module("dev1", "m1");
    let json = |arguments: &[&str]| -> Value {
        let arguments = arguments.iter().copied().chain(["--output", "json"]);
        serde_json::from_str(&hub.command(arguments).success()).unwrap()
    };
    let swapped = json(&["device", "regenerate-key", "dev1", "--key", "swap"]);
    let (primary, secondary) = keys(&dev1.document);
    assert_eq!(keys(&swapped), (secondary, primary));
    let renewed = json(&["module", "regenerate-key", "dev1", "m1", "--key", "secondary"]);
    let (old, new) = (keys(&m1.document), keys(&renewed));
    assert!(new.0 == old.0 && new.1 != old.1);
    let stale = hub.command(["device", "regenerate-key", "dev1", "--key", "primary", "--etag", "old"]);
    assert!(stale.code == 1 && stale.stderr.contains("PreconditionFailed"), "{}", stale.stderr);
}
