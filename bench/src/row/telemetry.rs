//! P7: telemetry at QoS 1, persisted before it is acknowledged.

use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use bytes::Bytes;
use ferrohub_mqtt::QoS;
use ferrohub_mqtt::client::Event;
use hdrhistogram::Histogram;
use tokio::task::JoinSet;

use super::{Scale, per, registry, start};
use crate::load::amqp::AmqpLink;
use crate::load::calls::histogram;
use crate::load::device::{login, name};
use crate::load::dial::Dial;
use crate::load::mqtt::{Link, Login};
use crate::load::run_all;
use crate::report::Report;
use crate::server::nats::{self, Durability};
use crate::server::{Environment, Protocol, Server};

/// Maximum messages in flight of one device; the limit of Microsoft's clients.
const WINDOW: usize = 16;

/// Partitions of the hub's event log, by default.
const PARTITIONS: u32 = 4;

/// What is measured beside readers that have asked for events and do not read them.
const BESIDE_STALLED_READERS: &str = "all devices, beside stalled readers";

/// Time-out for PUBACK.
const PUBACK_TIMEOUT: Duration = Duration::from_secs(60);

/// A device that sends.
struct Sender {
    link: Link,
    topic: String,
}

impl Sender {
    async fn open(dial: &Dial, protocol: &Protocol, number: usize) -> anyhow::Result<Self> {
        // Any filter will do, but a broker must not send the device its own messages.
        let filter = match protocol {
            Protocol::Hub { .. } => "$iothub/methods/POST/#".to_owned(),
            _ => format!("methods/{}", name(number)),
        };
        let link = Link::open(dial, &login(protocol, number), &filter, false).await?;
        Ok(Self { link, topic: format!("devices/{}/messages/events/", name(number)) })
    }

    /// Keeps `window` messages in flight for `time`, then waits for the remaining acknowledgements.
    async fn send(
        mut self,
        window: usize,
        time: Duration,
        payload: Bytes,
    ) -> anyhow::Result<(Self, Histogram<u64>)> {
        let mut latencies = histogram()?;
        let begun = Instant::now();
        let mut sent = std::collections::VecDeque::with_capacity(window);
        loop {
            while sent.len() < window && begun.elapsed() < time {
                self.link.publish_qos1(format_args!("{}", self.topic), payload.clone())?;
                sent.push_back(Instant::now());
            }
            let Some(since) = sent.pop_front() else { return Ok((self, latencies)) };
            // Servers acknowledge in the order of sending.
            match tokio::time::timeout(PUBACK_TIMEOUT, self.link.next()).await?? {
                Event::PubAck(_) => latencies.saturating_record(since.elapsed().as_micros() as u64),
                other => bail!("expected PUBACK, got {other:?}"),
            }
        }
    }
}

/// Creates a subscription of an offline reader. Without a subscription, a broker does not store messages.
async fn subscribe_offline_reader(server: &Server, dial: &Dial) -> anyhow::Result<()> {
    if matches!(server.protocol, Protocol::Broker { .. }) {
        let login = Login { client_id: "reader".to_owned(), ..Login::default() };
        drop(Link::open_with_qos(dial, &login, "devices/#", QoS::AtLeastOnce, true).await?);
    }
    Ok(())
}

async fn measure(
    server: &Server,
    senders: &mut Vec<Sender>,
    window: usize,
    scale: &Scale,
) -> anyhow::Result<(u64, Duration, f64, Histogram<u64>)> {
    let payload = Bytes::from(vec![b'x'; scale.payload]);
    let time = Duration::from_secs(scale.seconds);
    let (cpu, begun) = (server.cpu()?, Instant::now());
    let mut tasks = JoinSet::new();
    for sender in senders.drain(..) {
        tasks.spawn(sender.send(window, time, payload.clone()));
    }
    let mut latencies = histogram()?;
    while let Some(result) = tasks.join_next().await {
        let (sender, more) = result??;
        latencies.add(more)?;
        senders.push(sender);
    }
    ensure!(!latencies.is_empty(), "no message was acknowledged");
    let took = begun.elapsed();
    let cpu = per(server.cpu()? - cpu, latencies.len());
    Ok((latencies.len(), took, cpu, latencies))
}

async fn open(
    server: &Server,
    environment: &Environment,
    devices: usize,
) -> anyhow::Result<(Vec<Sender>, Vec<Sender>)> {
    let dial = server.dial(&environment.pki, false)?;
    registry::register(server, &dial, devices + 1).await?;
    subscribe_offline_reader(server, &dial).await?;
    let one = Sender::open(&dial, &server.protocol, devices).await?;
    let many = (0..devices).map(|number| {
        let (dial, protocol) = (dial.clone(), server.protocol.clone());
        async move { Sender::open(&dial, &protocol, number).await }
    });
    Ok((run_all(32, many).await?, vec![one]))
}

/// Opens a reader of each partition that takes nothing, if `what` is measured beside such readers. Returns `None` if the server has
/// no such readers.
async fn stalled_readers(
    server: &Server,
    environment: &Environment,
    what: &str,
) -> anyhow::Result<Option<Vec<AmqpLink>>> {
    if what != BESIDE_STALLED_READERS {
        return Ok(Some(Vec::new()));
    }
    let Protocol::Hub { host, amqp: Some((address, (user, password))), .. } = &server.protocol else {
        return Ok(None);
    };
    let dial = Dial { address: *address, tls: environment.pki.client(false)? };
    let mut readers = Vec::new();
    for partition in 0..PARTITIONS {
        let mut reader = AmqpLink::open(&dial, user, password).await?;
        let _ =
            reader.receive_from(&format!("{host}/ConsumerGroups/$Default/Partitions/{partition}")).await?;
        reader.flush().await?;
        readers.push(reader);
    }
    Ok(Some(readers))
}

/// P7: the hub, and NATS with JetStream and its MQTT listener, synced and with defaults.
pub(crate) async fn telemetry(environment: &Environment, scale: &Scale, report: &mut Report) {
    let mut servers = start(&["ferrohub".to_owned()], environment, report).await;
    for durability in [Durability::Always, Durability::Default] {
        match nats::start_mqtt(environment, durability).await {
            Ok(server) => {
                report.add_server(server.name, &server.version);
                servers.push(server);
            }
            Err(error) => report.add_missing(format!("P7 {durability:?}: {error:#}")),
        }
    }
    let mut benches = Vec::new();
    for server in servers {
        match open(&server, environment, scale.devices).await {
            Ok((many, one)) => benches.push(Some((server, many, one))),
            Err(error) => report.add_missing(format!("P7 {}: {error:#}", server.name)),
        }
    }
    // The first round warms up.
    for round in 0..=scale.rounds {
        for entry in &mut benches {
            let Some((server, many, one)) = entry else { continue };
            let mut failed = None;
            for (what, window) in [
                ("all devices, one under way each", 1),
                ("one device, 16 under way", WINDOW),
                (BESIDE_STALLED_READERS, 1),
            ] {
                let senders = if window == 1 { &mut *many } else { &mut *one };
                let stalled = match stalled_readers(server, environment, what).await {
                    Ok(Some(readers)) => readers,
                    // Only the hub has readers that others must not wait for.
                    Ok(None) => continue,
                    Err(error) => {
                        failed = Some(error);
                        continue;
                    }
                };
                let measured = measure(server, senders, window, scale).await;
                drop(stalled);
                match measured {
                    Ok(_) if round == 0 => {}
                    Ok((count, took, cpu, latencies)) => {
                        let rate = count as f64 / took.as_secs_f64();
                        let mut add = |figure: &str, sample| {
                            report.add("P7", &format!("{what}: {figure}"), server.name, None, sample);
                        };
                        add("messages per second", rate);
                        add("CPU per message, µs", cpu);
                        add("p50, ms", latencies.value_at_quantile(0.5) as f64 / 1e3);
                        add("p99, ms", latencies.value_at_quantile(0.99) as f64 / 1e3);
                        eprintln!("P7 {} {what}: {rate:.0}/s, {cpu:.1} µs CPU", server.name);
                    }
                    Err(error) => failed = Some(error),
                }
            }
            if let Some(error) = failed {
                report.add_missing(format!("P7 {}: {error:#}", server.name));
                *entry = None;
            }
        }
    }
}
