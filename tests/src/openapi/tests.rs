use jsonschema::draft202012::meta;
use serde_json::json;

use super::*;

fn exchange<'a>(verb: &'a str, path: &'a str, status: u16, received: &'a str) -> Exchange<'a> {
    let received_type = if received.is_empty() { "" } else { "application/json; charset=utf-8" };
    Exchange {
        verb,
        path,
        sent_type: "application/json",
        sent: b"",
        status,
        received_type,
        received,
        has_retry_after: false,
    }
}

#[track_caller]
fn assert_mismatch(exchange: &Exchange<'_>, expected: &str) {
    let mismatch = check(exchange).expect_err("a mismatch").to_string();
    assert!(mismatch.contains(expected), "{mismatch}");
}

const PURGED: &str = r#"{"totalMessagesPurged":0,"deviceId":"d","moduleId":null}"#;

#[test]
fn a_response_as_described_is_accepted_and_any_other_is_not() {
    let purge = |received| exchange("DELETE", "/devices/d/commands?api-version=2021-04-12", 200, received);
    check(&purge(PURGED)).unwrap();
    let number = PURGED.replace(":0", ":-1");
    assert_mismatch(
        &purge(&number),
        r#"the response is not a PurgeResult: -1 is less than the minimum of 0 at "/totalMessagesPurged""#,
    );
    let additional = PURGED.replace('{', r#"{"more":1,"#);
    assert_mismatch(&purge(&additional), "'more'");
    assert_mismatch(
        &purge(r#"{"totalMessagesPurged":0,"deviceId":"d"}"#),
        "\"moduleId\" is a required property",
    );
    assert_mismatch(&purge("purged"), "the response is not JSON");
    assert_mismatch(
        &Exchange { received_type: "text/plain", ..purge(PURGED) },
        "\"text/plain\" of the response",
    );
    assert_mismatch(&Exchange { status: 201, ..purge(PURGED) }, "status 201 is not described");
    assert_mismatch(&exchange("DELETE", "/devices/d", 204, "{}"), "the response has a body");
}

#[test]
fn errors_have_the_format_of_their_path() {
    let registry = r#"{"Message":"ErrorCode:DeviceNotFound;x","ExceptionMessage":"Tracking ID:1"}"#;
    check(&exchange("GET", "/devices/d", 404, registry)).unwrap();
    let stopping = exchange("GET", "/devices/d", 503, registry);
    check(&Exchange { has_retry_after: true, ..stopping }).unwrap();
    assert_mismatch(&stopping, "status 503 has no header Retry-After");
    assert_mismatch(&exchange("GET", "/twins/d", 404, registry), "NestedError");
    let details = json!({ "errorCode": 404_001, "trackingId": "1", "message": "x", "info": {},
        "timestampUtc": "2026-01-01T00:00:00Z" });
    let nested =
        |details: &Value| json!({ "Message": details.to_string(), "ExceptionMessage": "" }).to_string();
    check(&exchange("GET", "/twins/d", 404, &nested(&details))).unwrap();
    assert_mismatch(
        &exchange("GET", "/twins/d", 404, &nested(&json!({}))),
        "the response is not a ErrorDetails",
    );
    assert_mismatch(&exchange("GET", "/devices/d", 404, &nested(&details)), "the response is not a Error");
}

#[test]
fn the_body_of_a_request_is_compared_if_it_succeeds() {
    let path = "/devices/d/files/notifications";
    let sent =
        |sent: &'static str, status| Exchange { sent: sent.as_bytes(), ..exchange("POST", path, status, "") };
    check(&sent(r#"{"correlationId":"c","isSuccess":true}"#, 204)).unwrap();
    assert_mismatch(&sent(r#"{"isSuccess":"true"}"#, 204), "the request is not a FileUploadOutcome");
    assert_mismatch(&sent("", 204), "the request has no body");
    let query = "/devices/d/files/notifications?api-version=2021-04-12&odd=1";
    assert_mismatch(&Exchange { path: query, ..sent("{}", 204) }, "the query parameter \"odd\"");
    let refused = r#"{"Message":"ErrorCode:ArgumentInvalid;x","ExceptionMessage":"Tracking ID:1"}"#;
    check(&Exchange { received: refused, received_type: "application/json", ..sent("odd", 400) }).unwrap();
}

#[test]
fn enumerations_are_in_any_case_only_in_requests() {
    let code = r#"{"Message":"ErrorCode:IotHubFormatError;x","ExceptionMessage":"Tracking ID:1"}"#;
    let fault = |kind: &str| json!({ "kind": kind, "target": "d" }).to_string();
    let added = |kind: &str| {
        json!({ "id": "1", "hits": 0, "ends": "2026-01-01T00:00:00Z",
        "fault": { "kind": kind } })
        .to_string()
    };
    let path = "/ferrohub/faults";
    for (sent, received, fits) in [
        ("dropConnection", "dropConnection", true),
        ("DROPCONNECTION", "dropConnection", true),
        ("dropConnection", "DropConnection", false),
        ("drop", "dropConnection", false),
    ] {
        let (sent, received) = (fault(sent), added(received));
        let exchange = Exchange { sent: sent.as_bytes(), ..exchange("POST", path, 200, &received) };
        assert_eq!(check(&exchange).is_ok(), fits, "{exchange:?}");
    }
    check(&exchange("POST", path, 400, code)).unwrap();
}

#[test]
fn every_line_of_an_event_stream_is_compared() {
    let event = r#"{"partition":0,"sequenceNumber":1,"offset":"1","enqueuedTime":"2026-01-01T00:00:00Z","systemProperties":{},"properties":{},"body":""}"#;
    let lines = |text: &str, media_type| {
        check(&Exchange {
            received_type: media_type,
            ..exchange("GET", "/messages/events?wait=0", 200, text)
        })
    };
    let (json_lines, stream) = ("application/x-ndjson", "text/event-stream");
    lines(&format!("\n{event}\n{event}\n"), json_lines).unwrap();
    lines(&format!(":\n\nid: 0:1\ndata: {event}\n\n"), stream).unwrap();
    lines("", json_lines).unwrap();
    let odd = event.replace("\"body\"", "\"text\"");
    assert!(lines(&format!("{event}\n{odd}\n"), json_lines).is_err());
    assert!(lines(&format!("data: {odd}\n\n"), stream).is_err());
}

#[test]
fn paths_are_found_as_the_hub_finds_them() {
    let id = |verb, path| {
        DESCRIPTION.operation(verb, path).and_then(|operation| operation["operationId"].as_str())
    };
    for (verb, path, expected) in [
        ("GET", "/devices/", Some("listDevices")),
        ("GET", "/devices/d%231?top=1", Some("getDevice")),
        ("GET", "/devices/d/messages/devicebound", Some("receiveMessage")),
        ("GET", "/messages/events/partitions", Some("getEventLog")),
        ("GET", "/ferrohub/files/d/logs/x", Some("getFile")),
        ("POST", "/devices/d/files/notifications/c", Some("completeUploadInPath")),
        ("POST", "/devices/d", None),
        ("HEAD", "/devices/d", None),
        ("GET", "/healthz", None),
        ("GET", "/twins//methods", None),
    ] {
        assert_eq!(id(verb, path), expected, "{verb} {path}");
    }
}

#[test]
fn every_schema_of_the_document_is_a_valid_schema() {
    let schemas = DESCRIPTION.document["components"]["schemas"].as_object().unwrap();
    for (name, schema) in schemas {
        assert!(meta::is_valid(schema), "{name}");
    }
    for parameters in ["parameters", "headers"] {
        for (name, parameter) in DESCRIPTION.document["components"][parameters].as_object().unwrap() {
            assert!(meta::is_valid(&parameter["schema"]), "{name}");
        }
    }
}
