//! A client that is refused, or that refuses the hub, leaves a line in the log at INFO: who, why, and what to do.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use ferrohub_acceptance::raw_connect::{Connect, Outcome};
use ferrohub_acceptance::raw_tls::{RawTls, connect_packet, packet};
use ferrohub_acceptance::{Hub, HubBuilder, Script, Service, certificate, eventually, sas};
use serde_json::{Value, json};

const HANDSHAKE_FAILED: &str = "TLS handshake failed";
const CONNECT_REFUSED: &str = "connect refused";

fn builder() -> HubBuilder {
    Hub::builder().config("[log]\nformat = \"json\"")
}

/// Returns the lines of the log at INFO with this message, and checks that the guide to troubleshooting has their reasons.
#[track_caller]
fn lines(hub: &Hub, message: &str) -> Vec<Value> {
    let log = hub.log();
    let lines: Vec<Value> = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|line| line["message"] == message && line["level"] != "DEBUG")
        .collect();
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/how-to/troubleshoot-clients.md");
    let guide = fs::read_to_string(guide).unwrap();
    for line in &lines {
        let reason = line["reason"].as_str().unwrap_or_else(|| panic!("no reason: {line}"));
        assert!(guide.contains(&format!("`{reason}`")), "the guide lacks {reason}");
    }
    lines
}

/// Returns the last line with this message, and checks that it has this reason, a peer, an error and this remedy.
#[track_caller]
fn expect_line(hub: &Hub, message: &str, reason: &str, remedy: &str) -> Value {
    let lines = lines(hub, message);
    let line = lines.last().unwrap_or_else(|| panic!("no line for {reason}: {}", hub.log())).clone();
    assert_eq!(line["reason"], reason, "{line}");
    let peer: SocketAddr = line["peer"].as_str().expect("a peer").parse().unwrap();
    assert!(peer.ip().is_loopback() && peer.port() > 0, "{line}");
    assert!(line["remedy"].as_str().expect("a remedy").contains(remedy), "{line}");
    line
}

fn address(hub: &Hub, port: u16) -> SocketAddr {
    SocketAddr::new(hub.name().parse::<IpAddr>().unwrap(), port)
}

/// Sends bytes without TLS, and reads until the hub closes the connection.
#[track_caller]
fn send_plain(hub: &Hub, port: u16, bytes: &[u8]) {
    let mut stream = TcpStream::connect(address(hub, port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
    stream.write_all(bytes).unwrap();
    let _ = stream.read_to_end(&mut Vec::new());
}

#[track_caller]
fn client(hub: &Hub, mut config: Value) -> Value {
    config["host"] = hub.name().into();
    let output =
        Script::new(hub, "refused_client.py").arg(config.to_string()).output(Duration::from_secs(60));
    serde_json::from_str(&output).expect("a JSON line")
}

#[test]
fn a_client_that_refuses_the_certificate_of_the_hub_is_in_the_log() {
    let hub = builder().start();
    for (port, protocol) in [(8883, "mqtt"), (443, "https")] {
        let result = client(&hub, json!({ "mode": "untrusting", "port": port }));
        assert!(result["error"].as_str().unwrap().contains("CERTIFICATE_VERIFY_FAILED"), "{result}");
        let line = expect_line(&hub, HANDSHAKE_FAILED, "untrusted_ca", "`ferrohub ca export`");
        assert_eq!((&line["protocol"], &line["level"]), (&json!(protocol), &json!("INFO")));
        client(&hub, json!({ "mode": "other-name", "port": port }));
        let reason = "certificate_refused_by_client";
        expect_line(&hub, HANDSHAKE_FAILED, reason, "a name that the hub's certificate does not have");
        // Node.js verifies the certificate when the handshake is done on its side, and sends no alert.
        let (closed, reason) = match port {
            8883 => ("connection closed before CONNECT", "closed_before_connect"),
            _ => ("HTTPS connection closed before its first request", "closed_before_request"),
        };
        let count = || lines(&hub, HANDSHAKE_FAILED).len() + lines(&hub, closed).len();
        let before = count();
        let argument = json!({ "host": hub.name(), "port": port }).to_string();
        let script = Script::node(&hub, "untrusting_client.js").arg(argument);
        let output: Value = serde_json::from_str(&script.output(Duration::from_secs(60))).unwrap();
        assert_ne!(output["code"], "trusted");
        assert_eq!(count(), before + 1);
        let mut closing = if port == 8883 { RawTls::mqtt(&hub) } else { RawTls::https(&hub) };
        closing.shutdown();
        closing.read_to_end();
        expect_line(&hub, closed, reason, "`ferrohub ca export`");
    }
    assert!(hub.metric("ferrohub_rejected_sockets_total", "untrusted_ca") >= 2.0);
}

#[test]
fn plain_tcp_and_http_on_the_tls_ports_are_in_the_log() {
    let hub = builder().start();
    for port in [8883, 443] {
        for (bytes, reason, error, remedy) in [
            (&b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..], "http_without_tls", "HTTP without TLS", "https://"),
            (&connect_packet("a", "b", "c", 60), "mqtt_without_tls", "MQTT without TLS", "TLS on"),
            (b"AMQP\x03\x01\0\0", "no_tls", "not TLS", "TLS"),
        ] {
            send_plain(&hub, port, bytes);
            let line = expect_line(&hub, HANDSHAKE_FAILED, reason, remedy);
            assert!(line["error"].as_str().unwrap().contains(error), "{line}");
        }
    }
    // A check of a load balancer is no line.
    let before = lines(&hub, HANDSHAKE_FAILED).len();
    drop(TcpStream::connect(address(&hub, 8883)).unwrap());
    eventually("the connection is counted", Duration::from_secs(10), || {
        (hub.metric("ferrohub_rejected_sockets_total", "nothing_sent") >= 1.0).then_some(())
    });
    assert_eq!(lines(&hub, HANDSHAKE_FAILED).len(), before);
    // MQTT with TLS, but on the port of HTTPS, and the other way round.
    let mut peer = RawTls::https(&hub);
    peer.send(&connect_packet("a", "b", "c", 60));
    peer.read_to_end();
    let message = "HTTPS connection closed before its first request";
    expect_line(&hub, message, "malformed_request", "MQTT on the port of listen.mqtt");
    let mut peer = RawTls::mqtt(&hub);
    peer.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    peer.read_to_end();
    expect_line(&hub, CONNECT_REFUSED, "malformed_packet", "MQTT 3.1.1");
}

#[test]
fn a_handshake_that_the_hub_refuses_is_in_the_log() {
    let hub = builder().config("[limits]\nhandshake_timeout_seconds = 1").start();
    client(&hub, json!({ "mode": "old-tls", "port": 8883 }));
    expect_line(&hub, HANDSHAKE_FAILED, "tls_version", "TLS 1.2 or 1.3");
    client(&hub, json!({ "mode": "old-cipher", "port": 8883 }));
    expect_line(&hub, HANDSHAKE_FAILED, "no_common_cipher", "ECDHE");
    // More certificates than the hub accepts.
    let files = certificate::self_signed(hub.folder(), "a", certificate::Validity::Valid);
    let chain = hub.folder().join("chain.pem");
    fs::write(&chain, fs::read_to_string(&files.certificate).unwrap().repeat(9)).unwrap();
    client(&hub, json!({ "mode": "certificate", "port": 8883, "cert_file": chain, "key_file": files.key }));
    let line = expect_line(&hub, HANDSHAKE_FAILED, "certificate_chain", "between it and its authority");
    assert!(line["error"].as_str().unwrap().contains("more than 8 certificates"), "{line}");
    // Says nothing.
    let mut silent = TcpStream::connect(address(&hub, 8883)).unwrap();
    let _ = silent.read_to_end(&mut Vec::new());
    let line = expect_line(&hub, HANDSHAKE_FAILED, "handshake_timeout", "ClientHello");
    assert!(line["error"].as_str().unwrap().contains("within 1 s"), "{line}");
    assert_eq!(line["peer"], silent.local_addr().unwrap().to_string());
}

#[test]
fn clients_of_other_versions_of_mqtt_are_in_the_log() {
    let hub = builder().start();
    client(&hub, json!({ "mode": "mqtt5", "port": 8883 }));
    let line = expect_line(&hub, CONNECT_REFUSED, "mqtt_version", "MQTT 5");
    assert!(line["remedy"].as_str().unwrap().contains("3.1.1"), "{line}");
    client(&hub, json!({ "mode": "mqtt31", "port": 8883 }));
    expect_line(&hub, CONNECT_REFUSED, "mqtt_version", "MQTT 3.1:");
}

#[test]
fn a_refused_connect_is_in_the_log() {
    let hub = builder().config("[limits]\nconnect_timeout_seconds = 2").start();
    let identity = Service::owner(&hub).create_device("dev1");
    let host = hub.name();
    let token = |expiry| {
        let resource = &format!("{host}/devices/dev1");
        sas::Token { resource, key: &identity.primary_key, expiry, policy: None }.sign()
    };
    let connect = |id: &'static str| Connect::device(&hub, id);
    let user = |username: &str| Connect { username: username.to_owned(), ..connect("dev1") };
    for (attempt, code, reason, remedy) in [
        (connect("a\u{1}b"), 2, "invalid_client_id", "{device id}/{module id}"),
        (user("x"), 4, "invalid_username", "{host name of the hub}/{client id}"),
        (user(&format!("{host}/other/")), 5, "other_identity", "the same id"),
        (user("other.example/dev1/"), 5, "other_host", "HostName"),
        (connect("nobody").password(token(sas::now() + 60)), 5, "unknown_identity", "ferrohub device create"),
        (connect("dev1"), 5, "no_credential", "SAS token"),
        (connect("dev1").password("x"), 5, "malformed_token", "SharedAccessSignature"),
        (connect("dev1").password(token(sas::now() - 60)), 5, "expired", "clocks"),
        (
            connect("dev1").password(token(sas::now() + 60).replace("sig=", "sig=AAAA")),
            5,
            "bad_signature",
            "key",
        ),
    ] {
        let client_id = attempt.client_id;
        assert_eq!(attempt.run(&hub), Outcome::Connack(code), "{reason}");
        let line = expect_line(&hub, CONNECT_REFUSED, reason, remedy);
        let id = line["device"].as_str().or(line["client_id"].as_str());
        assert_eq!(id, Some(client_id), "{line}");
        assert!(line["error"].as_str().is_some_and(|error| !error.is_empty()), "{line}");
        assert!(hub.metric("ferrohub_connects_total", reason) >= 1.0);
    }
    // A CONNECT that never comes.
    RawTls::mqtt(&hub).read_to_end();
    expect_line(&hub, CONNECT_REFUSED, "connect_timeout", "send CONNECT");
}

#[test]
fn a_protocol_error_says_what_the_device_did() {
    let hub = builder().start();
    let identity = Service::owner(&hub).create_device("dev1");
    let resource = format!("{}/devices/dev1", hub.name());
    let token = sas::Token {
        resource: &resource,
        key: &identity.primary_key,
        expiry: sas::now() + 600,
        policy: None,
    };
    let username = format!("{}/dev1/?api-version=2021-04-12", hub.name());
    let connect = connect_packet("dev1", &username, &token.sign(), 60);
    let publish = |first, topic: &str, rest: &[u8]| {
        let mut body = u16::try_from(topic.len()).unwrap().to_be_bytes().to_vec();
        body.extend(topic.as_bytes());
        body.extend(rest);
        packet(first, &body)
    };
    let long = format!("devices/other/{}", "x".repeat(4000));
    for (message, reason, topic, bytes) in [
        ("protocol error", "unsupported_topic", "hello", publish(0x30, "hello", b"")),
        ("protocol error", "malformed_method_topic", "$iothub/methods/res/200/", {
            publish(0x30, "$iothub/methods/res/200/", b"{}")
        }),
        ("protocol error", "malformed_twin_topic", "$iothub/twin/DELETE/?$rid=1", {
            publish(0x30, "$iothub/twin/DELETE/?$rid=1", b"")
        }),
        ("message refused", "wrong_topic", &long[..128], publish(0x30, &long, b"")),
        ("protocol error", "qos2", "", publish(0x34, "a", b"\0\x01")),
        ("protocol error", "second_connect", "", connect.clone()),
        ("protocol error", "empty_topic", "", publish(0x30, "", b"")),
        ("protocol error", "malformed_packet", "", vec![0xC1, 0]),
    ] {
        let mut peer = RawTls::mqtt(&hub);
        peer.send(&connect);
        assert_eq!(peer.read(4), [0x20, 2, 0, 0]);
        peer.send(&bytes);
        assert_eq!(peer.read_to_end(), b"", "{reason}");
        let line = expect_line(&hub, message, reason, "");
        assert_eq!(line["device"], "dev1", "{line}");
        assert_eq!(line["topic"].as_str().unwrap_or_default(), topic, "{line}");
        assert!(line["error"].is_string(), "{line}");
    }
}

#[test]
fn a_refused_request_is_in_the_log_with_peer_and_policy() {
    let hub = builder().with_development_issuer().start();
    let service = Service::owner(&hub);
    let identity = service.create_device("dev1");
    let message = "service request refused";
    let owner = sas::policy_token(hub.variable("IOTHUB_CONNECTION_STRING"));
    let get = |token: Option<&str>| service.http("GET", "/devices/dev1", token, None).status;
    assert_eq!(get(None), 401);
    let line = expect_line(&hub, message, "no_token", "Authorization");
    assert_eq!((&line["operation"], &line["policy"]), (&json!("getDevice"), &Value::Null));
    assert_eq!(get(Some(&owner.replace("sig=", "sig=AAAA"))), 401);
    let line = expect_line(&hub, message, "bad_signature", "connection string");
    assert_eq!(line["policy"], "iothubowner");
    // The name is a claim of the peer: it is cut off.
    let other = owner.replace("iothubowner", &"n".repeat(2000));
    assert_eq!(get(Some(&other)), 401);
    let line = expect_line(&hub, message, "unknown_policy", "ferrohub policy list");
    assert_eq!(line["policy"], "n".repeat(128));
    let resource = format!("{}/devices/dev1", hub.name());
    let key = &identity.primary_key;
    let device = sas::Token { resource: &resource, key, expiry: sas::now() + 60, policy: None }.sign();
    assert_eq!(get(Some(&device)), 401);
    expect_line(&hub, message, "no_policy", "shared access policy");
    // A device.
    let send = |token: &str| {
        service.http("POST", "/devices/dev1/messages/events?api-version=2020-03-13", Some(token), Some("1"))
    };
    assert_eq!(send(&device.replace("sig=", "sig=AAAA")).status, 401);
    let line = expect_line(&hub, "device request refused", "bad_signature", "connection string");
    assert_eq!(line["device"], "dev1");
    // A wrong secret of the development issuer.
    let token = format!("/{}/oauth2/v2.0/token", hub.variable("AZURE_TENANT_ID"));
    let form = "grant_type=client_credentials&client_id=a&client_secret=b&scope=x";
    let headers = json!({ "Content-Type": "application/x-www-form-urlencoded" });
    assert_eq!(service.http_with("POST", &token, headers, Some(form)).status, 401);
    let message = "the development issuer rejected a client id or client secret";
    expect_line(&hub, message, "wrong_client", "AZURE_CLIENT_SECRET");
}

#[test]
fn peers_cannot_fill_the_log() {
    let hub = builder().start();
    for _ in 0..100 {
        send_plain(&hub, 8883, b"GET / HTTP/1.1\r\n\r\n");
        send_plain(&hub, 443, b"hello");
    }
    eventually("all are counted", Duration::from_secs(10), || {
        let count = |reason| hub.metric("ferrohub_rejected_sockets_total", reason);
        (count("http_without_tls") == 100.0 && count("no_tls") == 100.0).then_some(())
    });
    let written = lines(&hub, HANDSHAKE_FAILED);
    // One more line per ten seconds: the test takes less than 100.
    assert!((20..40).contains(&written.len()), "{}", written.len());
    let reported: u64 = eventually("the next line has the number", Duration::from_secs(30), || {
        send_plain(&hub, 8883, b"GET / HTTP/1.1\r\n\r\n");
        let lines = lines(&hub, HANDSHAKE_FAILED);
        let suppressed = lines.iter().filter_map(|line| line["suppressed"].as_u64());
        Some(suppressed.sum()).filter(|sum| *sum > 0)
    });
    assert!(reported >= 60, "{reported}");
}
