//! Whole requests through the gateway's REST and MQTT endpoints, from the bytes of the request to the bytes of the response.
//! Included are HTTP, routing, authorization, MQTT and `ferrohub-core`; sockets, TLS and the store are not.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::{Bytes, BytesMut};
use ferrohub_gateway::{AmqpLimits, GatewayLimits, GatewayMetrics, InMemoryGateway, MqttLimits};
use ferrohub_model::{sas, topic};
use ferrohub_mqtt::{Connect, Packet, PacketId, Publish, QoS, Subscribe, Utf8};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use crate::hub::{self, Started};

/// Fits every request and response.
const BUFFER_SIZE: usize = 4096;

/// A method call: HTTP request, MQTT request, MQTT response, HTTP response.
pub(crate) fn method_call(count: u32) -> anyhow::Result<()> {
    run(async |endpoints| {
        let mut device = endpoints.connect_device().await?;
        exchange(&mut device, &subscribe_packet()?, b"\x90\x03\x00\x01\x00", b"").await?;
        let answering = tokio::spawn(answer_methods(device));
        let payload = format!("\"{}\"", "x".repeat(126));
        let body =
            format!("{{\"methodName\":\"echo\",\"payload\":{payload},\"responseTimeoutInSeconds\":30}}");
        let response = format!("{{\"status\":200,\"payload\":{payload}}}");
        endpoints.send_requests(count, "POST", "/methods", &body, &response).await?;
        answering.abort();
        Ok(())
    })
}

/// A read of a twin, which passes the router.
pub(crate) fn twin_get(count: u32) -> anyhow::Result<()> {
    run(async |endpoints| endpoints.send_requests(count, "GET", "", "", r#""parentScopes":[]}"#).await)
}

/// A telemetry message and its acknowledgement.
pub(crate) fn telemetry(count: u32) -> anyhow::Result<()> {
    run(async |endpoints| {
        let mut device = endpoints.connect_device().await?;
        let publish = encode(&Packet::Publish(Publish {
            dup: false,
            qos: QoS::AtLeastOnce,
            retain: false,
            topic: "devices/bench-1/messages/events/$.ct=application%2Fjson&$.ce=utf-8&level=3".try_into()?,
            packet_id: Some(PacketId::FIRST),
            payload: Bytes::from(vec![b'x'; 128]),
        }))?;
        for _ in 0..count {
            exchange(&mut device, &publish, b"\x40\x02\x00\x01", b"").await?;
        }
        Ok(())
    })
}

/// The gateway, and the credentials of its clients.
struct Endpoints {
    gateway: InMemoryGateway,
    service_token: String,
    device_token: String,
}

fn run(path: impl AsyncFnOnce(&Endpoints) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    runtime.block_on(async { path(&Endpoints::start().await?).await })
}

impl Endpoints {
    async fn start() -> anyhow::Result<Self> {
        let Started { hub, key, .. } = hub::start().await?;
        let resource = format!("localhost/devices/{}", hub::DEVICE);
        Ok(Self {
            service_token: sas::sign("localhost", &key, Some(hub::POLICY), hub::LATER),
            device_token: sas::sign(&resource, &key, None, hub::LATER),
            gateway: InMemoryGateway::new(hub, &limits(), GatewayMetrics::default()),
        })
    }

    /// Connects the device.
    async fn connect_device(&self) -> anyhow::Result<DuplexStream> {
        let mut device = self.gateway.connect_mqtt().await.context("too many connections")?;
        let username = format!("localhost/{}/?api-version=2021-04-12", hub::DEVICE);
        let connect = encode(&Packet::Connect(Box::new(Connect {
            client_id: hub::DEVICE.try_into()?,
            clean_session: true,
            keep_alive: 240,
            username: Some(Utf8::try_from(username)?),
            password: Some(self.device_token.clone().into()),
            will: None,
        })))?;
        exchange(&mut device, &connect, b"\x20\x02\x00\x00", b"").await?;
        Ok(device)
    }

    /// Sends the same request `count` times on one connection. `path` is the path below that of the twin; each response
    /// must end with `response`.
    async fn send_requests(
        &self,
        count: u32,
        method: &str,
        path: &str,
        body: &str,
        response: &str,
    ) -> anyhow::Result<()> {
        let mut service = self.gateway.connect_http().await.context("too many connections")?;
        let request = format!(
            "{method} /twins/{}{path}?api-version=2021-04-12 HTTP/1.1\r\nHost: localhost\r\n\
             Authorization: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            hub::DEVICE,
            self.service_token,
            body.len()
        );
        for _ in 0..count {
            exchange(&mut service, request.as_bytes(), b"HTTP/1.1 200 OK\r\n", response.as_bytes()).await?;
        }
        Ok(())
    }
}

/// Sends `request` and waits for a response with this start and end.
async fn exchange(stream: &mut DuplexStream, request: &[u8], start: &[u8], end: &[u8]) -> anyhow::Result<()> {
    stream.write_all(request).await?;
    let mut buffer = [0; BUFFER_SIZE];
    let length = stream.read(&mut buffer).await?;
    let response = buffer.get(..length).unwrap_or_default();
    ensure!(
        response.starts_with(start) && response.ends_with(end),
        "unexpected response: {}",
        response.escape_ascii()
    );
    Ok(())
}

/// Answers each method request with its payload, like a device.
async fn answer_methods(mut stream: DuplexStream) -> io::Result<()> {
    const REQUEST_TOPIC: &[u8] = b"$iothub/methods/POST/echo/?$rid=";
    const RESPONSE_TOPIC: &[u8] = b"$iothub/methods/res/200/?$rid=";
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    let mut buffer = [0; BUFFER_SIZE];
    let mut response = Vec::new();
    loop {
        let length = stream.read(&mut buffer).await?;
        let request = buffer.get(..length).unwrap_or_default();
        let [_, _, _, high, low, rest @ ..] = request else { return Err(invalid()) };
        let topic_length = usize::from(u16::from_be_bytes([*high, *low]));
        let (topic, payload) = rest.split_at_checked(topic_length).ok_or_else(invalid)?;
        let request_id = topic.strip_prefix(REQUEST_TOPIC).ok_or_else(invalid)?;
        let topic_length = RESPONSE_TOPIC.len() + request_id.len();
        let remaining = 2 + topic_length + payload.len();
        response.clear();
        response.extend_from_slice(&[
            0x30,
            remaining as u8 | 0x80,
            (remaining >> 7) as u8,
            0,
            topic_length as u8,
        ]);
        response.extend_from_slice(RESPONSE_TOPIC);
        response.extend_from_slice(request_id);
        response.extend_from_slice(payload);
        stream.write_all(&response).await?;
    }
}

fn subscribe_packet() -> anyhow::Result<BytesMut> {
    let filters = vec![(topic::METHODS_FILTER.try_into()?, QoS::AtMostOnce)];
    encode(&Packet::Subscribe(Subscribe { packet_id: PacketId::FIRST, filters }))
}

fn encode(packet: &Packet) -> anyhow::Result<BytesMut> {
    let mut bytes = BytesMut::new();
    ferrohub_mqtt::encode(packet, &mut bytes)?;
    Ok(bytes)
}

/// The limits of a hub without configuration, as far as they matter here.
fn limits() -> GatewayLimits {
    let protocol = ferrohub_mqtt::server::Config {
        limits: ferrohub_mqtt::Limits { wildcards_in_topics: true, ..ferrohub_mqtt::Limits::default() },
        ..ferrohub_mqtt::server::Config::default()
    };
    GatewayLimits {
        connections: 100,
        unauthenticated_connections: 100,
        handshake_timeout: Duration::from_secs(10),
        amqp: AmqpLimits::new(Duration::from_secs(60), Duration::from_secs(60)),
        mqtt: MqttLimits { protocol: Arc::new(protocol), write_timeout: Duration::from_secs(60) },
        http_body_bytes: 1024 * 1024,
        http_request_timeout: Duration::from_secs(60),
        https_write_timeout: Duration::from_secs(60),
        https_connections_per_caller: 100,
        amqp_connections_per_caller: 100,
        file_transfers: 100,
        file_transfers_per_device: 100,
        file_idle_timeout: Duration::from_secs(60),
    }
}
