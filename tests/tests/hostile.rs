//! Faulty and malicious peers: the hub refuses them, does not run out of memory, and continues to serve other clients.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::io::Write as _;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use ferrohub_acceptance::raw_tls::{RawTls, connect_packet, packet};
use ferrohub_acceptance::{Device, Hub, Identity, Method, Service, eventually, sas};
use serde_json::json;

/// Encodes a valid CONNECT.
fn connect(hub: &Hub, identity: &Identity, keep_alive: u16) -> Vec<u8> {
    let id = &identity.device_id;
    let token = sas::Token {
        resource: &format!("{}/devices/{id}", hub.name()),
        key: &identity.primary_key,
        expiry: sas::now() + 600,
        policy: None,
    };
    let username = format!("{}/{id}/?api-version=2021-04-12", hub.name());
    connect_packet(id, &username, &token.sign(), keep_alive)
}

const CONNACK: [u8; 4] = [0x20, 2, 0, 0];

/// Encodes a SUBSCRIBE to methods at QoS 0, packet id 1.
fn subscribe() -> Vec<u8> {
    let filter = b"$iothub/methods/POST/#";
    let mut body = vec![0, 1, 0, u8::try_from(filter.len()).unwrap()];
    body.extend(filter);
    body.push(0);
    packet(0x82, &body)
}

#[track_caller]
fn still_serves(hub: &Hub, service: &Service, identity: &Identity) {
    let _device = Device::with_identity(identity).listen(hub);
    let answer = service.invoke(&identity.device_id, Method::new("echo").payload("ok")).expect("a response");
    assert_eq!(answer.payload, "ok");
}

#[test]
fn a_connection_that_does_not_start_with_connect_is_closed_without_a_response() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let identity = service.create_device("dev1");
    for (what, bytes) in [
        ("PINGREQ", vec![0xC0, 0]),
        ("SUBSCRIBE", subscribe()),
        ("PUBLISH", packet(0x30, b"\0\x01a")),
        ("DISCONNECT", vec![0xE0, 0]),
        ("CONNACK, which only servers send", CONNACK.to_vec()),
        ("a packet of an unknown type", vec![0x00, 0]),
        ("a Remaining Length of five bytes", vec![0x10, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F]),
        ("the largest packet", vec![0x10, 0xFF, 0xFF, 0xFF, 0x7F]),
        ("HTTP", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()),
        ("another protocol name", packet(0x10, b"\0\x04MQXX\x04\x02\0\x3c\0\x01a")),
        ("text that is not UTF-8", packet(0x10, b"\0\x04MQTT\x04\x02\0\x3c\0\x01\xff")),
        ("a text longer than its packet", packet(0x10, b"\0\x04MQTT\x04\x02\0\x3c\xff\xff")),
    ] {
        let mut peer = RawTls::mqtt(&hub);
        peer.send(&bytes);
        assert_eq!(peer.read_to_end(), b"", "{what}");
    }
    still_serves(&hub, &service, &identity);
}

#[test]
fn a_protocol_violation_after_connect_closes_the_connection() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let identity = service.create_device("dev1");
    for (what, bytes) in [
        ("a second CONNECT", connect(&hub, &identity, 60)),
        ("a reserved flag", vec![0xC1, 0]),
        ("SUBSCRIBE without its flags", packet(0x80, b"\0\x01\0\x01a\0")),
        ("SUBSCRIBE without filters", packet(0x82, b"\0\x01")),
        ("QoS 3", packet(0x36, b"\0\x01a\0\x01")),
        ("QoS 2", packet(0x34, b"\0\x01a\0\x01")),
        ("the largest packet", vec![0x30, 0xFF, 0xFF, 0xFF, 0x7F]),
        ("a topic with a wildcard", packet(0x30, b"\0\x03a/#")),
        ("an unknown topic", packet(0x30, b"\0\x05hello")),
    ] {
        let mut peer = RawTls::mqtt(&hub);
        peer.send(&connect(&hub, &identity, 60));
        assert_eq!(peer.read(4), CONNACK, "{what}");
        peer.send(&bytes);
        assert_eq!(peer.read_to_end(), b"", "{what}");
    }
    still_serves(&hub, &service, &identity);
}

#[test]
fn packets_may_arrive_byte_by_byte() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let identity = service.create_device("dev1");
    let mut peer = RawTls::mqtt(&hub);
    for byte in connect(&hub, &identity, 60).into_iter().chain(subscribe()) {
        peer.send(&[byte]);
    }
    assert_eq!(peer.read(4), CONNACK);
    assert_eq!(peer.read(5), [0x90, 3, 0, 1, 0]);
    let pending = service.begin_invoke("dev1", Method::new("m"));
    assert_eq!(peer.read(1), [0x30]);
    let length = usize::from(peer.read(1)[0]);
    let publish = String::from_utf8(peer.read(length)).unwrap();
    let rid = publish.split_once("?$rid=").expect("a request id").1.trim_end_matches("\"\"");
    let topic = format!("$iothub/methods/res/207/?$rid={rid}");
    let mut body = vec![0, u8::try_from(topic.len()).unwrap()];
    body.extend(topic.as_bytes());
    body.extend(b"[1]");
    for byte in packet(0x30, &body) {
        peer.send(&[byte]);
    }
    assert_eq!(pending.wait().expect("a response").status, 207);
}

#[test]
fn a_silent_connection_is_closed() {
    let hub =
        Hub::builder().config("[limits]\nhandshake_timeout_seconds = 1\nconnect_timeout_seconds = 2").start();
    let identity = Service::owner(&hub).create_device("dev1");
    let started = Instant::now();
    assert_eq!(RawTls::mqtt(&hub).read_to_end(), b"", "without CONNECT");
    assert!(started.elapsed() >= Duration::from_secs(2), "not before the time-out: {:?}", started.elapsed());
    let mut quiet = RawTls::mqtt(&hub);
    quiet.send(&connect(&hub, &identity, 1));
    assert_eq!(quiet.read(4), CONNACK);
    assert_eq!(quiet.read_to_end(), b"", "one and a half times the keep-alive");
    assert!(hub.log().contains("reason=\"keep_alive\""), "{}", hub.log());
}

#[test]
fn a_device_that_waits_for_a_slow_hub_is_not_closed_by_keep_alive() {
    let hub = Hub::builder().config("[faults]\nenabled = true").start();
    let service = Service::owner(&hub);
    let identity = service.create_device("dev1");
    let fault = json!({
        "kind": "delayTelemetry", "target": "dev1", "durationSeconds": 60, "count": 1, "delayMilliseconds": 4000,
    });
    let owner = sas::policy_token(hub.variable("IOTHUB_CONNECTION_STRING"));
    let answer = service.http("POST", "/ferrohub/faults", Some(&owner), Some(&fault.to_string()));
    assert_eq!(answer.status, 200, "{}", answer.body);
    let mut device = RawTls::mqtt(&hub);
    device.send(&connect(&hub, &identity, 1));
    assert_eq!(device.read(4), CONNACK);
    let topic = b"devices/dev1/messages/events/";
    let mut body = vec![0, u8::try_from(topic.len()).unwrap()];
    body.extend(topic);
    body.extend([0, 7, b'x']);
    device.send(&packet(0x32, &body));
    // Twice the time that its keep-alive allows without packets.
    for _ in 0..7 {
        thread::sleep(Duration::from_millis(500));
        device.send(&[0xC0, 0]);
    }
    assert_eq!(device.read(4), [0x40, 2, 0, 7]);
    assert_eq!(device.read(14), [0xD0, 0].repeat(7));
    let begun = Instant::now();
    assert!(device.read_to_end().is_empty());
    assert!(begun.elapsed() >= Duration::from_secs(1), "the keep-alive counts from the device's last packet");
}

#[test]
fn heavy_ten_thousand_half_open_connections_need_little_memory_and_delay_no_device() {
    let hub = Hub::builder().config("[limits]\nhandshake_timeout_seconds = 60").start();
    let service = Service::owner(&hub);
    let identity = service.create_device("dev1");
    still_serves(&hub, &service, &identity);
    let before = hub.resident_kib();
    // The header of a TLS record that announces a ClientHello of 16 KiB, without the rest.
    let record_header = [0x16, 3, 1, 0x40, 0];
    let half_open: Vec<TcpStream> = (0..10_000)
        .map(|number| {
            let port = if number % 2 == 0 { 8883 } else { 443 };
            let mut stream = TcpStream::connect((hub.name(), port)).expect("the hub listens");
            if number % 4 < 2 {
                // The hub may have closed it already, because the number of unauthenticated connections is limited.
                let _ = stream.write_all(&record_header);
            }
            stream
        })
        .collect();
    let grown = hub.resident_kib().saturating_sub(before);
    eprintln!("10,000 half-open connections: {grown} KiB more");
    assert!(grown < 64 * 1024, "{grown} KiB");
    still_serves(&hub, &service, &identity);
    drop(half_open);
}

#[test]
fn a_device_that_does_not_read_is_closed_and_needs_little_memory() {
    let hub = Hub::builder().config("[limits]\nwrite_timeout_seconds = 3").start();
    let service = Service::owner(&hub);
    let slow = service.create_device("slow");
    let other = service.create_device("other");
    let mut peer = RawTls::mqtt(&hub);
    peer.send(&connect(&hub, &slow, 600));
    assert_eq!(peer.read(4), CONNACK);
    peer.send(&subscribe());
    assert_eq!(peer.read(5), [0x90, 3, 0, 1, 0]);
    let before = hub.resident_kib();
    // 12.5 MB, far more than the socket buffers hold.
    let calls: Vec<_> = (0..100)
        .map(|_| service.begin_invoke("slow", Method::new("m").payload("x".repeat(125_000))))
        .collect();
    still_serves(&hub, &service, &other);
    for call in calls {
        let refusal = call.wait().unwrap_err();
        assert_eq!(refusal.http.error_code(), "DeviceNotOnline");
    }
    let grown = hub.resident_kib().saturating_sub(before);
    assert!(grown < 64 * 1024, "{grown} KiB");
    assert!(hub.log().contains("reason=\"slow_reader\""), "{}", hub.log());
}

#[test]
fn the_https_listener_survives_malformed_requests() {
    let hub = Hub::builder().config("[limits]\nhttp_request_timeout_seconds = 2").start();
    let service = Service::owner(&hub);
    let identity = service.create_device("dev1");
    let response_to = |bytes: &[u8]| {
        let mut peer = RawTls::https(&hub);
        peer.send(bytes);
        String::from_utf8_lossy(&peer.read_to_end()).into_owned()
    };
    let close = "Connection: close\r\n\r\n";
    for (what, request, expected) in [
        ("random bytes", "\x16\x03\x01\x02\x00\r\n\r\n".to_owned(), "HTTP/1.1 400"),
        ("half a request", "GET /devices HTTP/1.1\r\nHost".to_owned(), ""),
        // The response may be lost when the hub closes the connection with unread bytes.
        ("an endless head", format!("GET / HTTP/1.1\r\n{}", "a: b\r\n".repeat(20_000)), ""),
        (
            "a missing body",
            "POST /twins/dev1/methods HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{".to_owned(),
            "HTTP/1.1 401",
        ),
        (
            "two values of Content-Length",
            format!(
                "PUT /devices/x HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n{close}"
            ),
            "HTTP/1.1 400",
        ),
        ("an unknown HTTP version", format!("GET / HTTP/9.9\r\n{close}"), "HTTP/1.1 400"),
        ("an unknown path", format!("GET /%ff%00/../x HTTP/1.1\r\nHost: a\r\n{close}"), "HTTP/1.1 404"),
        (
            "a WebSocket without a key",
            format!("GET /$iothub/websocket HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n{close}"),
            "HTTP/1.1 400",
        ),
    ] {
        let answer = response_to(request.as_bytes());
        assert!(answer.starts_with(expected), "{what}: {answer}");
    }
    let huge = format!("{{\"x\":\"{}\"}}", "y".repeat(2_000_000));
    let token = sas::policy_token(hub.variable("IOTHUB_CONNECTION_STRING"));
    let answer = service.http("PUT", "/devices/dev2?api-version=2021-04-12", Some(&token), Some(&huge));
    assert_eq!((answer.status, answer.error_code()), (413, "MessageTooLarge"));
    still_serves(&hub, &service, &identity);
}

/// Returns the types of the HTTP/2 frames in `bytes`. A frame has three bytes of length, one byte of type, five more
/// bytes, and the payload.
fn frame_types(mut bytes: &[u8]) -> Vec<u8> {
    let mut types = Vec::new();
    while let [a, b, c, kind, _, _, _, _, _, rest @ ..] = bytes {
        types.push(*kind);
        let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
        bytes = rest.get(length..).expect("whole frames");
    }
    types
}

#[test]
fn an_http2_protocol_violation_closes_the_connection() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let identity = service.create_device("dev1");
    const GOAWAY: u8 = 7;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    for (what, frames) in [
        ("a frame that is too large", &b"\xff\xff\xff\x00\x00\x00\x00\x00\x01"[..]),
        ("data on stream 0", b"\x00\x00\x01\x00\x00\x00\x00\x00\x00a"),
        ("headers that are not HPACK", b"\x00\x00\x04\x01\x05\x00\x00\x00\x01\xff\xff\xff\xff"),
    ] {
        let mut peer = RawTls::http2(&hub);
        peer.send(preface);
        peer.send(b"\0\0\0\x04\0\0\0\0\0");
        peer.send(frames);
        let received = peer.read_to_end();
        let types: Vec<u8> = frame_types(&received);
        assert!(types.contains(&GOAWAY), "{what}: no GOAWAY in {received:?}");
    }
    still_serves(&hub, &service, &identity);
}

#[test]
fn unauthenticated_connections_do_not_lock_devices_out() {
    let hub = Hub::builder()
        .config("[limits]\nunauthenticated_connections = 500\nhandshake_timeout_seconds = 60")
        .start();
    let service = Service::owner(&hub);
    let identity = service.create_device("dev1");
    let flood: Vec<_> = (0..4)
        .map(|_| {
            let name = hub.name().to_owned();
            thread::spawn(move || {
                let until = Instant::now() + Duration::from_secs(8);
                let mut connections = Vec::new();
                while Instant::now() < until {
                    connections.push(TcpStream::connect((name.as_str(), 8883)));
                    thread::sleep(Duration::from_millis(10));
                }
            })
        })
        .collect();
    // All slots are taken, and would stay taken for a minute without eviction.
    eventually("unauthenticated connections are evicted", Duration::from_secs(5), || {
        hub.metrics().contains("ferrohub_rejected_sockets_total{outcome=\"evicted\"}").then_some(())
    });
    still_serves(&hub, &service, &identity);
    for thread in flood {
        thread.join().unwrap();
    }
    eventually("the unauthenticated connections are closed", Duration::from_secs(10), || {
        (hub.open_files() < 60).then_some(())
    });
}

/// A pseudo-random number generator with a fixed seed.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        // A linear congruential generator, of which only the high bits are used.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % limit as u64).unwrap()
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

#[test]
fn every_random_request_gets_a_response_or_the_connection_closes() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let identity = service.create_device("dev1");
    let token = sas::policy_token(hub.variable("IOTHUB_CONNECTION_STRING"));
    let mut random = Numbers(2026);
    let mut answers = 0;
    for _ in 0..1500 {
        let path = random.one(&[
            "/devices/dev1",
            "/devices/%00",
            "/devices/..%2f",
            "/devices",
            "/twins/dev1/methods",
            "/twins//methods",
            "/twins/dev1/modules/m/methods",
            "/$iothub/websocket",
            "/ferrohub/policies",
            "/%f",
            "*",
            "/\u{fc}",
        ]);
        let query =
            random.one(&["", "?api-version=2021-04-12", "?api-version=%", "?top=-1&top=x", "?&&=", "?#"]);
        let verb = random.one(&["GET", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "G\u{0}T", ""]);
        let authorization = random.one(&[
            token.as_str(),
            "",
            "Bearer a.b.c",
            "SharedAccessSignature sr=%ff&sig=&se=-1",
            "Basic x",
            "\t",
        ]);
        let mut body = random
            .one(&[
                "",
                "{",
                "{}",
                "[]",
                "null",
                "\"",
                "{\"methodName\":\"m\",\"payload\":",
                "\u{fffd}",
                "{\"deviceId\":1}",
            ])
            .repeat(1 + random.below(3));
        if random.below(10) == 0 {
            body = "[".repeat(20_000);
        }
        let length = if random.below(10) == 0 { random.below(100) } else { body.len() };
        let mut request = format!(
            "{verb} {path}{query} HTTP/1.1\r\nHost: a\r\nAuthorization: {authorization}\r\nIf-Match: {}\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n{body}",
            random.one(&["*", "\"", "\"\"", "W/\"x\"", ""])
        )
        .into_bytes();
        for _ in 0..random.below(3) {
            let index = random.below(request.len());
            request[index] = u8::try_from(random.below(256)).unwrap();
        }
        let mut peer = RawTls::https(&hub);
        peer.send(&request);
        peer.shutdown();
        let answer = peer.read_to_end();
        if !answer.is_empty() {
            assert!(answer.starts_with(b"HTTP/1.1 "), "{:?}", String::from_utf8_lossy(&answer));
            assert_ne!(
                answer[9],
                b'5',
                "{:?} to {:?}",
                String::from_utf8_lossy(&answer),
                String::from_utf8_lossy(&request)
            );
            answers += 1;
        }
    }
    assert!(answers > 700, "most requests must get a response: {answers}");
    assert!(!hub.log().contains("panicked"), "{}", hub.log());
    still_serves(&hub, &service, &identity);
}
