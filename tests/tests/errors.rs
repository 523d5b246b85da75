//! Errors that back ends receive: HTTP status, headers and body, as the clients parse them.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::time::{Duration, Instant};

use ferrohub_acceptance::{Device, HttpResponse, Hub, Method, Service, sas};
use serde_json::{Value, json};

const METHODS: &str = "/twins/dev1/methods?api-version=2021-04-12";

/// Checks that the response has a GUID as its request id.
#[track_caller]
fn assert_has_request_id(answer: &HttpResponse) {
    let id = answer.header("x-ms-request-id");
    let groups: Vec<usize> = id.split('-').map(str::len).collect();
    assert_eq!(groups, [8, 4, 4, 4, 12], "{answer:?}");
    assert!(id.chars().all(|c| c == '-' || c.is_ascii_hexdigit()), "{id}");
}

/// Checks the status and the headers of an error response.
#[track_caller]
fn assert_refused(answer: &HttpResponse, number: u64, name: &str) {
    assert_eq!(u64::from(answer.status), number / 1000, "{answer:?}");
    assert_eq!(answer.error_code(), name, "{answer:?}");
    assert_eq!(answer.header("content-type"), "application/json; charset=utf-8");
    assert_has_request_id(answer);
}

/// Checks the format: 32 hex digits, then `-G:n`, then `-TimeStamp:MM/dd/yyyy HH:mm:ss`.
#[track_caller]
fn assert_is_tracking_id(id: &str) {
    let (hex, rest) = id.split_once("-G:").unwrap_or_else(|| panic!("no -G: in {id}"));
    assert!(hex.len() == 32 && hex.chars().all(|c| c.is_ascii_hexdigit()), "{id}");
    let (_, stamp) = rest.split_once("-TimeStamp:").unwrap_or_else(|| panic!("no -TimeStamp: in {id}"));
    let shape: String = stamp.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(shape, "00/00/0000 00:00:00");
}

/// Checks an error response of the method and twin endpoints, and returns the error in the body.
#[track_caller]
fn assert_method_refused(answer: &HttpResponse, number: u64, name: &str) -> Value {
    assert_refused(answer, number, name);
    let inner = answer.nested_error();
    assert_eq!(inner["errorCode"], number, "{inner}");
    assert_is_tracking_id(inner["trackingId"].as_str().unwrap_or_default());
    let stamp = inner["timestampUtc"].as_str().unwrap_or_default();
    assert!(stamp.ends_with('Z') && stamp.contains('T'), "{inner}");
    inner
}

/// Checks an error response of the registry and all other endpoints.
#[track_caller]
fn assert_registry_refused(answer: &HttpResponse, number: u64, name: &str) {
    assert_refused(answer, number, name);
    let body = answer.json();
    let message = body["Message"].as_str().unwrap_or_default();
    assert!(message.starts_with(&format!("ErrorCode:{name};")), "{body}");
    let tracking = body["ExceptionMessage"].as_str().unwrap_or_default();
    assert_is_tracking_id(tracking.strip_prefix("Tracking ID:").unwrap_or(tracking));
}

fn owner_token(hub: &Hub) -> String {
    sas::policy_token(hub.variable("IOTHUB_CONNECTION_STRING"))
}

#[test]
fn a_call_to_an_offline_device_fails_at_once() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let _ = service.create_device("dev1");
    let started = Instant::now();
    let refusal = service.invoke("dev1", Method::new("m")).unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    assert_eq!(refusal.exception, "HttpOperationError");
    assert_eq!(refusal.message, "Operation returned an invalid status code 'Not Found'");
    let error = assert_method_refused(&refusal.http, 404_103, "DeviceNotOnline");
    assert_eq!(error["message"], "Timed out waiting for device to connect.");
    assert_eq!(error["info"]["timeout"], "00:00:00");
}

#[test]
fn a_call_fails_after_the_connect_time_out_if_the_device_does_not_connect() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let _ = service.create_device("dev1");
    let started = Instant::now();
    let refusal = service.invoke("dev1", Method::new("m").connect_timeout(1)).unwrap_err();
    let took = started.elapsed();
    assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(4), "{took:?}");
    let error = assert_method_refused(&refusal.http, 404_103, "DeviceNotOnline");
    assert_eq!(error["info"]["timeout"], "00:00:01");
}

#[test]
fn a_device_that_connects_within_the_connect_time_out_is_called() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let device = Device::with_identity(&service.create_device("dev1")).start(&hub);
    let call = service.begin_invoke("dev1", Method::new("rebootDevice").connect_timeout(60));
    std::thread::sleep(Duration::from_millis(300));
    assert!(!call.is_done());
    device.listen().unwrap();
    assert_eq!(call.wait().unwrap().status, 200);
    assert_eq!(device.next_request().name, "rebootDevice");
}

#[test]
fn a_connected_device_without_a_method_subscription_is_not_online() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let device = Device::with_identity(&service.create_device("dev1")).start(&hub);
    device.connect().unwrap();
    let refusal = service.invoke("dev1", Method::new("m")).unwrap_err();
    assert_method_refused(&refusal.http, 404_103, "DeviceNotOnline");
    // A subscription during the connect time-out counts as connecting.
    let call = service.begin_invoke("dev1", Method::new("rebootDevice").connect_timeout(60));
    std::thread::sleep(Duration::from_millis(500));
    device.listen().unwrap();
    assert_eq!(call.wait().unwrap().status, 200);
}

#[test]
fn a_disconnected_device_is_not_online() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let device = Device::with_identity(&service.create_device("dev1")).listen(&hub);
    assert_eq!(service.invoke("dev1", Method::new("rebootDevice")).unwrap().status, 200);
    device.disconnect();
    let refusal = service.invoke("dev1", Method::new("m")).unwrap_err();
    assert_method_refused(&refusal.http, 404_103, "DeviceNotOnline");
}

#[test]
fn a_call_ends_when_the_device_loses_its_connection() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let device = Device::with_identity(&service.create_device("dev1")).listen(&hub);
    let started = Instant::now();
    let call = service.begin_invoke("dev1", Method::new("silence").response_timeout(60));
    let _ = device.next_request();
    device.kill();
    let refusal = call.wait().unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    let error = assert_method_refused(&refusal.http, 404_103, "DeviceNotOnline");
    assert_eq!(error["message"], "Device unavailable");
}

#[test]
fn a_call_fails_after_the_response_time_out_if_the_device_does_not_respond() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let device = Device::with_identity(&service.create_device("dev1")).listen(&hub);
    let started = Instant::now();
    let refusal = service.invoke("dev1", Method::new("silence").response_timeout(5)).unwrap_err();
    let took = started.elapsed();
    assert!(took >= Duration::from_secs(5) && took < Duration::from_secs(8), "{took:?}");
    let error = assert_method_refused(&refusal.http, 504_101, "GatewayTimeout");
    assert_eq!(error["message"], "Timed out waiting for the response from device.");
    assert_eq!(device.next_request().name, "silence");
    // The service client never retries a POST.
    assert_eq!(device.requests(), []);
}

#[test]
fn an_unregistered_device_is_not_found() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let refusal = service.invoke("nobody", Method::new("m")).unwrap_err();
    assert_eq!(refusal.exception, "HttpOperationError");
    assert_method_refused(&refusal.http, 404_001, "DeviceNotFound");
    // The connect time-out does not apply to an unregistered device.
    let started = Instant::now();
    let refusal = service.invoke("nobody", Method::new("m").connect_timeout(30)).unwrap_err();
    assert_method_refused(&refusal.http, 404_001, "DeviceNotFound");
    assert!(started.elapsed() < Duration::from_secs(5));
    let refusal = service.call("get_device", &json!({ "device_id": "nobody" })).unwrap_err();
    assert_registry_refused(&refusal.http, 404_001, "DeviceNotFound");
}

#[test]
fn a_disabled_device_cannot_be_called() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let disabled = json!({ "device_id": "dev1", "status": "disabled" });
    service.call("create_device_with_sas", &disabled).unwrap();
    let refusal = service.invoke("dev1", Method::new("m")).unwrap_err();
    assert_method_refused(&refusal.http, 404_001, "DeviceNotFound");
}

#[test]
fn the_error_for_an_invalid_argument_names_the_argument_and_its_range() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let _device = Device::with_identity(&service.create_device("dev1")).listen(&hub);
    let token = owner_token(&hub);
    let response = "responseTimeoutInSeconds must be within [5; 300].";
    let connect = "connectTimeoutInSeconds must be within [0; 300].";
    let cases = [
        (r#""responseTimeoutInSeconds":4"#, response),
        (r#""responseTimeoutInSeconds":301"#, response),
        (r#""responseTimeoutInSeconds":0"#, response),
        (r#""responseTimeoutInSeconds":-1"#, response),
        (r#""responseTimeoutInSeconds":5.5"#, response),
        (r#""responseTimeoutInSeconds":"abc""#, response),
        (r#""responseTimeoutInSeconds":"4""#, response),
        (r#""responseTimeoutInSeconds":99999999999999999999"#, response),
        (r#""responseTimeoutInSeconds":true"#, response),
        (r#""connectTimeoutInSeconds":-1"#, connect),
        (r#""connectTimeoutInSeconds":301"#, connect),
        (r#""connectTimeoutInSeconds":1.5"#, connect),
        (r#""connectTimeoutInSeconds":"abc""#, connect),
    ];
    for (argument, message) in cases {
        let body = format!(r#"{{"methodName":"rebootDevice",{argument}}}"#);
        let answer = service.http("POST", METHODS, Some(&token), Some(&body));
        eprintln!("{argument}: {answer:?}");
        let error = assert_method_refused(&answer, 400_004, "ArgumentInvalid");
        assert_eq!(error["message"], message, "{argument}");
    }
}

#[test]
fn time_outs_at_their_limits_and_as_text_are_accepted() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let _device = Device::with_identity(&service.create_device("dev1")).listen(&hub);
    let token = owner_token(&hub);
    for arguments in [
        r#""responseTimeoutInSeconds":5,"connectTimeoutInSeconds":0"#,
        r#""responseTimeoutInSeconds":300,"connectTimeoutInSeconds":300"#,
        r#""responseTimeoutInSeconds":"30","connectTimeoutInSeconds":"30""#,
        r#""responseTimeoutInSeconds":null,"connectTimeoutInSeconds":null"#,
        r#""timeoutInSeconds":1,"somethingUnknown":{}"#,
    ] {
        let body = format!(r#"{{"methodName":"rebootDevice",{arguments}}}"#);
        let answer = service.http("POST", METHODS, Some(&token), Some(&body));
        assert_eq!(answer.status, 200, "{arguments}: {answer:?}");
        assert_eq!(answer.header("content-type"), "application/json; charset=utf-8");
        assert_has_request_id(&answer);
    }
}

#[test]
fn an_invalid_json_body_is_refused() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let _ = service.create_device("dev1");
    let token = owner_token(&hub);
    for body in ["", "{", "null", "[]", "\"text\"", r#"{"methodName":"m",}"#, "\u{0}", r#"{"methodName":7}"#]
    {
        let answer = service.http("POST", METHODS, Some(&token), Some(body));
        eprintln!("{body:?}: {answer:?}");
        assert_method_refused(&answer, 400_006, "IotHubFormatError");
    }
    let answer = service.http("POST", METHODS, Some(&token), Some("{}"));
    assert_method_refused(&answer, 400_005, "ArgumentNull");
    // Deeply nested JSON must not crash the hub.
    let deep = format!(r#"{{"methodName":"m","payload":{}"#, "[".repeat(120_000));
    let answer = service.http("POST", METHODS, Some(&token), Some(&deep));
    assert_eq!(answer.status, 400, "{answer:?}");
    let answer = service.http("GET", "/devices/dev1?api-version=2021-04-12", Some(&token), None);
    assert_eq!(answer.status, 200);
}

#[test]
fn a_method_name_has_1_to_100_characters() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let device = Device::with_identity(&service.create_device("dev1")).listen(&hub);
    for invalid in ["", " ", &"x".repeat(101)] {
        let refusal = service.invoke("dev1", Method::new(invalid)).unwrap_err();
        assert_method_refused(&refusal.http, 400_004, "ArgumentInvalid");
    }
    for valid in ["x", &"x".repeat(100), "set-target_temp.1", "thermostat*reboot", "50%", "größe"] {
        let answer = service.invoke("dev1", Method::new(valid)).unwrap();
        assert_eq!(answer.status, 404, "the device does not know {valid}");
        assert_eq!(device.next_request().name, valid);
    }
}

#[test]
fn a_payload_has_at_most_128_kib() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let device = Device::with_identity(&service.create_device("dev1")).listen(&hub);
    // Exactly the limit in both directions, including the quotes.
    let largest = "x".repeat(131_070);
    let answer = service.invoke("dev1", Method::new("echo").payload(largest.as_str())).unwrap();
    assert_eq!(answer.payload, largest);
    let _ = device.next_request();
    let too_large = "x".repeat(131_071);
    let refusal = service.invoke("dev1", Method::new("echo").payload(too_large.as_str())).unwrap_err();
    assert_method_refused(&refusal.http, 413_001, "MessageTooLarge");
    let huge = "x".repeat(3_000_000);
    let refusal = service.invoke("dev1", Method::new("echo").payload(huge)).unwrap_err();
    assert_method_refused(&refusal.http, 413_001, "MessageTooLarge");
    assert_eq!(device.requests(), []);
    // The connection still works.
    assert_eq!(service.invoke("dev1", Method::new("rebootDevice")).unwrap().status, 200);
}

#[test]
fn a_caller_without_the_required_right_is_refused() {
    let key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let hub = Hub::builder()
        .config(&format!(
            "[[policy]]\nname = \"reader\"\nrights = [\"RegistryRead\"]\nprimary_key = \"{key}\"\n\
             secondary_key = \"{key}\"\n"
        ))
        .start();
    let owner = Service::owner(&hub);
    let _ = owner.create_device("dev1");
    let string = format!("HostName={};SharedAccessKeyName=reader;SharedAccessKey={key}", hub.name());
    let reader = Service::with_connection_string(&hub, &string);
    let document = reader.call("get_device", &json!({ "device_id": "dev1" })).unwrap();
    assert_eq!(document["deviceId"], "dev1");
    let refusal = reader.invoke("dev1", Method::new("m")).unwrap_err();
    assert_eq!(refusal.exception, "HttpOperationError");
    assert_eq!(refusal.message, "Operation returned an invalid status code 'Unauthorized'");
    let error = assert_method_refused(&refusal.http, 401_002, "IotHubUnauthorizedAccess");
    assert_eq!(error["message"], "Unauthorized");
    let refusal = reader.call("create_device_with_sas", &json!({ "device_id": "dev2" })).unwrap_err();
    assert_registry_refused(&refusal.http, 401_002, "IotHubUnauthorizedAccess");
    // The policy `service` may call methods, but not access the registry.
    let service = Service::with_service_policy(&hub);
    let refusal = service.invoke("dev1", Method::new("m")).unwrap_err();
    assert_method_refused(&refusal.http, 404_103, "DeviceNotOnline");
    for (operation, id) in
        [("create_device_with_sas", "dev2"), ("get_device", "dev1"), ("delete_device", "dev1")]
    {
        let refusal = service.call(operation, &json!({ "device_id": id })).unwrap_err();
        assert_registry_refused(&refusal.http, 401_002, "IotHubUnauthorizedAccess");
    }
}

#[test]
fn an_unknown_api_version_path_or_method_is_refused() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let _ = service.create_device("dev1");
    let token = owner_token(&hub);
    for query in ["?api-version=", "?api-version=latest", "?api-version=2015-01-01"] {
        let answer = service.http("GET", &format!("/devices/dev1{query}"), Some(&token), None);
        eprintln!("{query}: {answer:?}");
        assert_registry_refused(&answer, 400_001, "InvalidProtocolVersion");
    }
    for version in
        ["2016-11-14", "2018-06-30", "2020-03-13", "2021-04-12", "2024-03-31", "2020-05-31-preview"]
    {
        let path = format!("/devices/dev1?api-version={version}");
        assert_eq!(service.http("GET", &path, Some(&token), None).status, 200, "{version}");
    }
    let answer = service.http("GET", "/nowhere?api-version=2021-04-12", Some(&token), None);
    assert_eq!(answer.status, 404, "{answer:?}");
    let answer = service.http("PUT", METHODS, Some(&token), Some("{}"));
    assert_eq!(answer.status, 405, "{answer:?}");
}
