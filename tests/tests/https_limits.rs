//! Limits of HTTPS connections: per caller, and of clients that do not read.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::time::Duration;

use ferrohub_acceptance::raw_tls::RawTls;
use ferrohub_acceptance::{Hub, Identity, Service, eventually, sas};
use serde_json::{Value, json};

/// Sends a request on a new connection, which stays open, and reads the head of the response.
#[track_caller]
fn poll(hub: &Hub, identity: &Identity) -> (RawTls, String) {
    let mut peer = RawTls::https(hub);
    let head = poll_again(&mut peer, hub, identity);
    (peer, head)
}

#[track_caller]
fn poll_again(peer: &mut RawTls, hub: &Hub, identity: &Identity) -> String {
    let id = &identity.device_id;
    let request = format!(
        "GET /devices/{id}/messages/deviceBound HTTP/1.1\r\nHost: {}\r\nAuthorization: {}\r\n\r\n",
        hub.name(),
        identity.token()
    );
    peer.send(request.as_bytes());
    peer.read_until("\r\n\r\n")
}

#[test]
fn one_caller_cannot_have_all_https_connections() {
    let hub = Hub::builder().config("[limits]\nhttps_connections_per_caller = 2").start();
    let service = Service::owner(&hub);
    let (dev1, dev2) = (service.create_device("dev1"), service.create_device("dev2"));
    let wrong = Identity { primary_key: dev2.primary_key.clone(), ..dev1.clone() };
    // Requests with a wrong key do not count.
    let refused: Vec<_> = (0..3).map(|_| poll(&hub, &wrong)).collect();
    for (_, head) in &refused {
        assert!(head.starts_with("HTTP/1.1 401"), "{head}");
    }

    let (mut first, head) = poll(&hub, &dev1);
    assert!(head.starts_with("HTTP/1.1 204"), "{head}");
    let (_second, head) = poll(&hub, &dev1);
    assert!(head.starts_with("HTTP/1.1 204"), "{head}");
    let (mut third, head) = poll(&hub, &dev1);
    assert!(head.starts_with("HTTP/1.1 429") && head.contains("ThrottlingException"), "{head}");
    assert!(head.contains("retry-after: 5") && head.contains("connection: close"), "{head}");
    let text = head + &String::from_utf8(third.read_to_end()).unwrap();
    assert!(text.contains("limits.https_connections_per_caller"), "{text}");
    // Other callers, and the connections that the device has, are not affected.
    assert!(poll(&hub, &dev2).1.starts_with("HTTP/1.1 204"));
    assert!(poll_again(&mut first, &hub, &dev1).starts_with("HTTP/1.1 204"));
    drop(first);
    eventually("a closed connection makes room", Duration::from_secs(10), || {
        poll(&hub, &dev1).1.starts_with("HTTP/1.1 204").then_some(())
    });
}

#[test]
fn a_client_that_does_not_read_its_response_is_closed() {
    const BYTES: usize = 30_000_000;
    let hub = Hub::builder().config("[limits]\nhttps_write_timeout_seconds = 1").start();
    let service = Service::owner(&hub);
    let identity = service.create_device("dev1");
    let headers = json!({ "Authorization": identity.token() });
    let begun = service.http_with("POST", "/devices/dev1/files", headers, Some("{\"blobName\":\"f\"}"));
    let begun: Value = begun.json();
    let mut upload = RawTls::https(&hub);
    upload.send(
        format!(
            "PUT /ferrohub-uploads/dev1/f{} HTTP/1.1\r\nHost: a\r\nx-ms-blob-type: BlockBlob\r\n\
             Content-Length: {BYTES}\r\n\r\n",
            begun["sasToken"].as_str().unwrap()
        )
        .as_bytes(),
    );
    upload.send(&vec![b'x'; BYTES]);
    assert!(upload.read_until("\r\n\r\n").starts_with("HTTP/1.1 201"));

    let owner = sas::policy_token(hub.variable("IOTHUB_CONNECTION_STRING"));
    let get = format!(
        "GET /ferrohub/files/dev1/f HTTP/1.1\r\nHost: a\r\nAuthorization: {owner}\r\nConnection: close\r\n\r\n"
    );
    let open_files = || hub.open_files();
    let mut reader = RawTls::https(&hub);
    reader.send(get.as_bytes());
    assert!(reader.read_to_end().len() > BYTES);
    drop((reader, upload));
    let before = eventually("the connections are closed", Duration::from_secs(10), || {
        let open = open_files();
        std::thread::sleep(Duration::from_millis(200));
        (open == open_files()).then_some(open)
    });
    let mut silent = RawTls::https(&hub);
    silent.send(get.as_bytes());
    eventually("the download begins", Duration::from_secs(10), || (open_files() > before).then_some(()));
    eventually("the connection is closed", Duration::from_secs(30), || {
        (open_files() <= before).then_some(())
    });
    assert!(silent.read_to_end().len() < BYTES);
}
