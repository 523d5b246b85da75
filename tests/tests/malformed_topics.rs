//! Topics of devices with values that are not valid: the request is refused with a reason, and the connection stays.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use ferrohub_acceptance::raw_tls::{RawTls, connect_packet, packet};
use ferrohub_acceptance::{Hub, Identity, Method, Service};
use serde_json::{Value, json};

/// A connected device that sends any bytes.
struct RawDevice {
    peer: RawTls,
    packet_id: u8,
}

impl RawDevice {
    #[track_caller]
    fn connect(hub: &Hub, identity: &Identity, filter: &str) -> Self {
        let id = &identity.device_id;
        let token = identity.token();
        let username = format!("{}/{id}/?api-version=2021-04-12", hub.name());
        let mut peer = RawTls::mqtt(hub);
        peer.send(&connect_packet(id, &username, &token, 60));
        assert_eq!(peer.read(4), [0x20, 2, 0, 0]);
        let mut body = vec![0, 1, 0, u8::try_from(filter.len()).unwrap()];
        body.extend(filter.as_bytes());
        body.push(0);
        peer.send(&packet(0x82, &body));
        assert_eq!(peer.read(5), [0x90, 3, 0, 1, 0]);
        Self { peer, packet_id: 1 }
    }

    /// Publishes with QoS 1 and reads the PUBACK.
    #[track_caller]
    fn publish(&mut self, topic: &str, payload: &[u8]) {
        self.packet_id += 1;
        let mut body = vec![0, u8::try_from(topic.len()).unwrap()];
        body.extend(topic.as_bytes());
        body.extend([0, self.packet_id]);
        body.extend(payload);
        self.peer.send(&packet(0x32, &body));
        assert_eq!(self.peer.read(4), [0x40, 2, 0, self.packet_id], "{topic}");
    }

    /// Reads a PUBLISH with QoS 0: its topic and its payload.
    #[track_caller]
    fn receive(&mut self) -> (String, Vec<u8>) {
        assert_eq!(self.peer.read(1), [0x30]);
        let (mut length, mut shift) = (0, 0);
        loop {
            let digit = self.peer.read(1)[0];
            length |= usize::from(digit & 127) << shift;
            shift += 7;
            if digit < 128 {
                break;
            }
        }
        let body = self.peer.read(length);
        let (topic, payload) = body[2..].split_at(usize::from(body[0]) << 8 | usize::from(body[1]));
        (String::from_utf8(topic.to_vec()).unwrap(), payload.to_vec())
    }
}

#[test]
fn a_method_response_whose_status_is_not_an_integer_ends_only_its_call() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let identity = service.create_device("dev1");
    let mut device = RawDevice::connect(&hub, &identity, "$iothub/methods/POST/#");
    // Python formats the number of the application (`mqtt_topic_iothub.py`), JavaScript whatever it is given.
    for (status, expected) in [
        ("200.0", Some(200)),
        ("abc", None),
        ("2147483648", None),
        ("None", None),
        ("undefined", None),
        ("200.5", None),
        ("", None),
        ("-7", Some(-7)),
    ] {
        let call = service.begin_invoke("dev1", Method::new("m"));
        let (topic, _) = device.receive();
        let rid = topic.split_once("?$rid=").expect("a request id").1.to_owned();
        device.publish(&format!("$iothub/methods/res/{status}/?$rid={rid}"), b"[1]");
        match (call.wait(), expected) {
            (Ok(answer), Some(expected)) => {
                assert_eq!((answer.status, &answer.payload), (expected, &json!([1])), "{status}");
            }
            (Err(refused), None) => {
                assert_eq!((refused.http.status, refused.http.error_code()), (502, "GenericBadGateway"));
                let message = refused.http.nested_error()["message"].to_string();
                assert!(message.contains("status"), "{message}");
            }
            (outcome, _) => panic!("{status}: {outcome:?}"),
        }
    }
    // A response to no call at all.
    device.publish("$iothub/methods/res/abc/?$rid=1", b"");
    let metrics = hub.metrics();
    assert!(metrics.contains("ferrohub_method_calls_total{outcome=\"bad_response\"} 6"), "{metrics}");
    assert!(metrics.contains("ferrohub_unmatched_method_responses_total 1"), "{metrics}");
    assert!(metrics.contains("ferrohub_connections 1"), "{metrics}");
}

#[test]
fn a_reported_patch_with_an_invalid_version_gets_an_error_response() {
    let hub = Hub::start();
    let service = Service::owner(&hub);
    let identity = service.create_device("dev1");
    let mut device = RawDevice::connect(&hub, &identity, "$iothub/twin/res/#");
    for version in ["abc", "-1", "18446744073709551616", "1.0", ""] {
        let topic = format!("$iothub/twin/PATCH/properties/reported/?$rid=r1&$version={version}");
        device.publish(&topic, br#"{"a":1}"#);
        let (topic, payload) = device.receive();
        assert_eq!(topic, "$iothub/twin/res/400/?$rid=r1", "{version}");
        let error: Value = serde_json::from_slice(&payload).unwrap();
        assert_eq!(error["errorCode"], 400_004, "{error}");
        assert!(error["message"].as_str().unwrap().contains("$version"), "{error}");
    }
    device.publish("$iothub/twin/PATCH/properties/reported/?$rid=r2&$version=1", br#"{"a":1}"#);
    assert_eq!(device.receive().0, "$iothub/twin/res/204/?$rid=r2&$version=2");
}
