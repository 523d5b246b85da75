//! Tokens and user names in the forms that clients send, over MQTT, WebSocket and HTTPS.
//!
//! `crates/model/tests/client_tokens.tsv` has the same forms byte for byte; here they are signed with the keys of real
//! identities.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use ferrohub_acceptance::{
    Device, Hub, Identity, NodeClient, Service,
    raw_connect::{Connect, Outcome},
    sas::{self, Token, encode, literal_token},
};
use serde_json::{Value, json};

const REFUSED: Outcome = Outcome::Connack(5);
const ACCEPTED: Outcome = Outcome::Connack(0);
/// The characters that clients encode in different ways.
const DEVICE: &str = "Aa:b@c#d+e=f$g%41h!i(j)k*l'm";
const MODULE: &str = "$m:1";

fn path(identity: &Identity) -> String {
    let module = identity.module_id.as_ref().map(|module| format!("/modules/{}", encode(module)));
    format!("/devices/{}{}", encode(&identity.device_id), module.unwrap_or_default())
}

/// Sends telemetry over HTTPS, and returns the status.
#[track_caller]
fn send(service: &Service, identity: &Identity, token: &str) -> u16 {
    let path = format!("{}/messages/events?api-version=2020-03-13", path(identity));
    service.http("POST", &path, Some(token), Some("1")).status
}

fn client_id(identity: &Identity) -> String {
    match &identity.module_id {
        Some(module) => format!("{}/{module}", identity.device_id),
        None => identity.device_id.clone(),
    }
}

#[track_caller]
fn connect(hub: &Hub, identity: &Identity, token: &str, websocket: bool) -> Outcome {
    let id = client_id(identity);
    let connect = Connect::device(hub, &id).password(token);
    if websocket { connect.websocket().run(hub) } else { connect.run(hub) }
}

/// Returns `sr` as each client writes it, with the client's source file.
fn device_forms(host: &str, id: &str) -> Vec<(&'static str, String)> {
    let raw = format!("{host}/devices/{id}");
    vec![
        // WebUtility.UrlEncode of the whole, after that of the id.
        (".NET (DeviceAuthenticationWithSakRefresh.cs)", encode(&format!("{host}/devices/{}", encode(id)))),
        ("C over MQTT (iothubtransport_mqtt_common.c)", raw.clone()),
        ("Go over MQTT (mqtt.go)", host.to_owned()),
        ("iot-identity-service (connector.rs)", raw.to_lowercase().replace('#', "%23").replace('=', "%3D")),
        ("Python (sastoken.py)", encode(&raw)),
        ("Node (sak_authentication_provider.ts)", encode(&raw).replace("%2A", "%2a")),
        ("C over HTTP (iothubtransporthttp.c)", format!("{host}/devices/{}", encode(id).to_lowercase())),
        ("Java (IotHubUri.java)", format!("{host}/devices/{}", encode(id))),
        ("Go over HTTPS (http.go)", encode(&format!("{host}/{id}"))),
        ("Azure's documentation", encode(&format!("{raw}/api-version=2016-11-14"))),
        ("Edge (CommonModule.cs)", encode(&format!("{host}/devices/{}", encode(&encode(id))))),
    ]
}

#[test]
fn the_token_of_every_client_authenticates_a_device_over_every_protocol() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    // The Edge identity service leaves `%` as it is, so `%41` cannot be told from `A` there.
    for id in [DEVICE, "Aa:b@c#d+e=f$g"] {
        let device = service.create_device(id);
        let other = service.create_device(&format!("{id}2"));
        for (index, (client, sr)) in device_forms(hub.name(), id).into_iter().enumerate() {
            if client.starts_with("iot-identity-service") && id == DEVICE {
                continue;
            }
            let token = literal_token(&sr, &device.primary_key);
            assert_eq!(send(&service, &device, &token), 204, "{client}: {sr}");
            assert_eq!(send(&service, &other, &token), 401, "{client}: {sr}");
            assert_eq!(send(&service, &device, &literal_token(&sr, &other.primary_key)), 401, "{client}");
            if id == DEVICE && index < 6 {
                assert_eq!(connect(&hub, &device, &token, false), ACCEPTED, "{client}: {sr}");
                assert_eq!(connect(&hub, &device, &token, true), ACCEPTED, "{client}: {sr}");
            }
        }
    }
}

#[test]
fn the_token_of_every_client_authenticates_a_module_over_every_protocol() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let (host, d, m) = (hub.name(), DEVICE, MODULE);
    let device = service.create_device(d);
    let module = service.create_module(d, m);
    let sibling = service.create_module(d, "$m");
    let raw = format!("{host}/devices/{d}/modules/{m}");
    let twice = encode(&format!("{host}/devices/{}/modules/{}", encode(d), encode(m)));
    for (client, sr, key, is_mqtt) in [
        (".NET and Edge (ModuleAuthenticationWithSakRefresh.cs)", &twice, &module.primary_key, true),
        ("Go (mqtt_module.go)", &encode(&twice), &module.primary_key, true),
        ("Python (sastoken.py)", &encode(&raw), &module.primary_key, false),
        ("C with the device's key (iothub_account.c)", &raw, &device.primary_key, true),
        ("the device's key and resource", &format!("{host}/devices/{d}"), &device.primary_key, false),
        ("the device's key for the host", &host.to_owned(), &device.secondary_key, false),
        ("the device", &encode(&format!("{host}/devices/{d}")), &module.primary_key, false),
    ] {
        let token = literal_token(sr, key);
        assert_eq!(send(&service, &module, &token), 204, "{client}: {sr}");
        assert_eq!(send(&service, &module, &literal_token(sr, &sibling.primary_key)), 401, "{client}");
        if is_mqtt {
            assert_eq!(send(&service, &sibling, &literal_token(sr, &sibling.primary_key)), 401, "{client}");
            assert_eq!(connect(&hub, &module, &token, false), ACCEPTED, "{client}: {sr}");
            assert_eq!(connect(&hub, &module, &token, true), ACCEPTED, "{client}: {sr}");
        }
    }
    let own = literal_token(&raw, &module.primary_key);
    assert_eq!(send(&service, &device, &own), 401, "a module is not its device");
    assert_eq!(connect(&hub, &device, &own, false), REFUSED);
}

#[test]
fn microsofts_clients_connect_with_ids_of_every_character() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let device = service.create_device(DEVICE);
    for transport in ["mqtt", "mqtt_ws"] {
        let node = NodeClient::device(&hub, &device.connection_string(), transport);
        node.ok("connect", &Value::Null);
        node.ok("send_event", &json!({ "body": "1", "properties": {} }));
    }
    Device::with_identity(&device).start(&hub).connect().unwrap();
    let module = service.create_module(DEVICE, MODULE);
    for key in [&module.primary_key, &device.primary_key] {
        let module = Device::with_connection_string(&module.connection_string_with(key));
        module.start(&hub).connect().unwrap();
    }
}

#[test]
fn a_token_for_another_resource_is_refused_over_every_protocol() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let host = hub.name();
    let device = service.create_device("dev1");
    for (index, sr) in [
        format!("{host}/devices/dev"),
        format!("{host}/devices/dev1/api-version=1/api-version=2"),
        format!("{host}/devices/dev11"),
        format!("{host}/devices/dev1/modules/m"),
        format!("{host}/devices/dev1/x"),
        format!("{host}/api-version=1"),
        format!("{host}/devices/api-version=1"),
        format!("{host}/x"),
        "other.example/devices/dev1".to_owned(),
    ]
    .into_iter()
    .enumerate()
    {
        let token = literal_token(&sr, &device.primary_key);
        assert_eq!(send(&service, &device, &token), 401, "{sr}");
        if index < 2 {
            assert_eq!(connect(&hub, &device, &token, false), REFUSED, "{sr}");
            assert_eq!(connect(&hub, &device, &token, true), REFUSED, "{sr}");
        }
    }
}

#[test]
fn the_token_of_a_policy_has_one_meaning() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let string = hub.variable("IOTHUB_CONNECTION_STRING");
    let key = string.split_once("SharedAccessKey=").unwrap().1;
    let token = |sr: &str| format!("{}&skn=iothubowner", literal_token(sr, key));
    let host = hub.name();
    let create = |id: &str| service.create_device(id);
    let (plain, encoded, version, upper, lower) =
        (create("a:b"), create("a%3Ab"), create("api-version=x"), create("A"), create("a"));
    for (sr, device, status) in [
        (format!("{host}%2Fdevices%2Fa%253Ab"), &encoded, 204),
        (format!("{host}%2Fdevices%2Fa%253Ab"), &plain, 401),
        (format!("{host}%2Fdevices%2Fa%3Ab"), &plain, 204),
        (format!("{host}%2Fdevices%2Fa%3Ab"), &encoded, 401),
        (format!("{host}/devices/api-version%3Dx"), &version, 204),
        (format!("{host}/devices/api-version=x"), &plain, 401),
        (format!("{host}/api-version=x"), &plain, 401),
        (format!("{host}/devices/A"), &upper, 204),
        (format!("{host}/devices/A"), &lower, 401),
        (format!("{host}/devices/a/api-version=2016-11-14"), &lower, 204),
        (format!("{host}/devices"), &lower, 204),
        (format!("{host}/a"), &lower, 401),
    ] {
        assert_eq!(send(&service, device, &token(&sr)), status, "{sr} {}", device.device_id);
    }
    for (sr, status) in [
        (host.to_owned(), 200),
        (format!("{host}/"), 200),
        (format!("{host}:443"), 200),
        (format!("{host}%3A443"), 200),
        (host.to_uppercase(), 200),
        (format!("{host}/api-version=2021-04-12"), 401),
        (format!("{host}/devices"), 401),
        (format!("{host}/devices/a"), 401),
    ] {
        let answer = service.http("GET", "/devices?api-version=2021-04-12", Some(&token(&sr)), None);
        assert_eq!(answer.status, status, "{sr}");
    }
    let service_token = Token { resource: host, key, expiry: sas::now() + 60, policy: None }.sign();
    let answer = service.http("GET", "/devices?api-version=2021-04-12", Some(&service_token), None);
    assert_eq!(answer.status, 401, "the key of a policy without its name");
}

/// User names of azure-sdk-for-c-arduino's sketches (`AZURE_SDK_CLIENT_USER_AGENT`), az_iot_hub_client.c, mqtt.go, and of
/// an old .NET client (MqttUsernameParser.cs of iotedge).
#[test]
fn descriptive_text_in_the_user_name_keeps_no_device_out() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let device = service.create_device("d");
    let host = hub.name();
    let model = "dtmi:com:example:T;1";
    for (index, (properties, sends_model)) in [
        ("?api-version=2020-09-30&DeviceClientType=c/1.5.0(ard;esp32)", false),
        ("?api-version=2020-09-30&DeviceClientType=100%&model-id=dtmi:com:example:T;1", true),
        ("?api-version=2020-09-30&DeviceClientType=c%2F1.5.0 (ard;esp32)", false),
        ("?api-version=2020-09-30&DeviceClientType=a/b/?c=d;%zz", false),
        ("api-version=2020-09-30&model-id=dtmi%3Acom%3Aexample%3AT%3B1", true),
        ("api-version=2017-06-30/DeviceClientType=Microsoft.Azure.Devices.Client/1.5.1-preview-003", false),
    ]
    .into_iter()
    .enumerate()
    {
        let mut connect = Connect::device(&hub, "d").password(device.token());
        connect.username = format!("{host}/d/{properties}");
        assert_eq!(connect.run(&hub), ACCEPTED, "{properties}");
        if index == 0 {
            assert_eq!(connect.clone().websocket().run(&hub), ACCEPTED, "{properties}");
        }
        if sends_model {
            let owner = sas::policy_token(hub.variable("IOTHUB_CONNECTION_STRING"));
            let twin = service.http("GET", "/twins/d?api-version=2021-04-12", Some(&owner), None);
            assert_eq!(twin.json()["modelId"], model, "{properties}");
        }
    }
    for (username, outcome) in [
        (format!("{host}/d/m/?api-version=1&DeviceClientType=c/1"), REFUSED),
        (format!("{host}/d2/?api-version=1"), REFUSED),
        (host.to_owned(), Outcome::Connack(4)),
    ] {
        let mut connect = Connect::device(&hub, "d").password(device.token());
        connect.username = username.clone();
        assert_eq!(connect.run(&hub), outcome, "{username}");
    }
}
