//! A device manages its own modules with its own credential, in the requests of Microsoft's C SDK and of Azure IoT Edge.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::time::Duration;

use ferrohub_acceptance::{
    Device, HttpResponse, Hub, Identity, Service, certificate,
    certificate::Validity,
    raw_connect::{Connect, Outcome},
    sas::{self, Token, encode, literal_token},
};
use serde_json::{Value, json};

/// Sends a request with these headers, and a body if it is not null.
#[track_caller]
fn request(
    service: &Service,
    verb: &str,
    path: &str,
    token: &str,
    if_match: bool,
    body: &Value,
) -> HttpResponse {
    let mut headers = json!({ "Authorization": token, "Accept": "application/json" });
    if if_match {
        headers["If-Match"] = "*".into();
    }
    let body = (!body.is_null()).then(|| body.to_string());
    service.http_with(verb, path, headers, body.as_deref())
}

fn error(answer: &HttpResponse) -> (u16, &str) {
    (answer.status, answer.error_code())
}

const UNAUTHORIZED: (u16, &str) = (401, "IotHubUnauthorizedAccess");
const SYSTEM_MODULE: (u16, &str) = (401, "SystemModuleModifyUnauthorizedAccess");

/// `provisionModule` of iothub_account.c: its registry manager (iothub_registrymanager.c) is made from the connection
/// string of the device, and the module connects with the device's key.
#[test]
fn the_c_sdk_creates_a_module_with_the_device_key_and_connects_with_it() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let device = service.create_device("dev1");
    let token = literal_token(&format!("{}%2Fdevices%2Fdev1", hub.name()), &device.primary_key);
    let path = "/devices/dev1/modules/TestModule?api-version=2020-09-30";
    let body = |owner: &str, authentication: Value| {
        json!({
            "deviceId": "dev1", "moduleId": "TestModule", "managedBy": owner, "status": "enabled",
            "authentication": authentication,
        })
    };
    let create = body("TestManagedBy1", json!({ "type": "none" }));
    let answer = request(&service, "PUT", path, &token, false, &create);
    assert_eq!((answer.status, &answer.json()["authentication"]["type"]), (200, &json!("none")));
    assert_eq!(error(&request(&service, "PUT", path, &token, false, &create)).0, 409);
    let connect = || {
        let sr = format!("{}/devices/dev1/modules/TestModule", hub.name());
        Connect::device(&hub, "dev1/TestModule").password(literal_token(&sr, &device.primary_key)).run(&hub)
    };
    assert_eq!(connect(), Outcome::Connack(0), "a module without keys of its own");
    let keys = json!({ "type": "sas", "symmetricKey": { "primaryKey": "", "secondaryKey": "" } });
    let answer = request(&service, "PUT", path, &token, true, &body("TestManagedBy2", keys));
    assert_eq!(answer.status, 200, "{}", answer.body);
    let read = request(&service, "GET", path, &token, false, &Value::Null);
    assert_eq!((read.status, &read.json()["managedBy"]), (200, &json!("TestManagedBy2")));
    let module = Identity::from_document(hub.name(), read.json());
    assert_eq!(module.primary_key.len(), 44);
    assert_eq!(connect(), Outcome::Connack(0), "a module with keys of its own");
    Device::with_identity(&module).start(&hub).connect().unwrap();
    assert_eq!(request(&service, "DELETE", path, &token, true, &Value::Null).status, 204);
    assert_eq!(error(&request(&service, "GET", path, &token, false, &Value::Null)).0, 404);
    assert_eq!(connect(), Outcome::Connack(5), "a module that was deleted");
}

/// hub/mod.rs and connector.rs of iot-identity-service: the token is lower-cased, and the body leaves out `managedBy`.
#[test]
fn the_identity_service_of_edge_manages_modules_and_replaces_the_keys_of_system_modules() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let edge = service.call("create_edge_device", &json!({ "device_id": "MyEdge" })).unwrap();
    let edge = Identity::from_document(hub.name(), edge);
    let sr = format!("{}/devices/myedge", hub.name().to_lowercase());
    let token = literal_token(&sr, &edge.primary_key);
    let path = |module: &str| format!("/devices/MyEdge/modules/{module}?api-version=2017-11-08-preview");
    let key = |byte: u8| {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode([byte; 32])
    };
    let update = |module: &str| {
        json!({
            "moduleId": module, "deviceId": "MyEdge",
            "authentication": {
                "symmetricKey": { "primaryKey": key(1), "secondaryKey": key(2) }, "type": "sas",
            },
        })
    };
    let create = json!({ "moduleId": "m1", "deviceId": "MyEdge" });
    assert_eq!(request(&service, "PUT", &path("m1"), &token, false, &create).status, 200);
    assert_eq!(request(&service, "PUT", &path("m1"), &token, true, &update("m1")).status, 200);
    for module in ["$edgeAgent", "$edgeHub"] {
        let before = request(&service, "GET", &path(module), &token, false, &Value::Null).json();
        assert_eq!(before["managedBy"], "IotEdge");
        let after = request(&service, "PUT", &path(module), &token, true, &update(module));
        assert_eq!(after.status, 200, "{}", after.body);
        let after = after.json();
        assert_eq!(after["authentication"]["symmetricKey"]["primaryKey"], key(1));
        assert_eq!(
            (&after["managedBy"], &after["generationId"]),
            (&json!("IotEdge"), &before["generationId"])
        );
        for (what, verb, if_match, body) in [
            ("create", "PUT", false, create.clone()),
            ("delete", "DELETE", true, Value::Null),
            ("managedBy", "PUT", true, json!({ "managedBy": "me" })),
            ("no keys", "PUT", true, json!({ "authentication": { "type": "none" } })),
            ("certificates", "PUT", true, json!({ "authentication": { "type": "certificateAuthority" } })),
        ] {
            let body = match body.get("moduleId") {
                Some(_) => json!({ "moduleId": module, "deviceId": "MyEdge" }),
                None => body,
            };
            let answer = request(&service, verb, &path(module), &token, if_match, &body);
            assert_eq!(error(&answer), SYSTEM_MODULE, "{what} {module}");
        }
    }
    let list = "/devices/MyEdge/modules?api-version=2017-11-08-preview";
    let list = request(&service, "GET", list, &token, false, &Value::Null);
    let list = list.json();
    let ids: Vec<_> = list.as_array().unwrap().iter().map(|m| m["moduleId"].as_str().unwrap()).collect();
    assert_eq!(ids, ["$edgeAgent", "$edgeHub", "m1"]);
    assert_eq!(request(&service, "DELETE", &path("m1"), &token, true, &Value::Null).status, 204);
}

#[test]
fn a_device_manages_its_modules_with_its_certificate() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let files = certificate::self_signed(hub.folder(), "x509", Validity::Valid);
    let arguments = json!({ "device_id": "x509", "primary_thumbprint": files.sha256() });
    service.call("create_device_with_x509", &arguments).unwrap();
    let path = "/devices/x509/modules/m?api-version=2020-09-30";
    assert_eq!(service.http_with_certificate("PUT", path, &files, Some("{}")).status, 200);
    let list = "/devices/x509/modules?api-version=2020-09-30";
    assert_eq!(service.http_with_certificate("GET", list, &files, None).json()[0]["moduleId"], "m");
    let _ = service.create_device("other");
    let of_other = "/devices/other/modules?api-version=2020-09-30";
    assert_eq!(error(&service.http_with_certificate("GET", of_other, &files, None)), UNAUTHORIZED);
    let folder = hub.folder().join("strange");
    std::fs::create_dir(&folder).unwrap();
    let strange = certificate::self_signed(&folder, "x509", Validity::Valid);
    assert_eq!(error(&service.http_with_certificate("GET", list, &strange, None)), UNAUTHORIZED);
    // The certificate of the device is not a credential of the module.
    let connect = Connect::device(&hub, "x509/m").certificate(&files);
    assert_eq!(connect.run(&hub), Outcome::Connack(5));
    assert_eq!(service.http_with_certificate("DELETE", path, &files, None).status, 204);
}

#[test]
fn the_modules_of_a_device_are_closed_to_other_devices_modules_and_expired_tokens() {
    let hub = Hub::builder().config("[limits]\nmodules_per_device = 2").start();
    let service = Service::owner(&hub);
    let (device, other) = (service.create_device("dev1"), service.create_device("dev2"));
    let module = service.create_module("dev1", "m1");
    let of_other = service.create_module("dev2", "m1");
    let own = device.token();
    let expired = {
        let (resource, key) = (device.resource(), &device.primary_key);
        Token { resource: &resource, key, expiry: sas::now() - 1, policy: None }.sign()
    };
    let resource = device.resource();
    let policy = |name: &str, variable: &str| {
        let key = hub.variable(variable).split_once("SharedAccessKey=").unwrap().1.to_owned();
        format!("{}&skn={name}", literal_token(&encode(&resource), &key))
    };
    let requests = [
        ("GET", "/devices/dev1/modules", false),
        ("GET", "/devices/dev1/modules/m1", false),
        ("PUT", "/devices/dev1/modules/m1", true),
        ("PUT", "/devices/dev1/modules/new", false),
        ("DELETE", "/devices/dev1/modules/m1", true),
    ];
    for (what, token) in [
        ("another device", other.token()),
        ("another device's key for this device", literal_token(&resource, &other.primary_key)),
        ("a module of the device", module.token()),
        ("the module's key for the device", literal_token(&resource, &module.primary_key)),
        ("the device's key for the module", literal_token(&module.resource(), &device.primary_key)),
        ("a module of another device", of_other.token()),
        ("an expired token", expired),
        ("a policy for this device only", policy("iothubowner", "IOTHUB_CONNECTION_STRING")),
        ("a policy without rights on the registry", policy("service", "IOTHUB_SERVICE_CONNECTION_STRING")),
        ("an unknown policy", format!("{own}&skn=nobody")),
        ("no SAS token", "x".to_owned()),
    ] {
        for (verb, path, if_match) in requests {
            let body = if verb == "PUT" { json!({}) } else { Value::Null };
            let path = format!("{path}?api-version=2020-09-30");
            let answer = request(&service, verb, &path, &token, if_match, &body);
            assert_eq!(error(&answer), UNAUTHORIZED, "{what}: {verb} {path}");
        }
    }
    // The device's own entry, its twin, its keys and other devices' stay closed to it.
    for (verb, path) in [
        ("GET", "/devices/dev1"),
        ("PUT", "/devices/dev1"),
        ("DELETE", "/devices/dev1"),
        ("GET", "/devices"),
        ("GET", "/twins/dev1"),
        ("GET", "/twins/dev1/modules/m1"),
        ("POST", "/ferrohub/devices/dev1/modules/m1/regenerate-key"),
        ("GET", "/devices/dev2/modules"),
        ("PUT", "/devices/dev2/modules/m2"),
        ("GET", "/devices/nobody/modules"),
        ("GET", "/devices/a%20b/modules"),
    ] {
        let body = if verb == "GET" { Value::Null } else { json!({ "key": "primary" }) };
        let answer = request(&service, verb, &format!("{path}?api-version=2020-09-30"), &own, true, &body);
        assert_eq!(answer.status, 401, "{verb} {path}");
    }
    let put = |name: &str| {
        let path = format!("/devices/dev1/modules/{name}?api-version=2020-09-30");
        request(&service, "PUT", &path, &own, false, &json!({}))
    };
    assert_eq!(put("m2").status, 200);
    assert_eq!(error(&put("m3")), (413, "TooManyModulesOnDevice"));
    assert_eq!(error(&put("$edgeAgent")), SYSTEM_MODULE);
    let disable = json!({
        "device_id": "dev1", "etag": null, "primary_key": device.primary_key,
        "secondary_key": device.secondary_key, "status": "disabled",
    });
    service.call("update_device_with_sas", &disable).unwrap();
    assert_eq!(error(&put("m2")), UNAUTHORIZED, "a disabled device");
}

#[test]
fn a_connection_that_uses_the_key_of_its_device_ends_with_that_key() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let device = service.create_device("dev1");
    let modules = ["own", "primary", "secondary"].map(|name| service.create_module("dev1", name));
    let keys = [&modules[0].primary_key, &device.primary_key, &device.secondary_key];
    let [own, primary, secondary] = [0, 1, 2].map(|index| {
        let string = modules[index].connection_string_with(keys[index]);
        let client = Device::with_connection_string(&string).option("connection_retry", false).start(&hub);
        client.connect().unwrap();
        client
    });
    let owner = sas::policy_token(hub.variable("IOTHUB_CONNECTION_STRING"));
    let regenerate = |path: &str| {
        let path = format!("/ferrohub/devices/{path}/regenerate-key?api-version=2021-04-12");
        let answer = service.http("POST", &path, Some(&owner), Some(r#"{"key":"primary"}"#));
        assert_eq!(answer.status, 200, "{}", answer.body);
    };
    regenerate("dev1/modules/secondary");
    regenerate("dev1");
    primary.wait_until_connected(false, Duration::from_secs(10));
    assert_eq!(primary.connect().unwrap_err().exception, "CredentialError");
    // The others have answered a request after the key was removed, so they are still connected.
    for client in [&own, &secondary] {
        let _ = client.twin().expect("a connection");
    }
    assert_eq!((own.connects(), secondary.connects()), (1, 1));
}
