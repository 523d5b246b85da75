//! Injected faults, with Microsoft's clients.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::time::{Duration, Instant};

use ferrohub_acceptance::{
    Device, Events, HttpResponse, Hub, Message, Method, MethodResult, Service, eventually, sas,
};
use serde_json::{Value, json};

/// Long, because test machines are busy.
const SOON: Duration = Duration::from_secs(60);

fn hub() -> Hub {
    Hub::builder().config("[faults]\nenabled = true").start()
}

fn owner(hub: &Hub) -> String {
    sas::policy_token(hub.variable("IOTHUB_CONNECTION_STRING"))
}

#[track_caller]
fn try_add(hub: &Hub, service: &Service, fault: &Value) -> HttpResponse {
    service.http("POST", "/ferrohub/faults", Some(&owner(hub)), Some(&fault.to_string()))
}

#[track_caller]
fn add(hub: &Hub, service: &Service, fault: Value) -> Value {
    let answer = try_add(hub, service, &fault);
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()
}

#[track_caller]
fn list(hub: &Hub, service: &Service) -> Value {
    service.http("GET", "/ferrohub/faults", Some(&owner(hub)), None).json()
}

/// Returns the value of one line of the metrics.
fn metric(hub: &Hub, line: &str) -> Option<u64> {
    hub.metrics().lines().find_map(|one| one.strip_prefix(line)?.trim().parse().ok())
}

#[test]
fn a_device_reconnects_after_a_dropped_connection_and_its_call_gets_the_reason() {
    let hub = hub();
    let service = Service::owner(&hub);
    let identity = service.create_device("dev1");
    let device = Device::with_identity(&identity).listen(&hub);
    let other = Device::with_identity(&service.create_device("other")).listen(&hub);
    device.wait_until_connected(true, SOON);
    other.wait_until_connected(true, SOON);
    let open = service.begin_invoke("dev1", Method::new("silence").response_timeout(60));
    let _ = device.next_request();
    let fault = add(&hub, &service, json!({ "kind": "dropConnection", "target": "dev*" }));
    assert_eq!(fault["hits"], 1);
    let refusal = open.wait().unwrap_err();
    assert_eq!(
        (refusal.http.status, refusal.http.nested_error()["errorCode"].as_u64()),
        (400, Some(400_029))
    );
    assert_eq!(refusal.http.error_code(), "ConnectionForcefullyClosedOnFaultInjection");
    device.wait_until_connected(false, SOON);
    device.wait_until_connected(true, SOON);
    let answer = service.invoke("dev1", Method::new("echo").payload(1).connect_timeout(10)).unwrap();
    assert_eq!(answer, MethodResult { status: 200, payload: json!(1) });
    assert_eq!(other.connects(), 0, "no other connection was dropped");
    assert_eq!(list(&hub, &service), json!([]), "the fault has a single use");
    assert_eq!(metric(&hub, "ferrohub_fault_hits_total{outcome=\"dropConnection\"}"), Some(1));
    assert_eq!(metric(&hub, "ferrohub_faults_active"), Some(0));
    let log = hub.log();
    for text in ["fault added", "fault hit", "fault ended", "reason=\"fault_injected\""] {
        assert!(log.contains(text), "{text}");
    }
}

#[test]
fn the_count_limits_how_often_a_connection_drops() {
    let hub = hub();
    let service = Service::owner(&hub);
    let device = Device::with_identity(&service.create_device("dev1"))
        .option("connection_retry_interval", 1)
        .start(&hub);
    add(
        &hub,
        &service,
        json!({
            "kind": "dropConnection", "target": "dev1", "durationSeconds": 60, "count": 2, "delayMilliseconds": 200,
        }),
    );
    device.connect().unwrap();
    for connected in [true, false, true, false, true] {
        device.wait_until_connected(connected, SOON);
    }
    eventually("the fault is used up", SOON, || (list(&hub, &service) == json!([])).then_some(()));
    device.twin().unwrap();
}

#[test]
fn connects_are_refused_for_three_seconds_and_then_accepted() {
    let hub = hub();
    let service = Service::owner(&hub);
    let identity = service.create_device("dev1");
    let device = Device::with_identity(&identity).option("connection_retry_interval", 1).listen(&hub);
    device.wait_until_connected(true, SOON);
    let begun = Instant::now();
    add(&hub, &service, json!({ "kind": "refuseConnect", "target": "dev1", "durationSeconds": 3 }));
    add(&hub, &service, json!({ "kind": "dropConnection", "target": "dev1" }));
    device.wait_until_connected(false, SOON);
    device.wait_until_connected(true, SOON);
    assert!(begun.elapsed() >= Duration::from_secs(3));
    assert!(metric(&hub, "ferrohub_fault_hits_total{outcome=\"refuseConnect\"}").unwrap() >= 2);
    assert!(service.invoke("dev1", Method::new("echo").connect_timeout(10)).is_ok());
    device.shutdown();

    add(
        &hub,
        &service,
        json!({
            "kind": "refuseConnect", "target": "dev1", "durationSeconds": 60, "connack": 5, "count": 1,
        }),
    );
    let second = Device::with_identity(&identity).start(&hub);
    assert_eq!(second.connect().unwrap_err().exception, "CredentialError");
    // The client may take the end of the refused connection for that of the next one, and fails then.
    eventually("the next connect is accepted", SOON, || second.connect().ok());
}

#[test]
fn method_responses_are_lost_and_delayed() {
    let hub = hub();
    let service = Service::owner(&hub);
    let device = Device::with_identity(&service.create_device("dev1")).listen(&hub);
    let echo = || Method::new("echo").payload(1).response_timeout(5);
    for (kind, seen) in [("loseMethodResponse", 1), ("loseMethodRequest", 0)] {
        add(&hub, &service, json!({ "kind": kind, "target": "**", "durationSeconds": 60, "count": 1 }));
        let refusal = service.invoke("dev1", echo()).unwrap_err();
        assert_eq!((refusal.http.status, refusal.http.error_code()), (504, "GatewayTimeout"), "{kind}");
        assert_eq!(device.requests().len(), seen, "{kind}");
    }
    for kind in ["delayMethodResponse", "delayMethodRequest"] {
        add(
            &hub,
            &service,
            json!({
                "kind": kind, "target": "dev1", "durationSeconds": 60, "count": 1, "delayMilliseconds": 2000,
            }),
        );
        let begun = Instant::now();
        let answer = service.begin_invoke("dev1", Method::new("echo").payload(1).response_timeout(60));
        let _ = device.next_request();
        let until_seen = begun.elapsed();
        assert_eq!(answer.wait().unwrap(), MethodResult { status: 200, payload: json!(1) });
        let late = if kind == "delayMethodRequest" { until_seen } else { begun.elapsed() };
        assert!(late >= Duration::from_secs(2), "{kind}");
    }
    assert_eq!(service.invoke("dev1", echo()).unwrap().status, 200);
    assert_eq!(list(&hub, &service), json!([]));
}

#[test]
fn messages_are_lost_and_delayed() {
    let hub = hub();
    let service = Service::owner(&hub);
    let events = Events::new(&hub, &service);
    let device = Device::with_identity(&service.create_device("dev1"))
        .option("connection_retry_interval", 1)
        .start(&hub);
    let lose = json!({ "kind": "loseTelemetry", "target": "dev1", "durationSeconds": 60, "count": 2 });
    add(&hub, &service, lose.clone());
    device.send(&["1", "2", "3"].map(Message::text)).unwrap();
    let bodies =
        |count| -> Vec<Value> { events.wait_for(count, |_| true).iter().map(|one| one.json()).collect() };
    assert_eq!(bodies(1), [json!(3)], "all messages were acknowledged");

    add(
        &hub,
        &service,
        json!({
            "kind": "delayTelemetry", "target": "dev1", "durationSeconds": 60, "count": 1, "delayMilliseconds": 1500,
        }),
    );
    let begun = Instant::now();
    device.send(&[Message::text("4")]).unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(1500));

    let mut unacknowledged = lose;
    unacknowledged["acknowledge"] = false.into();
    unacknowledged["count"] = 1.into();
    add(&hub, &service, unacknowledged);
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| device.send(&[Message::text("5")]));
        eventually("the message is lost", SOON, || (list(&hub, &service) == json!([])).then_some(()));
        assert!(!sending.is_finished(), "nothing was acknowledged");
        assert_eq!(bodies(2), [json!(3), json!(4)]);
        add(&hub, &service, json!({ "kind": "dropConnection", "target": "dev1" }));
        sending.join().unwrap().unwrap();
    });
    assert_eq!(bodies(3), [json!(3), json!(4), json!(5)], "the device sent it again after the reconnect");
}

#[test]
fn twin_responses_are_delayed_or_lost() {
    let hub = hub();
    let service = Service::owner(&hub);
    let device = Device::with_identity(&service.create_device("dev1")).start(&hub);
    device.twin().unwrap();
    add(
        &hub,
        &service,
        json!({
            "kind": "delayTwinResponse", "target": "dev1", "durationSeconds": 60, "count": 1, "delayMilliseconds": 1500,
        }),
    );
    let begun = Instant::now();
    device.twin().unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(1500));
    add(
        &hub,
        &service,
        json!({
            "kind": "loseTwinResponse", "target": "dev1", "durationSeconds": 60, "count": 1,
        }),
    );
    std::thread::scope(|scope| {
        let reporting = scope.spawn(|| device.report(&json!({ "a": 1 })));
        eventually("the twin is updated", SOON, || {
            let twin = service.call("get_twin", &json!({ "device_id": "dev1" })).unwrap();
            (twin["properties"]["reported"]["a"] == 1).then_some(())
        });
        assert!(!reporting.is_finished(), "there is no response");
        device.kill();
        let _ = reporting.join();
    });
}

#[test]
fn the_service_client_gets_the_injected_errors() {
    let hub = hub();
    let service = Service::owner(&hub);
    let _device = Device::with_identity(&service.create_device("dev1")).listen(&hub);
    add(
        &hub,
        &service,
        json!({
            "kind": "refuseRequest", "operation": "invokeMethod", "target": "dev*", "durationSeconds": 60, "count": 2,
            "error": "ThrottlingException", "retryAfterSeconds": 7,
        }),
    );
    for _ in 0..2 {
        let refusal = service.invoke("dev1", Method::new("echo")).unwrap_err();
        assert_eq!((refusal.http.status, refusal.http.error_code()), (429, "ThrottlingException"));
        assert_eq!(refusal.http.header("retry-after"), "7");
        assert_eq!(refusal.http.nested_error()["errorCode"], 429_001);
    }
    assert_eq!(service.invoke("dev1", Method::new("echo")).unwrap().status, 200);

    add(
        &hub,
        &service,
        json!({
            "kind": "refuseRequest", "method": "PATCH", "path": "/twins/**", "durationSeconds": 60,
            "error": "ServiceUnavailable",
        }),
    );
    let change = json!({ "device_id": "dev1", "tags": { "a": 1 } });
    let refusal = service.call("change_twin", &change).unwrap_err();
    assert_eq!((refusal.http.status, refusal.http.error_code()), (503, "ServiceUnavailable"));
    service.call("get_twin", &json!({ "device_id": "dev1" })).unwrap();

    // Microsoft's client tries a GET four times, so this request succeeds.
    add(
        &hub,
        &service,
        json!({
            "kind": "refuseRequest", "operation": "getDevice", "target": "dev1", "durationSeconds": 60, "count": 2,
            "error": "ServiceUnavailable", "retryAfterSeconds": 0,
        }),
    );
    service.call("get_device", &json!({ "device_id": "dev1" })).unwrap();
    assert_eq!(metric(&hub, "ferrohub_fault_hits_total{outcome=\"refuseRequest\"}"), Some(5));

    add(
        &hub,
        &service,
        json!({
            "kind": "refuseRequest", "path": "/**", "durationSeconds": 60, "error": "ServerError",
        }),
    );
    let answer = service.http("GET", "/devices", Some(&owner(&hub)), None);
    assert_eq!((answer.status, answer.error_code()), (500, "ServerError"));
    let all = list(&hub, &service);
    assert_eq!(all.as_array().unwrap().len(), 2, "requests below /ferrohub are exempt: {all}");
    assert_eq!(service.http("DELETE", "/ferrohub/faults", Some(&owner(&hub)), None).status, 204);
    assert_eq!(service.http("GET", "/devices", Some(&owner(&hub)), None).status, 200);
}

#[test]
fn faults_are_disabled_by_default() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let answer = try_add(&hub, &service, &json!({ "kind": "dropConnection", "target": "**" }));
    assert_eq!((answer.status, answer.error_code()), (404, "GenericNotFound"));
    assert!(answer.body.contains("FERROHUB_FAULTS_ENABLED=true"), "{}", answer.body);
    let answer = service.http("GET", "/ferrohub/faults", None, None);
    assert_eq!(answer.status, 401, "only an authorized caller gets the hint");
    let output = hub.command(["fault", "add", "drop-connection", "--target", "**"]);
    assert!(output.code == 1 && output.stderr.contains("[faults]"), "{}", output.stderr);
}

#[test]
fn only_an_owner_may_inject_faults_and_every_fault_ends() {
    let hub =
        Hub::builder().config("[faults]\nenabled = true\nmax_active = 2\nmax_duration_seconds = 10").start();
    let service = Service::owner(&hub);
    let weak = sas::policy_token(hub.variable("IOTHUB_SERVICE_CONNECTION_STRING"));
    let fault = json!({ "kind": "refuseConnect", "target": "x", "durationSeconds": 1 });
    for token in [None, Some(weak.as_str())] {
        for (verb, path) in [
            ("GET", "/ferrohub/faults"),
            ("POST", "/ferrohub/faults"),
            ("DELETE", "/ferrohub/faults"),
            ("DELETE", "/ferrohub/faults/1"),
        ] {
            let body = (verb == "POST").then(|| fault.to_string());
            assert_eq!(service.http(verb, path, token, body.as_deref()).status, 401, "{verb} {path}");
        }
    }
    for (wrong, expected) in [
        (json!({ "kind": "refuseConnect", "target": "x" }), "durationSeconds within [1; 10]"),
        (
            json!({ "kind": "refuseConnect", "target": "x", "durationSeconds": 11 }),
            "durationSeconds within [1; 10]",
        ),
        (json!({ "kind": "refuseEverything", "target": "x", "durationSeconds": 1 }), "refuseConnect"),
        (
            json!({ "kind": "refuseRequest", "operation": "x", "durationSeconds": 1, "error": "ServerError" }),
            "invokeMethod",
        ),
    ] {
        let answer = try_add(&hub, &service, &wrong);
        assert!(answer.status == 400 && answer.body.contains(expected), "{}", answer.body);
    }
    let short = add(&hub, &service, fault.clone());
    add(&hub, &service, json!({ "kind": "refuseConnect", "target": "x", "durationSeconds": 10 }));
    let answer = try_add(&hub, &service, &fault);
    assert_eq!((answer.status, answer.error_code()), (409, "GenericConflict"));
    assert_eq!(metric(&hub, "ferrohub_faults_active"), Some(2));
    eventually("the fault expires", SOON, || {
        (metric(&hub, "ferrohub_faults_active") == Some(1)).then_some(())
    });
    let expired = format!("/ferrohub/faults/{}", short["id"].as_str().unwrap());
    assert_eq!(service.http("DELETE", &expired, Some(&owner(&hub)), None).status, 404);
    let log = hub.log();
    assert!(log.contains("reason=\"expired\""), "{log}");
}

#[test]
fn the_command_line_adds_lists_and_removes_faults() {
    let hub = hub();
    let json = |arguments: &[&str]| -> Value {
        let arguments = arguments.iter().copied().chain(["--output", "json"]);
        serde_json::from_str(&hub.command(arguments).success()).unwrap()
    };
    let added = json(&[
        "fault",
        "add",
        "refuse-request",
        "--operation",
        "invokeMethod",
        "--seconds",
        "60",
        "--count",
        "3",
        "--error",
        "ThrottlingException",
        "--retry-after",
        "2",
    ]);
    assert_eq!((&added["id"], &added["fault"]["path"]), (&json!("1"), &json!("/twins/*/methods")));
    json(&["fault", "add", "lose-telemetry", "--target", "dev*", "--seconds", "60", "--unacknowledged"]);
    let table = hub.command(["fault", "list"]).success();
    assert!(table.contains("POST /twins/*/methods") && table.contains("0 of 3"), "{table}");
    hub.command(["fault", "remove", "1"]).success();
    assert_eq!(json(&["fault", "list"])[0]["fault"]["acknowledge"], false);
    hub.command(["fault", "clear"]).success();
    assert_eq!(json(&["fault", "list"]), json!([]));
}
