//! Data keeps its value: numbers, names and JSON arrive as they were sent, or are refused with a reason.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::process::Command;
use std::time::Duration;

use ferrohub_acceptance::raw_tls::{RawTls, connect_packet, packet};
use ferrohub_acceptance::{Device, Events, Hub, Identity, Message, Method, Service, eventually, sas};
use ferrohub_device::{DeviceClient, MethodRequest, MethodResponse};
use serde_json::{Value, json};

const TWIN: &str = "/twins/dev1?api-version=2021-04-12";

fn owner_token(hub: &Hub) -> String {
    sas::policy_token(hub.variable("IOTHUB_CONNECTION_STRING"))
}

/// A device that sends arbitrary bytes.
struct RawDevice(RawTls);

impl RawDevice {
    fn connect(hub: &Hub, identity: &Identity) -> Self {
        let username = format!("{}/{}/?api-version=2021-04-12", hub.name(), identity.device_id);
        let mut tls = RawTls::mqtt(hub);
        tls.send(&connect_packet(&identity.device_id, &username, &identity.token(), 60));
        assert_eq!(tls.read(4), [0x20, 2, 0, 0]);
        Self(tls)
    }

    fn subscribe(&mut self, filter: &str) {
        let mut body = vec![0, 1, 0, u8::try_from(filter.len()).unwrap()];
        body.extend(filter.as_bytes());
        body.push(0);
        self.0.send(&packet(0x82, &body));
        assert_eq!(self.0.read(5)[0], 0x90);
    }

    /// Publishes with QoS 0.
    fn publish(&mut self, topic: &str, payload: &[u8]) {
        let mut body = u16::try_from(topic.len()).unwrap().to_be_bytes().to_vec();
        body.extend(topic.as_bytes());
        body.extend(payload);
        self.0.send(&packet(0x30, &body));
    }

    /// Reads a PUBLISH with QoS 0. Returns its topic and payload.
    fn read_publish(&mut self) -> (String, Vec<u8>) {
        assert_eq!(self.0.read(1), [0x30]);
        let (mut length, mut shift) = (0, 0);
        loop {
            let digit = usize::from(self.0.read(1)[0]);
            length += (digit & 127) << shift;
            shift += 7;
            if digit < 128 {
                break;
            }
        }
        let body = self.0.read(length);
        let (topic, payload) = body[2..].split_at(usize::from(u16::from_be_bytes([body[0], body[1]])));
        (String::from_utf8(topic.to_vec()).unwrap(), payload.to_vec())
    }
}

#[test]
fn null_for_a_section_of_a_twin_empties_it_and_the_device_receives_each_property_as_null() {
    let hub = Hub::builder().config("[events]\nsources = [\"twinChangeEvents\"]").start();
    let service = Service::owner(&hub);
    let device = Device::with_identity(&service.create_device("dev1")).start(&hub);
    device.watch_desired(true);
    let fill = json!({ "device_id": "dev1", "tags": { "t": 1 }, "desired": { "a": { "b": 1 }, "c": 2 } });
    let full = service.call("change_twin", &fill).unwrap();
    assert_eq!(device.next_desired()["$version"], 2);

    let headers = json!({ "Authorization": owner_token(&hub), "If-Match": "\"*\"" });
    let send = |verb: &str, body: &str| {
        let answer = service.http_with(verb, TWIN, headers.clone(), Some(body));
        assert_eq!(answer.status, 200, "{body}: {}", answer.body);
        answer.json()
    };
    let cleared = send("PATCH", r#"{"tags":null,"properties":{"desired":null}}"#);
    assert_eq!(device.next_desired(), json!({ "a": null, "c": null, "$version": 3 }));
    assert_eq!((&cleared["tags"], &cleared["version"]), (&json!({}), &json!(4)));
    assert_eq!(cleared["properties"]["desired"].as_object().unwrap().len(), 2, "{cleared}");
    assert_ne!(cleared["etag"], full["etag"]);
    let event = Events::new(&hub, &service).all().pop().unwrap().json();
    assert_eq!((&event["tags"], &event["version"]), (&json!({ "t": null }), &json!(4)));
    let section = &event["properties"]["desired"];
    assert_eq!((section.get("a"), section.get("c")), (Some(&Value::Null), Some(&Value::Null)));

    // An empty section, too, and with PUT.
    send("PATCH", r#"{"properties":{"desired":null}}"#);
    assert_eq!(device.next_desired(), json!({ "$version": 4 }));
    send("PATCH", r#"{"properties":{"desired":{"d":1}}}"#);
    assert_eq!(device.next_desired(), json!({ "d": 1, "$version": 5 }));
    let replaced = send("PUT", r#"{"properties":{"desired":null}}"#);
    assert_eq!(device.next_desired(), json!({ "$version": 6 }));
    assert_eq!(replaced["properties"]["desired"].get("d"), None);
    // These bodies do not mention a section, so nothing changes.
    for body in ["{}", r#"{"properties":{}}"#, r#"{"properties":null}"#] {
        assert_eq!(send("PATCH", body)["version"], replaced["version"], "{body}");
    }
    for body in [r#"{"tags":1}"#, r#"{"properties":{"desired":[]}}"#] {
        assert_eq!(service.http_with("PATCH", TWIN, headers.clone(), Some(body)).status, 400, "{body}");
    }
    hub.command(["twin", "update", "dev1", "--desired", "{\"e\":1}"]).success();
    hub.command(["twin", "update", "dev1", "--desired", "null"]).success();
    assert_eq!(device.next_desired(), json!({ "e": 1, "$version": 7 }));
    assert_eq!(device.next_desired(), json!({ "e": null, "$version": 8 }));
}

/// Values that a twin refuses, as JSON text.
const REFUSED: [(&str, &str); 7] = [
    ("9223372036854775808", "whole number outside"),
    ("-123456789012345678901234567890", "whole number outside"),
    ("18446744073709551615", "whole number outside"),
    (r#"[{"b":[18446744073709551616]}]"#, "whole number outside"),
    ("[1,null]", "null inside an array"),
    ("[[null]]", "null inside an array"),
    (r#"[{"b":{"c":null}}]"#, "null inside an array"),
];

#[test]
fn integers_beyond_64_bits_and_null_in_arrays_are_refused_in_every_section_of_a_twin() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let mut device = RawDevice::connect(&hub, &service.create_device("dev1"));
    let token = owner_token(&hub);
    let before = service.call("get_twin", &json!({ "device_id": "dev1" })).unwrap();
    for (value, reason) in REFUSED {
        for body in [
            format!(r#"{{"tags":{{"a":{value}}}}}"#),
            format!(r#"{{"properties":{{"desired":{{"x":{{"a":{value}}}}}}}}}"#),
        ] {
            for verb in ["PATCH", "PUT"] {
                let answer = service.http(verb, TWIN, Some(&token), Some(&body));
                assert_eq!((answer.status, answer.error_code()), (400, "ArgumentInvalid"), "{verb} {body}");
                assert!(answer.body.contains(reason), "{body}: {}", answer.body);
            }
        }
        let patch = format!(r#"{{"x":{{"a":{value}}}}}"#);
        device.publish("$iothub/twin/PATCH/properties/reported/?$rid=7", patch.as_bytes());
        let (topic, payload) = device.read_publish();
        assert_eq!(topic, "$iothub/twin/res/400/?$rid=7", "{value}");
        assert!(String::from_utf8_lossy(&payload).contains(reason), "{value}");
    }
    let after = service.call("get_twin", &json!({ "device_id": "dev1" })).unwrap();
    assert_eq!((&after["version"], &after["properties"]), (&before["version"], &before["properties"]));
    let wanted = r#"{"a":[4503599627370495,1e300,12345678901234567890.0,"9223372036854775808"]}"#;
    device.publish("$iothub/twin/PATCH/properties/reported/?$rid=8", wanted.as_bytes());
    assert_eq!(device.read_publish().0, "$iothub/twin/res/204/?$rid=8&$version=2");
    let refused = hub.command(["twin", "update", "dev1", "--tags", "{\"a\":9223372036854775808}"]);
    assert!(refused.code == 1 && refused.stderr.contains("whole number outside"), "{refused:?}");
}

#[test]
fn a_method_response_that_is_not_valid_json_is_502() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let mut device = RawDevice::connect(&hub, &service.create_device("dev1"));
    device.subscribe("$iothub/methods/POST/#");
    let mut respond = |payload: &[u8]| {
        let call = service.begin_invoke("dev1", Method::new("m"));
        let (topic, _) = device.read_publish();
        let request_id = topic.split_once("?$rid=").unwrap().1.to_owned();
        device.publish(&format!("$iothub/methods/res/200/?$rid={request_id}"), payload);
        call.wait()
    };
    for (payload, reason) in [
        (&b"\"\xff\""[..], "it is not UTF-8"),
        (b"{\"\xc3\":1}", "it is not UTF-8"),
        (b"{\"a\":[\"\\ud800\"]}", "half of a surrogate pair"),
        (b"{\"\\udc00\":1}", "half of a surrogate pair"),
        (b"{\"a\":", "is not JSON"),
    ] {
        let refusal = respond(payload).unwrap_err();
        assert_eq!(
            (refusal.http.status, refusal.http.error_code()),
            (502, "GenericBadGateway"),
            "{payload:?}"
        );
        assert!(refusal.http.nested_error()["message"].as_str().unwrap().contains(reason), "{refusal:?}");
    }
    assert_eq!(respond("[\"\\ud83d\\ude00é\"]".as_bytes()).unwrap().payload, json!(["😀é"]));
    assert_eq!(respond(b"").unwrap().payload, Value::Null);
}

#[test]
fn a_call_whose_payload_has_half_of_a_surrogate_pair_is_refused() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let _ = service.create_device("dev1");
    let path = "/twins/dev1/methods?api-version=2021-04-12";
    let body = r#"{"methodName":"m","payload":{"a":"\ud800"}}"#;
    let answer = service.http("POST", path, Some(&owner_token(&hub)), Some(body));
    assert_eq!((answer.status, answer.error_code()), (400, "IotHubFormatError"), "{}", answer.body);
}

#[test]
fn bodies_that_are_not_utf8_are_valid_json_everywhere() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let device = Device::with_identity(&service.create_device("dev1")).start(&hub);
    device.send(&[Message::bytes(b"\xff\xfe"), Message::bytes(b"\"\\ud800\"")]).unwrap();
    let events = Events::new(&hub, &service).wait_for(2, |event| event.device() == "dev1");
    assert_eq!((events[0].bytes(), events[1].bytes()), (b"\xff\xfe".to_vec(), b"\"\\ud800\"".to_vec()));
    device.shutdown();
    service.send("dev1", json!({}), b"a\xffb");
    let received = hub.command(["c2d", "receive", "dev1", "--output", "json"]).success();
    let received: Value = serde_json::from_str(&received).unwrap();
    assert_eq!((&received["bodyBase64"], received.get("body")), (&json!("Yf9i"), None), "{received}");
}

#[test]
fn method_names_reach_a_python_device_unchanged() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let device = Device::with_identity(&service.create_device("dev1")).listen(&hub);
    for name in ["thermostat1*getMaxMinReport", "a+b#c%d?e\\f/g", "m:1;x=(y)@[z] é😀", "%2A"] {
        let call = service.begin_invoke("dev1", Method::new(name));
        assert_eq!(device.next_request().name, name);
        let _ = call.wait().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn method_names_reach_a_rust_device_unchanged() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let identity = service.create_device("dev1");
    let client = DeviceClient::builder_from_connection_string(&identity.connection_string())
        .unwrap()
        .root_certificates_only(std::fs::read(hub.variable("SSL_CERT_FILE")).unwrap())
        .build()
        .unwrap();
    client.on_unhandled_method(|request: MethodRequest| async move {
        MethodResponse::new(200).payload(request.name())
    });
    client.connect().await.unwrap();
    for name in ["thermostat1*getMaxMinReport", "a+b#c%d?e\\f/g", "m:1;x=(y)@[z] é😀", "%2A"] {
        assert_eq!(service.invoke("dev1", Method::new(name)).unwrap().payload, name);
    }
}

/// .NET (`MqttTransportHandler.cs`), C (`iothubtransport_mqtt_common.c`), Java (`TopicParser.java`) and azure-sdk-for-c
/// (`az_iot_hub_client_methods.c`) compare the level of the topic with the name of the method, and do not decode it.
#[test]
fn a_method_name_is_in_the_topic_as_it_is() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let mut device = RawDevice::connect(&hub, &service.create_device("dev1"));
    device.subscribe("$iothub/methods/POST/#");
    for (name, level) in [
        ("thermostat1*getMaxMinReport", "thermostat1*getMaxMinReport"),
        ("m:1;x=(y)@[z]~é", "m:1;x=(y)@[z]~é"),
        ("a+b#c%d?e\\f/g", "a%2Bb%23c%25d%3Fe%5Cf%2Fg"),
    ] {
        let call = service.begin_invoke("dev1", Method::new(name));
        let (topic, _) = device.read_publish();
        let (path, request_id) = topic.split_once("/?$rid=").unwrap();
        assert_eq!(path, format!("$iothub/methods/POST/{level}"));
        device.publish(&format!("$iothub/methods/res/200/?$rid={request_id}"), b"1");
        assert_eq!(call.wait().unwrap().payload, 1);
    }
}

#[test]
fn enumerations_in_requests_are_read_in_any_case_and_read_only_members_in_any_form() {
    let hub = Hub::builder().config("[faults]\nenabled = true").start();
    let service = Service::owner(&hub);
    let token = owner_token(&hub);
    let send = |verb: &str, path: &str, body: Value| {
        service.http(verb, &format!("{path}?api-version=2021-04-12"), Some(&token), Some(&body.to_string()))
    };
    let body = json!({ "deviceId": "d", "status": "Enabled", "authentication": { "type": "SAS" },
        "connectionState": "connected", "generationId": 5, "lastActivityTime": "never",
        "cloudToDeviceMessageCount": -1, "etag": {} });
    let created = send("PUT", "/devices/d", body);
    assert_eq!(created.status, 200, "{}", created.body);
    let created = created.json();
    assert_eq!(
        (&created["status"], &created["connectionState"]),
        (&json!("enabled"), &json!("Disconnected"))
    );
    assert_eq!(created["authentication"]["type"], "sas");
    let body = json!({ "moduleId": "m", "deviceId": "d", "authentication": { "type": "CertificateAuthority" },
        "connectionState": null, "connectionStateUpdatedTime": false });
    let module = send("PUT", "/devices/d/modules/m", body);
    assert_eq!(module.status, 200, "{}", module.body);
    assert_eq!(module.json()["authentication"]["type"], "certificateAuthority");
    let refused = send("PUT", "/devices/e", json!({ "deviceId": "e", "status": "on" }));
    assert_eq!(refused.status, 400);
    assert!(refused.body.contains("`enabled`"), "{}", refused.body);

    for (path, body) in [
        ("/ferrohub/devices/d/regenerate-key", json!({ "key": "Swap" })),
        ("/ferrohub/policies/service/regenerate-key", json!({ "key": "Primary" })),
        (
            "/ferrohub/faults",
            json!({ "kind": "refuserequest", "operation": "GetTwin",
            "error": "ServiceUnavailable", "durationSeconds": 1 }),
        ),
    ] {
        let answer = send("POST", path, body);
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    }
}

#[test]
fn an_id_with_any_allowed_character_works_through_connection_strings() {
    let hub = Hub::start();
    let id = "a;b'c=d,e@f;SharedAccessKey=x";
    let created = hub.command(["device", "create", id]);
    assert!(created.stderr.contains("warning") && created.stderr.contains("';'"), "{created:?}");
    let java = hub.command(["device", "create", "a+b"]);
    assert!(java.stderr.contains("Java"), "{java:?}");
    let plain = hub.command(["device", "create", "plain"]);
    assert_eq!((plain.code, plain.stderr.contains("warning")), (0, false), "{plain:?}");
    let shown = hub.command(["device", "connection-string", id]).success();
    assert!(shown.contains(&format!("DeviceId=\"{id}\";")), "{shown}");
    hub.command(["send-event", id, "hello"]).success();
    let service = Service::owner(&hub);
    let events = Events::new(&hub, &service).wait_for(1, |event| event.device() == id);
    assert_eq!(events[0].body(), "hello");
    let login = hub.variable("IOTHUB_CONNECTION_STRING").replace(';', " ; ").replace("Key=", "Key = ");
    let listed = hub.command(["device", "show", "plain", "--login", &format!("{login};EntityPath=x")]);
    assert_eq!(listed.code, 0, "{listed:?}");
}

#[test]
fn a_store_failure_is_503_for_a_blob() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let device = Device::with_identity(&service.create_device("dev1")).start(&hub);
    let upload = device.storage_info("file.txt").unwrap();
    let url = upload.url();
    let path = url.strip_prefix(&format!("https://{}", upload.host_name)).unwrap();
    let put = || service.http_with("PUT", path, json!({ "x-ms-blob-type": "blockblob" }), Some("text"));
    assert_eq!(put().status, 201);
    let database = hub.folder().join("data").join("hub.db");
    let code = "import sqlite3, sys\nsqlite3.connect(sys.argv[1], timeout=30).execute('ALTER TABLE identity RENAME TO gone')";
    let renamed = Command::new("python3").arg("-c").arg(code).arg(&database).status().unwrap();
    assert!(renamed.success());
    let refused = eventually("the hub sees the failure", Duration::from_secs(20), || {
        Some(put()).filter(|answer| answer.status != 201)
    });
    assert_eq!((refused.status, refused.header("x-ms-error-code")), (503, "ServerBusy"), "{}", refused.body);
    assert_eq!(refused.header("retry-after"), "5");
}
