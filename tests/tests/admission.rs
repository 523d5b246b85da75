//! Slots for unauthenticated connections: a connection leaves its slot when a request has proved who asks, not earlier.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::thread::sleep;
use std::time::Duration;

use ferrohub_acceptance::raw_tls::{RawTls, connect_packet, websocket_frame};
use ferrohub_acceptance::{Hub, Identity, Service, eventually, sas};

/// The number of slots.
const SLOTS: usize = 3;
/// Longer than the time that a connection has before it may be evicted.
const GRACE: Duration = Duration::from_millis(1500);

fn start() -> Hub {
    Hub::builder()
        .config("[limits]\nunauthenticated_connections = 3\nhttp_request_timeout_seconds = 120")
        .with_development_issuer()
        .start()
}

/// A request whose body does not arrive completely.
fn unfinished(hub: &Hub, head: &str) -> RawTls {
    let mut peer = RawTls::https(hub);
    let name = hub.name();
    peer.send(format!("{head} HTTP/1.1\r\nHost: {name}\r\nContent-Length: 9000\r\n\r\nbegin").as_bytes());
    peer
}

/// Sends a request of the device and reads the head of the response.
#[track_caller]
fn receive(peer: &mut RawTls, hub: &Hub, identity: &Identity) -> String {
    let request = format!(
        "GET /devices/{}/messages/deviceBound HTTP/1.1\r\nHost: {}\r\nAuthorization: {}\r\n\r\n",
        identity.device_id,
        hub.name(),
        identity.token()
    );
    peer.send(request.as_bytes());
    peer.read_until("\r\n\r\n")
}

#[test]
fn a_request_that_proves_nothing_does_not_leave_the_slot_of_its_connection() {
    let hub = start();
    let service = Service::owner(&hub);
    let identity = service.create_device("dev1");
    let tenant = hub.variable("AZURE_TENANT_ID").to_owned();
    let wrong = "sv=2020-12-06&sr=b&sp=rcw&se=2999-01-01T00%3A00%3A00Z&sig=AAAA";
    let authorization = format!("Authorization: {}", identity.token().replace("sig=", "sig=AAAA"));
    for head in [
        format!("PUT /ferrohub-uploads/dev1/f?{wrong}"),
        format!("POST /{tenant}/oauth2/v2.0/token"),
        format!("POST /devices/dev1/messages/events HTTP/1.1\r\n{authorization}\r\nX:"),
        "GET /healthz".to_owned(),
    ] {
        let evicted = || hub.metric("ferrohub_rejected_sockets_total", "outcome=\"evicted\"");
        let before = evicted();
        let attackers: Vec<_> = (0..SLOTS).map(|_| unfinished(&hub, &head)).collect();
        sleep(GRACE);
        let mut device = RawTls::https(&hub);
        assert!(receive(&mut device, &hub, &identity).starts_with("HTTP/1.1 204"), "{head}");
        // The device gave its slot back, so only the first of the others had to go.
        let after = eventually("a connection is evicted", Duration::from_secs(10), || {
            Some(evicted()).filter(|after| *after > before)
        });
        assert!(after - before <= SLOTS as f64, "{head}");
        drop(attackers);
    }
}

#[test]
fn a_connection_that_has_proved_who_asks_is_not_evicted() {
    let hub = start();
    let identity = Service::owner(&hub).create_device("dev1");
    let mut device = RawTls::https(&hub);
    assert!(receive(&mut device, &hub, &identity).starts_with("HTTP/1.1 204"));
    sleep(GRACE);
    let silent: Vec<_> = (0..2 * SLOTS)
        .map(|_| {
            let peer = RawTls::https(&hub);
            sleep(Duration::from_millis(400));
            peer
        })
        .collect();
    eventually("others are evicted", Duration::from_secs(10), || {
        (hub.metric("ferrohub_rejected_sockets_total", "outcome=\"evicted\"") > 0.0).then_some(())
    });
    assert!(receive(&mut device, &hub, &identity).starts_with("HTTP/1.1 204"));
    drop(silent);
}

#[test]
fn a_connection_that_served_a_request_can_be_upgraded_to_websocket() {
    let hub = Hub::start();
    let identity = Service::owner(&hub).create_device("dev1");
    let mut peer = RawTls::https(&hub);
    assert!(receive(&mut peer, &hub, &identity).starts_with("HTTP/1.1 204"));
    peer.upgrade(&hub);
    let resource = format!("{}/devices/dev1", hub.name());
    let key = &identity.primary_key;
    let token = sas::Token { resource: &resource, key, expiry: sas::now() + 600, policy: None }.sign();
    let username = format!("{}/dev1/?api-version=2021-04-12", hub.name());
    peer.send(&websocket_frame(0x82, &connect_packet("dev1", &username, &token, 60)));
    assert_eq!(peer.read(6), [0x82, 4, 0x20, 2, 0, 0], "CONNACK: accepted");
}
