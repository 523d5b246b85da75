//! The tutorial "Device management using direct methods", in Python with Microsoft's packages.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::time::{Duration, Instant};

use ferrohub_acceptance::{
    Client, Device, Hub, HubBuilder, Method, MethodResult, RunningScript, Script, Service,
    certificate::{self, Authority, CertificateFiles, Validity},
};
use serde_json::{Value, json};

/// Output of the tutorial's back end on success.
const SUCCESS: &str = "calling rebootDevice on myDevice\n\
                       status 200: {'Response': 'This is the response from the device'}\n";

fn rebooted() -> MethodResult {
    MethodResult { status: 200, payload: json!({ "Response": "This is the response from the device" }) }
}

/// Starts the tutorial's device application and waits until it listens for methods.
#[track_caller]
fn tutorial_device(hub: &Hub, connection_string: &str, reboot_seconds: &str) -> RunningScript {
    let mut device = Script::new(hub, "tutorial_device.py")
        .arg(connection_string)
        .env("REBOOT_SECONDS", reboot_seconds)
        .start();
    let line = device.next_line(Duration::from_secs(60));
    assert_eq!(line.as_deref(), Some("listening"));
    device
}

/// Runs the tutorial's back end and returns its output.
#[track_caller]
fn tutorial_service(hub: &Hub, connection_string: &str, device_id: &str, method: &str) -> String {
    Script::new(hub, "tutorial_service.py")
        .arg(connection_string)
        .arg(device_id)
        .env("METHOD_NAME", method)
        .output(Duration::from_secs(90))
}

#[test]
fn the_tutorials_programs_reboot_a_device() {
    let hub = Hub::start();
    let device = Service::owner(&hub).create_device("myDevice");
    let mut running = tutorial_device(&hub, &device.connection_string(), "0.1");
    let service = hub.variable("IOTHUB_SERVICE_CONNECTION_STRING");
    let output = tutorial_service(&hub, service, "myDevice", "rebootDevice");
    assert_eq!(output, SUCCESS);
    let soon = Duration::from_secs(5);
    assert_eq!(running.next_line(soon).as_deref(), Some("going down"));
    assert_eq!(running.next_line(soon).as_deref(), Some("up again"));
}

#[test]
fn a_reboot_may_take_twenty_seconds() {
    let hub = Hub::start();
    let device = Service::owner(&hub).create_device("myDevice");
    let _running = tutorial_device(&hub, &device.connection_string(), "20");
    let started = Instant::now();
    let service = hub.variable("IOTHUB_SERVICE_CONNECTION_STRING");
    let output = tutorial_service(&hub, service, "myDevice", "rebootDevice");
    assert_eq!(output, SUCCESS);
    assert!(started.elapsed() >= Duration::from_secs(20));
}

#[test]
fn the_tutorials_device_returns_404_for_an_unknown_method() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let device = service.create_device("myDevice");
    let _running = tutorial_device(&hub, &device.connection_string(), "0");
    let answer = service.invoke("myDevice", Method::new("makeCoffee")).unwrap();
    let unknown = json!({ "Response": "Unknown method" });
    assert_eq!(answer, MethodResult { status: 404, payload: unknown });
}

#[test]
fn the_tutorial_works_on_localhost() {
    let hub = Hub::builder().on_localhost().start();
    let device = Service::owner(&hub).create_device("myDevice");
    let _running = tutorial_device(&hub, &device.connection_string(), "0");
    let service = hub.variable("IOTHUB_SERVICE_CONNECTION_STRING");
    let output = tutorial_service(&hub, service, "myDevice", "rebootDevice");
    assert_eq!(output, SUCCESS);
}

/// Calls rebootDevice and checks the request and the response.
#[track_caller]
fn reboots(hub: &Hub, service: &Service, device: &Device) {
    let payload = r#"{"method_number":"42"}"#;
    let answer = service.invoke("myDevice", Method::new("rebootDevice").payload(payload));
    assert_eq!(answer.expect("a response"), rebooted());
    assert_eq!(device.next_request().payload, Value::from(payload), "{}", hub.name());
}

#[test]
fn the_asynchronous_client_reboots() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let device = Device::with_identity(&service.create_device("myDevice")).client(Client::Async);
    reboots(&hub, &service, &device.listen(&hub));
}

#[test]
fn a_device_on_websocket_reboots() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let device = Device::with_identity(&service.create_device("myDevice")).option("websockets", true);
    reboots(&hub, &service, &device.listen(&hub));
}

#[test]
fn the_asynchronous_client_on_websocket_reboots() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let device = Device::with_identity(&service.create_device("myDevice"))
        .client(Client::Async)
        .option("websockets", true);
    reboots(&hub, &service, &device.listen(&hub));
}

#[test]
fn the_secondary_key_works_like_the_primary_key() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let device = service.create_device("myDevice");
    let with_secondary = device.connection_string_with(&device.secondary_key);
    let device = Device::with_connection_string(&with_secondary).listen(&hub);
    reboots(&hub, &service, &device);
}

/// Starts a hub with a device that is registered with thumbprints.
fn with_thumbprints(
    thumbprints: impl Fn(&CertificateFiles) -> (Option<String>, Option<String>),
) -> (Hub, Service, CertificateFiles) {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let files = certificate::self_signed(hub.folder(), "myDevice", Validity::Valid);
    let (primary, secondary) = thumbprints(&files);
    let arguments = json!({
        "device_id": "myDevice",
        "primary_thumbprint": primary,
        "secondary_thumbprint": secondary,
    });
    service.call("create_device_with_x509", &arguments).unwrap();
    (hub, service, files)
}

#[test]
fn a_self_signed_certificate_is_accepted_by_its_sha_1_thumbprint() {
    let (hub, service, files) = with_thumbprints(|files| (Some(files.sha1()), None));
    let device = Device::with_certificate(&hub, "myDevice", &files).listen(&hub);
    reboots(&hub, &service, &device);
}

#[test]
fn a_self_signed_certificate_is_accepted_by_its_sha_256_thumbprint() {
    let (hub, service, files) = with_thumbprints(|files| (Some(files.sha256()), None));
    let device = Device::with_certificate(&hub, "myDevice", &files).listen(&hub);
    reboots(&hub, &service, &device);
}

#[test]
fn a_self_signed_certificate_is_accepted_by_its_secondary_thumbprint_in_lower_case() {
    let other = "0123456789ABCDEF0123456789ABCDEF01234567".to_owned();
    let (hub, service, files) =
        with_thumbprints(|files| (Some(other.clone()), Some(files.sha1().to_lowercase())));
    let device = Device::with_certificate(&hub, "myDevice", &files).listen(&hub);
    reboots(&hub, &service, &device);
}

#[test]
fn a_certificate_works_on_websocket() {
    let (hub, service, files) = with_thumbprints(|files| (Some(files.sha1()), None));
    let device = Device::with_certificate(&hub, "myDevice", &files).option("websockets", true);
    reboots(&hub, &service, &device.listen(&hub));
}

/// Starts a hub that trusts this authority, with a device that authenticates with it.
fn trusting(root: &Authority) -> (Hub, Service) {
    let builder = Hub::builder();
    let hub = trust(builder, root).start();
    let service = Service::owner(&hub);
    let arguments = json!({ "device_id": "myDevice" });
    let create = "create_device_with_certificate_authority";
    service.call(create, &arguments).unwrap();
    (hub, service)
}

fn trust(builder: HubBuilder, root: &Authority) -> HubBuilder {
    let file = root.write(builder.folder());
    builder.config(&format!("[[device_ca]]\nfile = \"{}\"", file.display()))
}

#[test]
fn a_certificate_signed_by_a_trusted_authority_is_accepted() {
    let root = Authority::root("Fleet Root");
    let (hub, service) = trusting(&root);
    let files = root.sign(hub.folder(), "myDevice", Validity::Valid);
    let device = Device::with_certificate(&hub, "myDevice", &files).listen(&hub);
    reboots(&hub, &service, &device);
}

#[test]
fn a_certificate_with_its_chain_to_a_trusted_authority_is_accepted() {
    let root = Authority::root("Fleet Root");
    let (hub, service) = trusting(&root);
    let factory = root.intermediate("Factory").intermediate("Line 1");
    let files = factory.sign(hub.folder(), "myDevice", Validity::Valid);
    let device = Device::with_certificate(&hub, "myDevice", &files).client(Client::Async).listen(&hub);
    reboots(&hub, &service, &device);
}

#[test]
fn the_policy_service_may_call_methods() {
    let hub = Hub::start();
    let device = Device::with_identity(&Service::owner(&hub).create_device("myDevice")).listen(&hub);
    reboots(&hub, &Service::with_service_policy(&hub), &device);
}

#[test]
fn calls_to_two_devices_are_not_mixed_up() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let a = Device::with_identity(&service.create_device("a")).listen(&hub);
    let b = Device::with_identity(&service.create_device("b")).client(Client::Async).listen(&hub);
    let calls: Vec<_> = (0..20)
        .map(|n| {
            let to = if n % 2 == 0 { "a" } else { "b" };
            let payload = json!({ "to": to, "n": n });
            let method = Method::new("echo").payload(payload.clone());
            (payload, service.begin_invoke(to, method))
        })
        .collect();
    for (payload, call) in calls {
        let answer = call.wait().unwrap();
        assert_eq!(answer, MethodResult { status: 200, payload });
    }
    for (device, name) in [(a, "a"), (b, "b")] {
        let requests = device.requests();
        assert_eq!(requests.len(), 10);
        assert!(requests.iter().all(|request| request.payload["to"] == name));
    }
}

#[test]
fn payloads_are_unchanged_in_both_directions() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let device = Device::with_identity(&service.create_device("myDevice")).listen(&hub);
    for payload in [
        json!("text"),
        json!(r#"{"method_number":"42"}"#),
        json!(""),
        json!(0),
        json!(-17),
        json!(9_007_199_254_740_993_i64),
        json!(1.5),
        json!(true),
        json!(false),
        json!([]),
        json!({}),
        json!([1, "two", null, [3.25], { "four": {} }]),
        json!({ "a": { "b": { "c": [null, { "d": "e" }] } }, "": " ", "$version": 3 }),
        json!("Grüße, 你好, \u{1F680}, \u{0}, \"quotes\", \\, /, \u{2028}"),
        json!({ "schlüssel": "значение" }),
    ] {
        let method = Method::new("echo").payload(payload.clone());
        let answer = service.invoke("myDevice", method).unwrap();
        assert_eq!(device.next_request().payload, payload);
        assert_eq!(answer, MethodResult { status: 200, payload });
    }
}

#[test]
fn a_missing_payload_and_null_are_unchanged() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let device = Device::with_identity(&service.create_device("myDevice")).listen(&hub);
    // The service client sends an empty string for a missing payload.
    let answer = service.invoke("myDevice", Method::new("echo")).unwrap();
    assert_eq!(device.next_request().payload, "");
    assert_eq!(answer.payload, "");
    // The service client cannot send these bodies.
    let token = ferrohub_acceptance::sas::policy_token(hub.variable("IOTHUB_CONNECTION_STRING"));
    let path = "/twins/myDevice/methods?api-version=2021-04-12";
    for body in [r#"{"methodName":"echo","payload":null}"#, r#"{"methodName":"echo"}"#] {
        let answer = service.http("POST", path, Some(&token), Some(body));
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.json(), json!({ "status": 200, "payload": null }));
        assert_eq!(device.next_request().payload, Value::Null);
    }
}

#[test]
fn the_device_may_return_any_status() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let _device = Device::with_identity(&service.create_device("myDevice")).listen(&hub);
    for status in [0, 1, 200, 404, 500, 504, 70_000] {
        let response = json!({ "status": status, "payload": [status] });
        let answer = service.invoke("myDevice", Method::new("answer").payload(response)).unwrap();
        assert_eq!(answer, MethodResult { status, payload: json!([status]) });
    }
}

#[test]
fn five_concurrent_calls_may_be_answered_in_any_order() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let _device =
        Device::with_identity(&service.create_device("myDevice")).client(Client::Async).listen(&hub);
    let calls: Vec<_> = (0..5)
        .map(|n| {
            let seconds = f64::from(5 - n) * 0.4;
            let response = json!({ "seconds": seconds, "status": 200 + n, "payload": n });
            service.begin_invoke("myDevice", Method::new("answer").payload(response))
        })
        .collect();
    for (n, call) in (0..5).zip(calls) {
        let answer = call.wait().unwrap();
        assert_eq!(answer, MethodResult { status: 200 + n, payload: json!(n) });
    }
}
