//! The description of the API at `/openapi.json`. `Service` compares the bodies of all plain requests with it, in every
//! test; here are the requests that no other test sends like this.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::fs;
use std::time::Duration;

use ferrohub_acceptance::certificate::{Authority, Validity};
use ferrohub_acceptance::{HttpResponse, HttpsDevice, Hub, Service, eventually, sas};
use serde_json::{Value, json};

const GOLDEN: &str = include_str!("../golden/openapi.json");

#[track_caller]
fn send(hub: &Hub, service: &Service, verb: &str, path: &str, body: Option<Value>) -> HttpResponse {
    let token = sas::policy_token(hub.variable("IOTHUB_CONNECTION_STRING"));
    let body = body.map(|body| body.to_string());
    let response = service.http(verb, path, Some(&token), body.as_deref());
    assert!(response.status < 300, "{verb} {path}: {} {}", response.status, response.body);
    response
}

#[test]
fn anybody_can_read_the_description_and_nobody_can_change_it() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let answer = service.http("GET", "/openapi.json", None, None);
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json; charset=utf-8"));
    assert_eq!(answer.json(), serde_json::from_str::<Value>(GOLDEN).unwrap());
    assert_eq!(service.http("GET", "/openapi.json", Some("Bearer a.b.c"), None).body, answer.body);
    let head = service.http("HEAD", "/openapi.json", None, None);
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    for verb in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        let refused = service.http(verb, "/openapi.json", None, Some("{}"));
        assert_eq!((refused.status, refused.error_code()), (405, "GenericMethodNotAllowed"), "{verb}");
        assert_eq!(refused.header("allow"), "GET,HEAD", "{verb}");
    }
    // It says nothing about this hub.
    assert!(!answer.body.contains(hub.name()));
    for policy in send(&hub, &service, "GET", "/ferrohub/policies", None).json().as_array().unwrap() {
        for key in ["primaryKey", "secondaryKey"] {
            assert!(!answer.body.contains(policy[key].as_str().unwrap()));
        }
    }
}

#[test]
fn certificate_authorities_are_as_described() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let send = |verb, path: &str, body| send(&hub, &service, verb, path, body);
    let path = "/ferrohub/certificate-authorities";
    let root = Authority::root("Fleet Root");
    let added = send("PUT", &format!("{path}/fleet"), Some(json!({ "certificate": root.pem() }))).json();
    assert_eq!((&added["verified"], &added["source"]), (&json!(false), &json!("store")));
    let code = send("POST", &format!("{path}/fleet/verification-code"), None).json();
    let proof = root.sign(hub.folder(), code["verificationCode"].as_str().unwrap(), Validity::Valid);
    let proof = json!({ "certificate": fs::read_to_string(&proof.certificate).unwrap() });
    let verified = send("POST", &format!("{path}/fleet/verify"), Some(proof)).json();
    assert_eq!(verified["verified"], true);
    assert_eq!(send("GET", &format!("{path}/fleet"), None).json(), verified);
    assert_eq!(send("GET", path, None).json(), json!([verified]));
    assert_eq!(send("DELETE", &format!("{path}/fleet"), None).status, 204);
}

#[test]
fn modules_and_feedback_are_as_described() {
    let hub = Hub::builder().config("[messages]\nfeedback_delay_seconds = 1\n").start();
    let service = Service::owner(&hub);
    let send = |verb, path: &str, body| send(&hub, &service, verb, path, body);
    let device = service.create_device("d");
    let module =
        send("PUT", "/devices/d/modules/m", Some(json!({ "moduleId": "m", "deviceId": "d" }))).json();
    assert_eq!(module["managedBy"], Value::Null);
    // What was read can be sent back.
    let read = send("GET", "/devices/d/modules/m", None).json();
    let token = sas::policy_token(hub.variable("IOTHUB_CONNECTION_STRING"));
    let headers = json!({ "Authorization": token, "If-Match": "*" });
    let again = service.http_with("PUT", "/devices/d/modules/m", headers.clone(), Some(&read.to_string()));
    assert_eq!(again.status, 200, "{}", again.body);
    let device_read = send("GET", "/devices/d", None).json().to_string();
    assert_eq!(service.http_with("PUT", "/devices/d", headers.clone(), Some(&device_read)).status, 200);
    let twin = send("GET", "/twins/d/modules/m", None).json();
    assert_eq!(twin["moduleId"], "m");
    for verb in ["PATCH", "PUT"] {
        assert_eq!(send(verb, "/twins/d/modules/m", Some(twin.clone())).json()["moduleId"], "m");
    }

    let https = HttpsDevice::new(&service, &device);
    for ended in ["complete", "reject"] {
        let headers = json!({ "iothub-ack": "full", "iothub-messageid": ended });
        let _ = service.send("d", headers, b"x");
        let (token, _) = https.receive().unwrap();
        let ended = if ended == "reject" { https.reject(&token) } else { https.complete(&token) };
        assert_eq!(ended.status, 204);
    }
    for path in ["/messages/serviceBound/feedback", "/messages/servicebound/feedback"] {
        let batch = eventually("feedback", Duration::from_secs(30), || {
            Some(send("GET", path, None)).filter(|answer| answer.status == 200)
        });
        let token = batch.header("etag").trim_matches('"');
        assert_eq!(send("POST", &format!("{path}/{token}/abandon"), None).status, 204);
    }
}
