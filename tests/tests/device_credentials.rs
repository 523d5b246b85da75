//! Authentication of devices: valid and invalid keys, tokens and certificates.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::time::Duration;

use ferrohub_acceptance::{
    Device, Hub, Identity, Method, Service,
    certificate::{self, Authority, CertificateFiles, Validity},
    eventually,
    raw_connect::{Connect, Outcome},
    sas::{self, Token},
};
use serde_json::json;

const REFUSED: Outcome = Outcome::Connack(5);
const ACCEPTED: Outcome = Outcome::Connack(0);

fn token<'a>(identity: &'a Identity, resource: &'a str) -> Token<'a> {
    Token { resource, key: &identity.primary_key, expiry: sas::now() + 300, policy: None }
}

#[track_caller]
fn connect(hub: &Hub, device_id: &str, password: &str) -> Outcome {
    Connect::device(hub, device_id).password(password).run(hub)
}

/// Checks that the client raises a credential error on connect.
#[track_caller]
fn assert_credentials_refused(device: &Device) {
    let failure = device.connect().unwrap_err();
    assert_eq!(failure.exception, "CredentialError", "{failure:?}");
}

#[test]
fn a_token_signed_with_the_device_key_is_accepted() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let identity = service.create_device("a");
    let own = token(&identity, &identity.resource()).sign();
    assert_eq!(connect(&hub, "a", &own), ACCEPTED);
    let device = Device::with_token(&own).listen(&hub);
    assert_eq!(service.invoke("a", Method::new("rebootDevice")).unwrap().status, 200);
    drop(device);
    // Host names are case-insensitive.
    let upper_case_host = identity.resource().to_uppercase().replace("/DEVICES/A", "/devices/a");
    assert_eq!(connect(&hub, "a", &token(&identity, &upper_case_host).sign()), ACCEPTED);
}

#[test]
fn a_forged_token_is_refused() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let (a, b) = (service.create_device("a"), service.create_device("b"));
    let forged = Token { key: &b.primary_key, ..token(&a, &a.resource()) }.sign();
    assert_eq!(connect(&hub, "a", &forged), REFUSED);
    assert_credentials_refused(&Device::with_token(&forged).start(&hub));
    let wrong_key = Device::with_connection_string(&a.connection_string_with(&b.primary_key));
    assert_credentials_refused(&wrong_key.start(&hub));
}

#[test]
fn an_expired_token_is_refused() {
    let hub = Hub::start();
    let identity = Service::owner(&hub).create_device("a");
    for expiry in [sas::now() - 1, 1, 0, -1] {
        let expired = Token { expiry, ..token(&identity, &identity.resource()) }.sign();
        assert_eq!(connect(&hub, "a", &expired), REFUSED, "{expiry}");
    }
}

#[test]
fn a_token_for_another_resource_is_refused() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let (a, ab) = (service.create_device("a"), service.create_device("ab"));
    let host = hub.name();
    for (device, resource) in [
        // One id is a prefix of the other: whole path segments are compared.
        (&ab, format!("{host}/devices/a")),
        (&a, format!("{host}/devices/ab")),
        (&a, format!("{host}/x")),
        (&a, format!("{host}/devices/a/x")),
        (&a, format!("{host}/devices/a/modules/m")),
        (&a, "other.azure-devices.net/devices/a".to_owned()),
        (&a, format!("x{host}/devices/a")),
        (&a, String::new()),
    ] {
        let token = token(device, &resource).sign();
        assert_eq!(connect(&hub, &device.device_id, &token), REFUSED, "{resource}");
    }
}

#[test]
fn a_device_cannot_connect_as_another_device() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let (a, b) = (service.create_device("a"), service.create_device("b"));
    let valid = token(&a, &a.resource()).sign();
    assert_eq!(connect(&hub, "b", &valid), REFUSED, "the id of the other device");
    let mut mixed = Connect::device(&hub, "a").password(valid.as_str());
    mixed.client_id = "b";
    assert_eq!(mixed.run(&hub), REFUSED, "client id b, user name a");
    let own = token(&b, &b.resource()).sign();
    let mut mixed = Connect::device(&hub, "a").password(own);
    mixed.client_id = "b";
    assert_eq!(mixed.run(&hub), REFUSED, "client id and token b, user name a");
    let mut elsewhere = Connect::device(&hub, "a").password(valid);
    elsewhere.username = "other.azure-devices.net/a/?api-version=2019-10-01".to_owned();
    assert_eq!(elsewhere.run(&hub), REFUSED, "another hub's name");
}

#[test]
fn malformed_and_missing_tokens_are_refused() {
    let hub = Hub::start();
    let identity = Service::owner(&hub).create_device("a");
    let valid = token(&identity, &identity.resource()).sign();
    for invalid in [
        "",
        "x",
        "SharedAccessSignature",
        "SharedAccessSignature sr=&sig=&se=",
        &identity.primary_key,
        &valid.replace("sig=", "sig=A"),
        &valid[..valid.len() - 3],
        &format!("{valid}&skn=nobody"),
        &format!("{valid}&skn=iothubowner"),
    ] {
        assert_eq!(connect(&hub, "a", invalid), REFUSED, "{invalid}");
    }
    assert_eq!(Connect::device(&hub, "a").run(&hub), REFUSED, "no password");
    assert_eq!(connect(&hub, "nobody", &valid), REFUSED, "an unregistered device");
}

#[test]
fn a_policy_may_connect_as_a_device_only_with_the_right_device_connect() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let identity = service.create_device("a");
    let key = |variable: &str| {
        let string = hub.variable(variable);
        string.split_once("SharedAccessKey=").unwrap().1.to_owned()
    };
    let owner_key = key("IOTHUB_CONNECTION_STRING");
    let service_key = key("IOTHUB_SERVICE_CONNECTION_STRING");
    let resource = identity.resource();
    let owner = Token { key: &owner_key, policy: Some("iothubowner"), ..token(&identity, &resource) };
    let devices = format!("{}/devices", hub.name());
    assert_eq!(connect(&hub, "a", &owner.sign()), ACCEPTED);
    assert_eq!(connect(&hub, "a", &Token { resource: &devices, ..owner.clone() }.sign()), ACCEPTED);
    assert_eq!(connect(&hub, "a", &Token { resource: hub.name(), ..owner.clone() }.sign()), ACCEPTED);
    assert_eq!(connect(&hub, "nobody", &Token { resource: &devices, ..owner }.sign()), REFUSED);
    let other = Token { key: &service_key, policy: Some("service"), ..token(&identity, &resource) };
    assert_eq!(connect(&hub, "a", &other.sign()), REFUSED);
}

#[test]
fn a_replaced_key_is_refused() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let old = service.create_device("a");
    let device = Device::with_identity(&old).option("connection_retry_interval", 1).listen(&hub);
    device.wait_until_connected(true, Duration::from_secs(5));
    let new_key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let update = json!({
        "device_id": "a",
        "etag": old.document["etag"],
        "primary_key": new_key,
        "secondary_key": new_key,
    });
    service.call("update_device_with_sas", &update).unwrap();
    // The connection with the old key is closed, and a reconnect is refused.
    device.wait_until_connected(false, Duration::from_secs(10));
    eventually("a reconnect is refused", Duration::from_secs(20), || {
        (hub.metric("ferrohub_connects_total", "bad_signature") >= 1.0).then_some(())
    });
    assert_eq!(device.connects(), 0);
    assert_credentials_refused(&Device::with_identity(&old).start(&hub));
    let with_new_key = Device::with_connection_string(&old.connection_string_with(new_key)).listen(&hub);
    assert_eq!(service.invoke("a", Method::new("rebootDevice")).unwrap().status, 200);
    drop(with_new_key);
}

#[test]
fn a_disabled_device_is_disconnected_and_refused_until_it_is_enabled() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let identity = service.create_device("a");
    let device = Device::with_identity(&identity).listen(&hub);
    device.wait_until_connected(true, Duration::from_secs(5));
    let set = |status: &str| {
        let update = json!({
            "device_id": "a",
            "etag": "*",
            "primary_key": identity.primary_key,
            "secondary_key": identity.secondary_key,
            "status": status,
        });
        service.call("update_device_with_sas", &update).unwrap()
    };
    assert_eq!(set("disabled")["status"], "disabled");
    device.wait_until_connected(false, Duration::from_secs(10));
    let refusal = service.invoke("a", Method::new("m")).unwrap_err();
    assert_eq!(refusal.http.error_code(), "DeviceNotFound");
    assert_credentials_refused(&Device::with_identity(&identity).start(&hub));
    set("enabled");
    let _device = Device::with_identity(&identity).listen(&hub);
    assert_eq!(service.invoke("a", Method::new("rebootDevice")).unwrap().status, 200);
}

#[test]
fn a_deleted_device_is_disconnected_and_refused() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let identity = service.create_device("a");
    let device = Device::with_identity(&identity).listen(&hub);
    device.wait_until_connected(true, Duration::from_secs(5));
    service.call("delete_device", &json!({ "device_id": "a" })).unwrap();
    device.wait_until_connected(false, Duration::from_secs(10));
    let refusal = service.invoke("a", Method::new("m")).unwrap_err();
    assert_eq!(refusal.http.error_code(), "DeviceNotFound");
    assert_credentials_refused(&Device::with_identity(&identity).start(&hub));
    // A new device with the same id has new keys, and no session of the old one.
    let again = service.create_device("a");
    assert_ne!(again.primary_key, identity.primary_key);
    assert_ne!(again.document["generationId"], identity.document["generationId"]);
    assert_credentials_refused(&Device::with_identity(&identity).start(&hub));
    let successor = Device::with_identity(&again).start(&hub);
    successor.connect().unwrap();
    let refusal = service.invoke("a", Method::new("m")).unwrap_err();
    assert_eq!(refusal.http.error_code(), "DeviceNotOnline");
}

#[test]
fn a_certificate_with_another_thumbprint_is_refused() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let registered = certificate::self_signed(hub.folder(), "a", Validity::Valid);
    let arguments = json!({ "device_id": "a", "primary_thumbprint": registered.sha256() });
    service.call("create_device_with_x509", &arguments).unwrap();
    assert_eq!(Connect::device(&hub, "a").certificate(&registered).run(&hub), ACCEPTED);
    // The same common name, another key.
    let folder = hub.folder().join("other");
    std::fs::create_dir(&folder).unwrap();
    let other = certificate::self_signed(&folder, "a", Validity::Valid);
    assert_eq!(Connect::device(&hub, "a").certificate(&other).run(&hub), REFUSED);
    assert_credentials_refused(&Device::with_certificate(&hub, "a", &other).start(&hub));
    assert_eq!(Connect::device(&hub, "a").run(&hub), REFUSED, "no certificate");
    let sas = service.create_device("sas");
    assert_eq!(Connect::device(&hub, "sas").certificate(&registered).run(&hub), REFUSED);
    let key = Token { resource: &format!("{}/devices/a", hub.name()), ..token(&sas, "") };
    assert_eq!(connect(&hub, "a", &key.sign()), REFUSED, "a token for a device with thumbprints");
}

#[test]
fn a_registered_certificate_that_has_expired_is_refused() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    for (id, validity) in [("expired", Validity::Expired), ("not-yet", Validity::NotYetValid)] {
        let files = certificate::self_signed(hub.folder(), id, validity);
        let arguments = json!({ "device_id": id, "primary_thumbprint": files.sha1() });
        service.call("create_device_with_x509", &arguments).unwrap();
        assert_eq!(Connect::device(&hub, id).certificate(&files).run(&hub), REFUSED, "{id}");
        assert_credentials_refused(&Device::with_certificate(&hub, id, &files).start(&hub));
    }
}

#[test]
fn only_the_right_certificate_of_a_trusted_authority_is_accepted() {
    let root = Authority::root("Fleet Root");
    let builder = Hub::builder();
    let file = root.write(builder.folder());
    let hub = builder.config(&format!("[[device_ca]]\nfile = \"{}\"", file.display())).start();
    let service = Service::owner(&hub);
    for id in ["a", "ab"] {
        let arguments = json!({ "device_id": id });
        service.call("create_device_with_certificate_authority", &arguments).unwrap();
    }
    let folder = hub.folder();
    let connect = |files: &CertificateFiles| Connect::device(&hub, "a").certificate(files).run(&hub);
    assert_eq!(connect(&root.sign(folder, "a", Validity::Valid)), ACCEPTED);
    let untrusted = Authority::root("Untrusted");
    // The same name as the trusted authority, another key.
    let twin = Authority::root("Fleet Root");
    let twin_folder = folder.join("twin");
    std::fs::create_dir(&twin_folder).unwrap();
    for (what, files) in [
        ("another device's", root.sign(folder, "ab", Validity::Valid)),
        ("another case", root.sign(folder, "A", Validity::Valid)),
        ("no name", root.sign(folder, "", Validity::Valid)),
        ("expired", root.sign(&twin_folder, "a", Validity::Expired)),
        ("self-signed", certificate::self_signed(folder, "a", Validity::Valid)),
        ("unknown authority", untrusted.sign(folder, "a", Validity::Valid)),
        ("authority of the same name", twin.sign(&twin_folder, "a", Validity::Valid)),
        ("signed by a leaf", root.non_ca_issuer("ab").sign(folder, "a", Validity::Valid)),
    ] {
        assert_eq!(connect(&files), REFUSED, "{what}");
    }
    let expired = root.sign(folder, "a", Validity::NotYetValid);
    assert_credentials_refused(&Device::with_certificate(&hub, "a", &expired).start(&hub));
    let untrusted = untrusted.sign(folder, "a", Validity::Valid);
    assert_credentials_refused(&Device::with_certificate(&hub, "a", &untrusted).start(&hub));
}
