//! The MQTT state machine of the hub, in the state of a connected device.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use anyhow::ensure;
use bytes::BytesMut;
use ferrohub_model::topic;
use ferrohub_mqtt::QoS;
use ferrohub_mqtt::server::{Config, Connection, Event};

/// Returns CONNECT as IoT Hub devices send it: client id, user name, and a token, which is not checked here.
fn connect_packet() -> Vec<u8> {
    let fields = ["bench-1", "localhost/bench-1/?api-version=2021-04-12", "SharedAccessSignature sr=x"];
    let mut body = b"\x00\x04MQTT\x04\xc0\x00\xf0".to_vec();
    for field in fields {
        body.extend_from_slice(&(field.len() as u16).to_be_bytes());
        body.extend_from_slice(field.as_bytes());
    }
    [&[0x10, body.len() as u8], body.as_slice()].concat()
}

fn connected() -> anyhow::Result<Connection> {
    let now = Instant::now();
    let mut machine = Connection::new(Arc::new(Config::default()), now);
    machine.handle_input(&connect_packet(), now)?;
    ensure!(matches!(machine.poll_event(), Some(Event::Connect(_))), "no CONNECT");
    machine.accept(false, now)?;
    let mut output = BytesMut::new();
    machine.poll_transmit(&mut output);
    ensure!(machine.is_connected() && machine.poll_event().is_none(), "not connected");
    Ok(machine)
}

/// Sends method requests to a device.
pub(crate) fn request_out(count: u32) -> anyhow::Result<()> {
    let mut machine = connected()?;
    let payload = [b'x'; 128];
    for number in 0..count {
        let topic = topic::MethodRequest { name: "echo", request_id: &format_args!("{number:012x}") };
        machine.publish(topic, QoS::AtMostOnce, black_box(&payload))?;
        let mut output = BytesMut::new();
        machine.poll_transmit(&mut output);
        ensure!(black_box(output).len() > payload.len(), "nothing to send");
    }
    Ok(())
}

/// Receives method responses of a device, from bytes to the parsed topic.
pub(crate) fn response_in(count: u32) -> anyhow::Result<()> {
    let mut machine = connected()?;
    let topic = b"$iothub/methods/res/200/?$rid=123456789abc";
    let remaining = 2 + topic.len() + 128;
    let mut packet = vec![0x30, remaining as u8 | 0x80, (remaining >> 7) as u8, 0, topic.len() as u8];
    packet.extend_from_slice(topic);
    packet.resize(packet.len() + 128, b'x');
    let now = Instant::now();
    for _ in 0..count {
        machine.handle_input(black_box(&packet), now)?;
        let Some(Event::Publish(publish)) = machine.poll_event() else { anyhow::bail!("no PUBLISH") };
        ensure!(machine.poll_event().is_none(), "more than one event");
        let parsed = topic::parse_method_response(publish.topic.as_str());
        ensure!(black_box(parsed) == Some((Some(200), "123456789abc")), "unexpected topic");
    }
    Ok(())
}

/// Responds to PINGREQ of a device.
pub(crate) fn ping(count: u32) -> anyhow::Result<()> {
    let mut machine = connected()?;
    let now = Instant::now();
    for _ in 0..count {
        machine.handle_input(black_box(b"\xc0\x00"), now)?;
        let mut output = BytesMut::new();
        machine.poll_transmit(&mut output);
        ensure!(black_box(output).as_ref() == b"\xd0\x00", "no PINGRESP");
    }
    Ok(())
}
