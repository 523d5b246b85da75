//! HTTPS requests as real clients send them, byte for byte, and the answers to malformed ones.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::process::Command;

use ferrohub_acceptance::raw_tls::RawTls;
use ferrohub_acceptance::{Hub, Identity, RawResponse, Service, sas};
use ferrohub_service::{ErrorKind, MethodInvocation, ServiceClient};
use serde_json::{Value, json};

#[track_caller]
fn send(hub: &Hub, request: &str) -> RawResponse {
    RawResponse::to(hub, request)
}

/// Builds a request without a body.
fn request(hub: &Hub, verb: &str, target: &str, token: &str) -> String {
    format!(
        "{verb} {target} HTTP/1.1\r\nHost: {}\r\nAuthorization: {token}\r\nContent-Length: 0\r\n\
         Connection: close\r\n\r\n",
        hub.name()
    )
}

fn owner_token(hub: &Hub) -> String {
    sas::policy_token(hub.variable("IOTHUB_CONNECTION_STRING"))
}

#[test]
fn one_slash_at_the_end_of_a_path_is_dropped() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let _ = service.create_device("dev1");
    let _ = service.create_module("dev1", "m1");
    let token = owner_token(&hub);
    let status = |verb: &str, target: &str| send(&hub, &request(&hub, verb, target, &token)).status;
    // .NET `RegistryManager.cs`, Node `registry.js`, C `iothub_registrymanager.c`.
    for target in [
        "/devices/?top=1000&api-version=2021-04-12",
        "/devices/?api-version=2021-04-12",
        "/devices/?top=1000&api-version=2020-09-30",
        "/devices/dev1/?api-version=2021-04-12",
        "/devices/dev1/modules/?api-version=2021-04-12",
        "/devices/dev1/modules/m1/",
        "/twins/dev1/",
        "/statistics/devices/",
        "/configurations/?top=20&api-version=2021-04-12",
        "/ferrohub/files/",
    ] {
        assert_eq!(status("GET", target), 200, "{target}");
    }
    // .NET sends a bulk request there.
    let bulk = send(&hub, &request(&hub, "POST", "/devices/?api-version=2021-04-12", &token));
    assert_eq!((bulk.status, bulk.error_name()), (400, "IotHubFormatError"), "it has no body");
    let wrong = send(&hub, &request(&hub, "PUT", "/devices/?api-version=2021-04-12", &token));
    assert_eq!((wrong.status, wrong.error_name()), (405, "GenericMethodNotAllowed"));
    assert_eq!(wrong.header("allow"), Some("GET,HEAD,POST"));
    for target in ["/unknown/?top=20&api-version=2021-04-12", "/devices//"] {
        let answer = send(&hub, &request(&hub, "GET", target, &token));
        assert_eq!((answer.status, answer.error_name()), (404, "GenericNotFound"), "{target}");
    }
    // A method call: the device is not connected.
    let call = r#"{"methodName":"m","payload":null}"#;
    let call = format!(
        "POST /twins/dev1/methods/?api-version=2021-04-12 HTTP/1.1\r\nHost: {}\r\nAuthorization: {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{call}",
        hub.name(),
        call.len()
    );
    let answer = send(&hub, &call);
    assert_eq!((answer.status, answer.error_name()), (404, "DeviceNotOnline"));
    // The name of a file is compared as it is.
    let blob = send(&hub, &request(&hub, "GET", "/ferrohub-uploads/dev1/f/?sv=2020-12-06&sig=x", &token));
    assert_eq!(blob.header("x-ms-error-code"), Some("InvalidUri"), "{blob:?}");
}

#[test]
fn a_fault_matches_the_path_without_the_slash() {
    let hub = Hub::builder().config("[faults]\nenabled = true").start();
    let service = Service::owner(&hub);
    let token = owner_token(&hub);
    let fault = json!({
        "kind": "refuseRequest", "method": "GET", "path": "/devices", "durationSeconds": 60, "count": 1,
        "error": "ThrottlingException",
    });
    let added = service.http("POST", "/ferrohub/faults/", Some(&token), Some(&fault.to_string()));
    assert_eq!(added.status, 200, "{added:?}");
    let refused = service.http("GET", "/devices/?top=1", Some(&token), None);
    assert_eq!((refused.status, refused.error_code()), (429, "ThrottlingException"));
}

/// The token of a C device for uploads: the resource as it is, and an empty policy name
/// (`iothub_client_ll_uploadtoblob.c`).
fn device_token(hub: &Hub, identity: &Identity) -> String {
    let resource = format!("{}/devices/{}", hub.name(), identity.device_id);
    let expiry = sas::now() + 600;
    let signature = sas::encode(&sas::sign_text(&resource, &identity.primary_key, expiry));
    format!("SharedAccessSignature sr={resource}&sig={signature}&se={expiry}&skn=")
}

#[test]
fn the_c_device_client_uploads_a_file() {
    let hub = Hub::start();
    let identity = Service::owner(&hub).create_device("dev1");
    let token = device_token(&hub, &identity);
    let post = |path: &str, body: &str| {
        let request = format!(
            "POST {path}?api-version=2016-11-14 HTTP/1.1\r\nContent-Type: application/json\r\n\
             Accept: application/json\r\nUser-Agent: iothubclient/1.15.0\r\nAuthorization: {token}\r\n\
             Host: {}\r\nContent-Length: {}\r\n\r\n{body}",
            hub.name(),
            body.len()
        );
        send(&hub, &request)
    };
    let begun = post("/devices/dev1/files/", r#"{ "blobName": "f.txt" }"#);
    assert_eq!(begun.status, 200, "{begun:?}");
    let begun: Value = serde_json::from_str(&begun.body).unwrap();
    let text = |name: &str| begun[name].as_str().unwrap().to_owned();
    // `blob.c`: the slash of the name is escaped in lower case, and block ids are base64 of `%6u`.
    let blob =
        format!("/{}/{}{}", text("containerName"), text("blobName").replace('/', "%2f"), text("sasToken"));
    let put = |query: &str, body: &str| {
        let request = format!(
            "PUT {blob}{query} HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n\r\n{body}",
            hub.name(),
            body.len()
        );
        send(&hub, &request)
    };
    assert_eq!(put("&comp=block&blockid=ICAgICAw", "hello").status, 201);
    let list =
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\r\n<BlockList><Latest>ICAgICAw</Latest></BlockList>";
    assert_eq!(put("&comp=blocklist", list).status, 201);
    let done = format!(
        "{{\"correlationId\":\"{}\", \"isSuccess\":true, \"statusCode\":201, \"statusDescription\":\"ok\"}}",
        text("correlationId")
    );
    assert_eq!(post("/devices/dev1/files/notifications/", &done).status, 204);
    let owner = owner_token(&hub);
    let stored = send(&hub, &request(&hub, "GET", "/ferrohub/files/dev1/f.txt", &owner));
    assert_eq!((stored.status, stored.body.as_str()), (200, "hello"));
}

/// What `@azure/storage-blob` 12.8.0 of `azure-iot-device` 1.18.4 sends (`blob_uploader.ts`), with one header more.
#[track_caller]
fn put_like_node(hub: &Hub, target: &str, header: &str, body: &str) -> RawResponse {
    let request = format!(
        "PUT {target} HTTP/1.1\r\nx-ms-version: 2020-10-02\r\nContent-Length: {}\r\n{header}\
         Content-Type: application/octet-stream\r\nAccept: application/xml\r\n\
         User-Agent: azsdk-js-storageblob/12.8.0 (NODE-VERSION v20.20.2; Linux 6.18.44)\r\n\
         x-ms-client-request-id: 2f7190dc-26a8-47af-a4dc-6ff15c94f411\r\nCookie: \r\nHost: {}\r\n\
         Connection: keep-alive\r\n\r\n{body}",
        body.len(),
        hub.name()
    );
    send(hub, &request)
}

#[test]
fn the_storage_client_of_node_may_name_an_encryption_algorithm_without_a_key() {
    let hub = Hub::start();
    let identity = Service::owner(&hub).create_device("dev1");
    let begun = format!(
        "POST /devices/dev1/files?api-version=2021-04-12 HTTP/1.1\r\nHost: {}\r\nAuthorization: {}\r\n\
         Content-Type: application/json; charset=utf-8\r\nContent-Length: 27\r\n\r\n{{\"blobName\":\"folder/f 1.txt\"",
        hub.name(),
        device_token(&hub, &identity)
    );
    let begun = send(&hub, &format!("{}}}", begun.replace("Content-Length: 27", "Content-Length: 29")));
    assert_eq!(begun.status, 200, "{begun:?}");
    let begun: Value = serde_json::from_str(&begun.body).unwrap();
    let sas = begun["sasToken"].as_str().unwrap();
    let block = "MTMyNWM0NDAtMGY4MC00ZjZhLThhYzgtNTQ3MTdiZDliYTdhMDAwMDAwMDAwMDAw";
    let put_block = format!("/ferrohub-uploads/dev1/folder/f%201.txt{sas}&comp=block&blockid={block}");
    let put_list = format!("/ferrohub-uploads/dev1/folder/f%201.txt{sas}&comp=blocklist");
    let list = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?><BlockList><Latest>{block}</Latest></BlockList>"
    );
    for header in [
        "x-ms-encryption-algorithm: AES256\r\n",
        "x-ms-lease-id: \r\nx-ms-encryption-scope:\r\nx-ms-legal-hold: false\r\nIf-Match: \r\n",
    ] {
        let answer = put_like_node(&hub, &put_block, header, "aaaaa");
        assert_eq!(answer.status, 201, "{answer:?}");
        let answer = put_like_node(&hub, &put_list, header, &list);
        assert_eq!(answer.status, 201, "{answer:?}");
    }
    for header in [
        "x-ms-encryption-algorithm: AES256\r\nx-ms-encryption-key: a2V5\r\n",
        "x-ms-encryption-algorithm: AES512\r\n",
        "x-ms-encryption-scope: s\r\n",
        "x-ms-lease-id: 4f1d\r\n",
        "x-ms-legal-hold: true\r\n",
    ] {
        let answer = put_like_node(&hub, &put_block, header, "aaaaa");
        let code = answer.header("x-ms-error-code");
        assert_eq!((answer.status, code), (400, Some("UnsupportedHeader")), "{header}");
    }
}

#[test]
fn malformed_requests_get_an_error_in_the_format_of_the_api() {
    let hub = Hub::start();
    let _ = Service::owner(&hub).create_device("dev1");
    let token = owner_token(&hub);
    for target in
        ["/devices/%ff", "/devices/%c3", "/devices/dev1/modules/%ff", "/twins/%ff", "/ferrohub/files/a/%ff"]
    {
        let answer = send(&hub, &request(&hub, "GET", target, &token));
        assert_eq!((answer.status, answer.error_name()), (400, "ArgumentInvalid"), "{target}");
    }
    for (verb, target, allow) in [
        ("PUT", "/twins/dev1/methods", "POST"),
        ("DELETE", "/twins/dev1/modules/m/methods", "POST"),
        ("PUT", "/devices", "GET,HEAD,POST"),
        ("POST", "/devices/dev1", "GET,HEAD,PUT,DELETE"),
        ("PUT", "/$iothub/websocket", "GET,HEAD"),
        ("PUT", "/ferrohub/faults", "GET,HEAD,POST,DELETE"),
    ] {
        let answer = send(&hub, &request(&hub, verb, target, &token));
        assert_eq!((answer.status, answer.error_name()), (405, "GenericMethodNotAllowed"), "{verb} {target}");
        let sorted = |text: &str| {
            let mut methods: Vec<String> = text.split(',').map(str::to_owned).collect();
            methods.sort();
            methods
        };
        assert_eq!(sorted(answer.header("allow").unwrap_or_default()), sorted(allow), "{verb} {target}");
    }
    let blob = send(&hub, &request(&hub, "POST", "/ferrohub-uploads/dev1/f", &token));
    assert_eq!((blob.status, blob.header("allow")), (405, Some("GET,HEAD,PUT,DELETE")));
    for (verb, target) in [
        ("GET", "/devices/dev1"),
        ("POST", "/twins/dev1/methods"),
        ("POST", "/devices/dev1/messages/events"),
        ("GET", "/ferrohub-uploads/dev1/f"),
    ] {
        let answer = send(&hub, &request(&hub, verb, target, "SharedAccessSignature sr=x&sig=x&se=1"));
        let challenge = answer.header("www-authenticate");
        assert_eq!((answer.status, challenge), (401, Some("SharedAccessSignature")), "{verb} {target}");
    }
}

#[test]
fn a_request_needs_exactly_one_host() {
    let hub = Hub::start();
    let _ = Service::owner(&hub).create_device("dev1");
    let token = owner_token(&hub);
    let send = |version: &str, hosts: &str| {
        let request = format!(
            "GET /devices/dev1 {version}\r\n{hosts}Authorization: {token}\r\nConnection: close\r\n\r\n"
        );
        send(&hub, &request)
    };
    for hosts in ["", "Host: \r\n", "Host: a\r\nHost: a\r\n"] {
        let answer = send("HTTP/1.1", hosts);
        assert_eq!((answer.status, answer.error_name()), (400, "ArgumentInvalid"), "{hosts:?}");
    }
    let call = "POST /twins/dev1/methods HTTP/1.1\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
    assert_eq!(self::send(&hub, call).status, 400);
    assert_eq!(send("HTTP/1.1", "Host: a\r\n").status, 200);
    assert_eq!(send("HTTP/1.0", "").status, 200, "HTTP/1.0 has no Host");
}

#[test]
fn with_both_body_lengths_chunked_wins_and_nothing_behind_the_request_is_served() {
    let hub = Hub::start();
    let token = owner_token(&hub);
    let body = r#"{"deviceId":"dev1"}"#;
    let smuggled = format!("GET /devices HTTP/1.1\r\nHost: a\r\nAuthorization: {token}\r\n\r\n");
    for lengths in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    ] {
        let mut peer = RawTls::https(&hub);
        peer.send(
            format!(
                "PUT /devices/dev1 HTTP/1.1\r\nHost: a\r\nAuthorization: {token}\r\nIf-Match: *\r\n{lengths}\r\n\
                 {:x}\r\n{body}\r\n0\r\n\r\n{smuggled}",
                body.len()
            )
            .as_bytes(),
        );
        let text = String::from_utf8_lossy(&peer.read_to_end()).into_owned();
        assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "{text}");
        assert!(text.contains("\"deviceId\":\"dev1\"") || text.contains("iothub-errorcode"), "{text}");
        assert!(text.to_ascii_lowercase().contains("connection: close"), "{text}");
    }
}

/// Runs curl, which is an HTTP/2 client with nghttp2.
#[track_caller]
fn curl(hub: &Hub, arguments: &[&str]) -> (i32, String) {
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--http2", "--cacert", hub.variable("SSL_CERT_FILE")])
        .args(["--max-time", "30", "--write-out", "\n%{http_code} %{http_version}"])
        .args(arguments)
        .output()
        .expect("curl is installed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.code().unwrap(), text + &String::from_utf8_lossy(&output.stderr))
}

#[test]
fn an_http2_client_with_a_body_always_reads_the_error() {
    let hub = Hub::start();
    let _ = Service::owner(&hub).create_device("dev1");
    let body = hub.folder().join("body.json");
    for bytes in [100, 200_000, 5_000_000] {
        std::fs::write(&body, format!("{{\"methodName\":\"m\",\"payload\":\"{}\"}}", "x".repeat(bytes)))
            .unwrap();
        let data = format!("@{}", body.display());
        for path in
            ["/twins/dev1/methods", "/devices/dev1/messages/events", "/nowhere", "/ferrohub-uploads/dev1/f"]
        {
            let url = format!("{}{path}?api-version=2021-04-12", hub.url());
            let verb = if path.starts_with("/ferrohub-uploads") { "PUT" } else { "POST" };
            for attempt in 0..5 {
                let (code, text) = curl(
                    &hub,
                    &[
                        "-X",
                        verb,
                        "-H",
                        "Authorization: SharedAccessSignature x",
                        "-H",
                        "Expect:",
                        "--data-binary",
                        &data,
                        &url,
                    ],
                );
                let expected = if path == "/nowhere" { "404 2" } else { "401 2" };
                assert!(
                    code == 0 && text.ends_with(expected) && (text.contains("Message")),
                    "{path} with {bytes} bytes, attempt {attempt}: {code} {text}"
                );
            }
        }
    }
}

/// The Rust SDK uses hyper and h2, on one HTTP/2 connection.
#[tokio::test(flavor = "multi_thread")]
async fn the_rust_sdk_always_reads_the_error_of_a_refused_call_with_a_large_payload() {
    let hub = Hub::start();
    let wrong = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let client = ServiceClient::builder_from_connection_string(&format!(
        "HostName={};SharedAccessKeyName=service;SharedAccessKey={wrong}",
        hub.name()
    ))
    .unwrap()
    .additional_root_certificates(std::fs::read(hub.variable("SSL_CERT_FILE")).unwrap())
    .build()
    .unwrap();
    for bytes in [1000, 100_000, 1_000_000] {
        let method = MethodInvocation::new("m").payload(&"x".repeat(bytes)).unwrap();
        for attempt in 0..20 {
            let refused = client.invoke_method("dev1", &method).await.unwrap_err();
            assert_eq!(
                (refused.kind(), refused.code()),
                (ErrorKind::Unauthorized, Some(401_002)),
                "{bytes} bytes, attempt {attempt}: {refused}"
            );
        }
    }
}
