//! Modules: identities on a device with their own keys, connections, methods and twins, with Microsoft's packages.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::time::Duration;

use ferrohub_acceptance::{Client, Device, Hub, Identity, MethodResult, Script, Service, sas};
use serde_json::{Value, json};

#[track_caller]
fn invoke(service: &Service, module: &str, method: &str, payload: Value) -> MethodResult {
    let call = json!({
        "device_id": "dev1", "module_id": module, "method_name": method, "payload": payload,
        "connect_timeout_in_seconds": 10,
    });
    let answer = service.call("invoke_module", &call).unwrap();
    MethodResult { status: answer["status"].as_i64().unwrap(), payload: answer["payload"].clone() }
}

#[test]
fn modules_are_created_read_changed_and_deleted() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let _ = service.create_device("dev1");
    let m1 = service.create_module("dev1", "m1");
    assert_eq!((m1.primary_key.len(), m1.secondary_key.len()), (44, 44));
    assert_eq!(m1.document["connectionState"], "Disconnected");
    let ids = json!({ "device_id": "dev1", "module_id": "m1" });
    assert_eq!(service.call("get_module", &ids).unwrap(), m1.document);

    let named = json!({ "device_id": "dev1", "module_id": "m0", "managed_by": "me" });
    service.call("create_module_with_sas", &named).unwrap();
    let list = service.call("get_modules", &json!({ "device_id": "dev1" })).unwrap();
    let seen: Vec<_> = list.as_array().unwrap().iter().map(|m| (&m["moduleId"], &m["managedBy"])).collect();
    assert_eq!(seen, [(&json!("m0"), &json!("me")), (&json!("m1"), &json!(""))]);
    let devices = service.call("get_devices", &json!({})).unwrap();
    assert_eq!(devices.as_array().unwrap().len(), 1, "modules are not listed as devices");

    let changed =
        json!({ "device_id": "dev1", "module_id": "m1", "etag": m1.document["etag"], "managed_by": "you" });
    let changed = service.call("update_module_with_sas", &changed).unwrap();
    assert_eq!(changed["managedBy"], "you");
    assert_eq!(
        changed["authentication"], m1.document["authentication"],
        "missing keys leave the stored keys unchanged"
    );
    let stale =
        json!({ "device_id": "dev1", "module_id": "m1", "etag": m1.document["etag"], "managed_by": "x" });
    assert_eq!(service.refusal("update_module_with_sas", &stale), (412, "PreconditionFailed".to_owned()));

    service.call("delete_module", &ids).unwrap();
    assert_eq!(service.refusal("get_module", &ids), (404, "ModuleNotFound".to_owned()));
    assert_eq!(service.refusal("delete_module", &ids), (404, "ModuleNotFound".to_owned()));
}

#[test]
fn invalid_requests_are_refused() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let _ = service.create_device("dev1");
    let _ = service.create_module("dev1", "m1");
    let ids = |device: &str, module: &str| json!({ "device_id": device, "module_id": module });
    for (operation, arguments, expected) in [
        ("create_module_with_sas", ids("dev1", "m1"), (409, "ModuleAlreadyExistsOnDevice")),
        ("create_module_with_sas", ids("nobody", "m1"), (404, "DeviceNotFound")),
        ("create_module_with_sas", ids("dev1", "a b"), (400, "ArgumentInvalid")),
        ("get_module", ids("nobody", "m1"), (404, "DeviceNotFound")),
        ("get_module", ids("dev1", "m2"), (404, "ModuleNotFound")),
        ("get_modules", json!({ "device_id": "nobody" }), (404, "DeviceNotFound")),
        ("get_twin", ids("dev1", "m2"), (404, "ModuleNotFound")),
    ] {
        let expected = (expected.0, expected.1.to_owned());
        assert_eq!(service.refusal(operation, &arguments), expected, "{operation} {arguments}");
    }
}

#[test]
fn a_device_has_at_most_fifty_modules() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let _ = service.create_device("dev1");
    let creates: Vec<_> = (0..50)
        .map(|n| {
            let ids = json!({ "device_id": "dev1", "module_id": format!("m{n}") });
            service.begin("create_module_with_sas", &ids)
        })
        .collect();
    creates.into_iter().for_each(|create| drop(create.wait().unwrap()));
    let one_more = json!({ "device_id": "dev1", "module_id": "one-more" });
    assert_eq!(
        service.refusal("create_module_with_sas", &one_more),
        (413, "TooManyModulesOnDevice".to_owned())
    );
    let _ = service.create_device("dev2");
    let _ = service.create_module("dev2", "m0");
}

#[track_caller]
fn check_module(client: Client, websockets: bool) {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let of_device = service.create_device("dev1");
    let of_module = service.create_module("dev1", "m1");
    let device = Device::with_identity(&of_device).listen(&hub);
    let module =
        Device::with_identity(&of_module).client(client).option("websockets", websockets).listen(&hub);

    assert_eq!(invoke(&service, "m1", "echo", json!([1])), MethodResult { status: 200, payload: json!([1]) });
    assert_eq!(module.next_request().name, "echo");
    assert!(device.requests().is_empty(), "the device does not receive the module's call");

    module.watch_desired(true);
    let change = json!({ "device_id": "dev1", "module_id": "m1", "desired": { "a": 1 }, "tags": { "t": 1 } });
    let changed = service.call("change_twin", &change).unwrap();
    assert_eq!((&changed["deviceId"], &changed["moduleId"]), (&json!("dev1"), &json!("m1")));
    assert_eq!(module.next_desired(), json!({ "a": 1, "$version": 2 }));
    module.report(&json!({ "b": 2 })).unwrap();
    let ids = json!({ "device_id": "dev1", "module_id": "m1" });
    assert_eq!(service.call("get_twin", &ids).unwrap()["properties"]["reported"]["b"], 2);
    let of_device = service.call("get_twin", &json!({ "device_id": "dev1" })).unwrap();
    assert_eq!((&of_device["version"], &of_device["moduleId"]), (&json!(2), &Value::Null));
    assert_eq!(service.call("get_module", &ids).unwrap()["connectionState"], "Connected");
}

#[test]
fn a_module_connects_responds_and_has_a_twin() {
    check_module(Client::Sync, false);
}

#[test]
fn a_module_on_websocket_connects_responds_and_has_a_twin() {
    check_module(Client::Async, true);
}

#[test]
fn a_module_authenticates_with_its_own_keys_or_those_of_its_device() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let of_device = service.create_device("dev1");
    let m1 = service.create_module("dev1", "m1");
    let m2 = service.create_module("dev1", "m2");
    let other = service.create_device("dev2");
    for (key, whose) in [(&other.primary_key, "another device's"), (&m2.primary_key, "another module's")] {
        let failure = Device::with_connection_string(&m1.connection_string_with(key))
            .start(&hub)
            .connect()
            .unwrap_err();
        assert_eq!(failure.exception, "CredentialError", "with {whose} key: {failure:?}");
    }
    Device::with_connection_string(&m1.connection_string_with(&m1.secondary_key))
        .start(&hub)
        .connect()
        .unwrap();
    let of_device = &of_device.primary_key;
    Device::with_connection_string(&m1.connection_string_with(of_device)).start(&hub).connect().unwrap();
    for unregistered in ["m3", "M1"] {
        let unregistered = Identity { module_id: Some(unregistered.to_owned()), ..m1.clone() };
        for key in [&m1.primary_key, of_device] {
            let unregistered = Device::with_connection_string(&unregistered.connection_string_with(key));
            assert_eq!(unregistered.start(&hub).connect().unwrap_err().exception, "CredentialError");
        }
    }
}

#[test]
fn a_module_is_disabled_and_deleted_with_its_device() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let of_device = service.create_device("dev1");
    let module = Device::with_identity(&service.create_module("dev1", "m1"))
        .option("connection_retry", false)
        .start(&hub);
    module.connect().unwrap();
    let disable = json!({
        "device_id": "dev1", "etag": null, "primary_key": of_device.primary_key,
        "secondary_key": of_device.secondary_key, "status": "disabled",
    });
    service.call("update_device_with_sas", &disable).unwrap();
    module.wait_until_connected(false, Duration::from_secs(10));
    assert_eq!(module.connect().unwrap_err().exception, "CredentialError", "its device is disabled");

    service.call("delete_device", &json!({ "device_id": "dev1" })).unwrap();
    let _ = service.create_device("dev1");
    let list = service.call("get_modules", &json!({ "device_id": "dev1" })).unwrap();
    assert_eq!(list, json!([]), "a new device with the same id has no modules");
}

#[test]
fn a_deleted_module_is_disconnected() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let _ = service.create_device("dev1");
    let module = Device::with_identity(&service.create_module("dev1", "m1"))
        .option("connection_retry", false)
        .listen(&hub);
    service.call("delete_module", &json!({ "device_id": "dev1", "module_id": "m1" })).unwrap();
    module.wait_until_connected(false, Duration::from_secs(10));
    let call = json!({ "device_id": "dev1", "module_id": "m1", "method_name": "echo" });
    assert_eq!(service.refusal("invoke_module", &call), (404, "ModuleNotFound".to_owned()));
}

/// Sends the requests of a module on an edge device.
struct EdgeModule<'a> {
    service: &'a Service,
    token: String,
    /// The header `x-ms-edge-moduleId`, which Microsoft's SDKs send.
    sender: Option<&'a str>,
}

impl EdgeModule<'_> {
    fn call(&self, path: &str) -> (u16, String) {
        let body = r#"{"methodName":"echo","payload":1}"#;
        let path = format!("{path}/methods?api-version=2019-10-01");
        let mut headers = json!({ "Authorization": self.token });
        if let Some(sender) = self.sender {
            headers["x-ms-edge-moduleId"] = sender.into();
        }
        let answer = self.service.http_with("POST", &path, headers, Some(body));
        let code = answer.error_code().to_owned();
        (answer.status, code)
    }
}

#[test]
fn microsofts_module_client_invokes_methods() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let _device = Device::with_identity(&service.create_device("dev1")).listen(&hub);
    let caller = service.create_module("dev1", "caller");
    let _other = Device::with_identity(&service.create_module("dev1", "other")).listen(&hub);
    let output = Script::new(&hub, "edge_module.py")
        .arg("dev1")
        .env(
            "EdgeHubConnectionString",
            &format!("{};GatewayHostName={}", caller.connection_string(), hub.name()),
        )
        .env("EdgeModuleCACertificateFile", hub.variable("SSL_CERT_FILE"))
        .output(Duration::from_secs(60));
    let answers: Vec<Value> = output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        answers,
        [
            json!({ "status": 200, "payload": { "to": "device" } }),
            json!({ "status": 200, "payload": { "to": "module" } }),
        ]
    );
}

#[test]
fn a_module_may_only_call_its_device_and_that_devices_children() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let owner = sas::policy_token(hub.variable("IOTHUB_CONNECTION_STRING"));
    let create = |id: &str, more: Value| {
        let mut body = json!({ "deviceId": id });
        body.as_object_mut().unwrap().append(more.clone().as_object_mut().unwrap());
        let path = format!("/devices/{id}?api-version=2021-04-12");
        let answer = service.http("PUT", &path, Some(&owner), Some(&body.to_string()));
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()
    };
    let edge = create("edge", json!({ "capabilities": { "iotEdge": true } }));
    let scope = &edge["deviceScope"];
    create("leaf", json!({ "deviceScope": scope }));
    create("below", json!({ "capabilities": { "iotEdge": true }, "parentScopes": [scope] }));
    create("unrelated", json!({}));
    let caller = service.create_module("edge", "caller");
    let other = service.create_module("edge", "other");
    let _ = service.create_module("leaf", "m");
    let token = |identity: &Identity, key: &str, expiry: i64| {
        sas::Token { resource: &identity.resource(), key, expiry, policy: None }.sign()
    };
    let soon = sas::now() + 60;
    let module =
        EdgeModule { service: &service, token: token(&caller, &caller.primary_key, soon), sender: None };
    let not_online = (404, "DeviceNotOnline".to_owned());
    for allowed in
        ["/twins/edge", "/twins/edge/modules/other", "/twins/leaf", "/twins/leaf/modules/m", "/twins/below"]
    {
        assert_eq!(module.call(allowed), not_online, "{allowed}");
    }
    let unauthorized = (401, "IotHubUnauthorizedAccess".to_owned());
    for forbidden in ["/twins/unrelated", "/twins/nobody", "/twins/nobody/modules/m", "/twins/a%20b"] {
        assert_eq!(module.call(forbidden), unauthorized, "{forbidden}");
    }
    let device = Identity { module_id: None, ..caller.clone() };
    let own = token(&caller, &caller.primary_key, soon);
    let short = token(&device, &caller.primary_key, soon);
    let of_device =
        token(&caller, edge["authentication"]["symmetricKey"]["primaryKey"].as_str().unwrap(), soon);
    // Go and the Edge runtime sign less than the complete module; the header names the caller.
    for (what, sender, token) in [
        ("its own resource", Some("edge/caller"), &own),
        ("the resource of the device", Some("edge/caller"), &short),
        ("the key of the device", Some("edge/caller"), &of_device),
        ("the key of the device, without the header", None, &of_device),
    ] {
        let module = EdgeModule { service: &service, token: token.clone(), sender };
        assert_eq!(module.call("/twins/leaf"), not_online, "{what}");
        assert_eq!(module.call("/twins/unrelated"), unauthorized, "{what}");
    }
    let of_leaf = Identity { device_id: "leaf".to_owned(), ..caller.clone() };
    for (what, sender, token) in [
        ("another module's key", Some("edge/caller"), token(&caller, &other.primary_key, soon)),
        ("an expired token", None, token(&caller, &caller.primary_key, sas::now() - 1)),
        ("a resource without a module, and no header", None, short),
        ("the header names another module", Some("edge/other"), own.clone()),
        ("the header names another case", Some("edge/Caller"), own.clone()),
        ("the header names a device", Some("edge"), of_device),
        ("the header names another device's module", Some("leaf/m"), own.clone()),
        ("the header is empty", Some(""), own.clone()),
        ("the header is not an identity", Some("edge/caller/x"), own),
        (
            "the resource names another device",
            Some("edge/caller"),
            token(&of_leaf, &caller.primary_key, soon),
        ),
    ] {
        assert_eq!(
            EdgeModule { service: &service, token, sender }.call("/twins/edge"),
            unauthorized,
            "{what}"
        );
    }
    for (verb, path) in [("GET", "/twins/edge"), ("PATCH", "/twins/edge"), ("GET", "/devices/edge/modules")] {
        let body = (verb == "PATCH").then_some("{}");
        let path = format!("{path}?api-version=2019-10-01");
        assert_eq!(service.http(verb, &path, Some(&module.token), body).status, 401, "{verb} {path}");
    }
    disable(&service, &owner, "edge");
    assert_eq!(module.call("/twins/leaf"), unauthorized, "a module of a disabled device");
}

#[track_caller]
fn disable(service: &Service, owner: &str, device_id: &str) {
    let path = format!("/devices/{device_id}?api-version=2021-04-12");
    let headers = json!({ "Authorization": owner, "If-Match": "*" });
    let body = json!({ "deviceId": device_id, "status": "disabled" }).to_string();
    assert_eq!(service.http_with("PUT", &path, headers, Some(&body)).status, 200);
}
