//! Certificates of devices on resumed and open connections, over HTTPS, and in a flood.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use ferrohub_acceptance::certificate::{self, Authority, CertificateFiles, Kind, Validity};
use ferrohub_acceptance::raw_tls::{RawTls, TlsClient, packet};
use ferrohub_acceptance::{Device, Hub, Method, Service, eventually};
use serde_json::{Value, json};

const ACCEPTED: [u8; 4] = [0x20, 2, 0, 0];
const REFUSED: [u8; 4] = [0x20, 2, 0, 5];

/// Encodes a CONNECT without a password, for a device with a certificate.
fn connect_packet(hub: &Hub, id: &str) -> Vec<u8> {
    let mut body = b"\0\x04MQTT\x04\x80\0\x3c".to_vec();
    for text in [id, &format!("{}/{id}/?api-version=2021-04-12", hub.name())] {
        body.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
        body.extend(text.as_bytes());
    }
    packet(0x10, &body)
}

/// Sends CONNECT and returns the response.
fn connack(hub: &Hub, mut connection: RawTls, id: &str) -> Vec<u8> {
    connection.send(&connect_packet(hub, id));
    connection.read(4)
}

fn create_with_authority(service: &Service, id: &str) {
    let arguments = json!({ "device_id": id });
    let _: Value = service.call("create_device_with_certificate_authority", &arguments).unwrap();
}

#[test]
fn a_resumed_session_is_refused_after_the_thumbprint_changed() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let first = certificate::self_signed(hub.folder(), "a", Validity::Valid);
    let folder = hub.folder().join("second");
    fs::create_dir(&folder).unwrap();
    let second = certificate::self_signed(&folder, "a", Validity::Valid);
    let arguments = json!({ "device_id": "a", "primary_thumbprint": first.sha256() });
    let _: Value = service.call("create_device_with_x509", &arguments).unwrap();
    let client = TlsClient::with_certificate(&hub, &first);
    assert_eq!(connack(&hub, client.connect(8883), "a"), ACCEPTED);
    let resumed = client.connect(8883);
    assert!(resumed.is_resumed());
    assert_eq!(connack(&hub, resumed, "a"), ACCEPTED);

    let authentication = json!({
        "type": "selfSigned", "x509Thumbprint": { "primaryThumbprint": second.sha256() }
    });
    let device = json!({ "deviceId": "a", "authentication": authentication }).to_string();
    let headers = json!({
        "Authorization": ferrohub_acceptance::sas::policy_token(hub.variable("IOTHUB_CONNECTION_STRING")),
        "If-Match": "*",
    });
    let changed = service.http_with("PUT", "/devices/a?api-version=2021-04-12", headers, Some(&device));
    assert_eq!(changed.status, 200, "{}", changed.body);
    let resumed = client.connect(8883);
    assert!(resumed.is_resumed());
    assert_eq!(connack(&hub, resumed, "a"), REFUSED);
    assert_eq!(connack(&hub, TlsClient::with_certificate(&hub, &second).connect(8883), "a"), ACCEPTED);
}

#[test]
fn the_next_request_on_an_open_connection_is_refused_after_its_authority_was_removed() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    create_with_authority(&service, "a");
    let root = Authority::root("Fleet Root");
    let file = root.write(hub.folder());
    hub.command(["ca", "add", "fleet", file.to_str().unwrap()]).success();
    let code = hub.command(["ca", "verify", "fleet", "--output", "json"]).success();
    let code: Value = serde_json::from_str(&code).unwrap();
    let proof = root.sign(hub.folder(), code["verificationCode"].as_str().unwrap(), Validity::Valid);
    hub.command(["ca", "verify", "fleet", proof.certificate.to_str().unwrap()]).success();

    let files = root.sign(hub.folder(), "a", Validity::Valid);
    let mut connection = TlsClient::with_certificate(&hub, &files).connect(443);
    let request = format!(
        "POST /devices/a/messages/events?api-version=2020-03-13 HTTP/1.1\r\nHost: {}\r\nContent-Length: 2\r\n\r\nhi",
        hub.name()
    );
    let mut send = || {
        connection.send(request.as_bytes());
        connection.read_until("\r\n\r\n")
    };
    for _ in 0..2 {
        let response = send();
        assert!(response.starts_with("HTTP/1.1 204"), "{response}");
    }
    hub.command(["ca", "remove", "fleet"]).success();
    let response = send();
    assert!(response.starts_with("HTTP/1.1 401"), "{response}");
}

#[test]
fn a_version_1_certificate_sends_telemetry_over_https() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    for (id, kind) in [("version-1", Kind::Version1), ("critical", Kind::Critical)] {
        let files = certificate::self_signed_as(hub.folder(), id, kind);
        let arguments = json!({ "device_id": id, "primary_thumbprint": files.sha256() });
        let _: Value = service.call("create_device_with_x509", &arguments).unwrap();
        let path = format!("/devices/{id}/messages/events?api-version=2020-03-13");
        let send = |files: &CertificateFiles| service.http_with_certificate("POST", &path, files, Some("hi"));
        let sent = send(&files);
        assert_eq!(sent.status, 204, "{id}: {}", sent.body);
        // Another key with the same name.
        let folder = hub.folder().join(id);
        fs::create_dir(&folder).unwrap();
        let other = certificate::self_signed_as(&folder, id, Kind::Version1);
        assert_eq!(send(&other).status, 401, "{id}");
    }
}

#[test]
fn a_flood_of_long_certificate_chains_does_not_stop_method_calls() {
    const CALLS: usize = 20;
    let trusted = Authority::root("Same");
    let builder = Hub::builder();
    let file = trusted.write(builder.folder());
    // Several authorities, each of which could end the path.
    let authorities: String =
        (0..5).map(|n| format!("[[device_ca]]\nname = \"ca-{n}\"\nfile = {file:?}\n")).collect();
    let hub = Arc::new(builder.config(&authorities).start());
    let service = Service::owner(&hub);
    create_with_authority(&service, "victim");
    let identity = service.create_device("dev1");
    let device = Device::with_identity(&identity).listen(&hub);
    // Every certificate could have issued every other, and none leads to a trusted authority.
    // The longest chains that the search and the handshake accept.
    let clients = [4, 7].map(|length| {
        let root = Authority::root("Same");
        let issuer = (0..length).fold(root, |issuer, _| issuer.intermediate("Same"));
        let folder = hub.folder().join(length.to_string());
        fs::create_dir(&folder).unwrap();
        TlsClient::with_certificate(&hub, &issuer.sign(&folder, "victim", Validity::Valid))
    });

    let (stop, refused) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let flood: Vec<_> = (0..4)
        .map(|n| {
            let client = clients[n % clients.len()].clone();
            let (hub, stop, refused) = (hub.clone(), stop.clone(), refused.clone());
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    assert_eq!(connack(&hub, client.connect(8883), "victim"), REFUSED);
                    refused.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let more_refused = || {
        let before = refused.load(Ordering::Relaxed);
        eventually("the flood goes on", Duration::from_secs(30), || {
            (refused.load(Ordering::Relaxed) >= before + 5).then_some(())
        });
    };
    for number in 0..CALLS {
        more_refused();
        let call = Method::new("echo").payload(number).response_timeout(10);
        assert_eq!(service.invoke("dev1", call).expect("a response").payload, number);
    }
    stop.store(true, Ordering::Relaxed);
    for thread in flood {
        thread.join().unwrap();
    }
    assert!(refused.load(Ordering::Relaxed) >= 5 * CALLS);
    assert_eq!(device.connects(), 1, "the device stayed connected");
}
