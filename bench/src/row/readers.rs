//! P10: stored events or messages of 256 bytes, read over AMQP 1.0 on four links.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use bytes::{Bytes, BytesMut};
use ferrohub_amqp::message::MessageEncoder;
use ferrohub_model::message::EventLogInfo;
use ferrohub_mqtt::client::Event;
use hyper::Method;
use tokio::task::JoinSet;

use super::{Scale, per, registry};
use crate::load::amqp::AmqpLink;
use crate::load::device::{login, name};
use crate::load::dial::Dial;
use crate::load::http::HttpLink;
use crate::load::mqtt::Link;
use crate::load::run_all;
use crate::report::Report;
use crate::server::{self, Environment, Protocol, Server};

/// Links, each on its own connection; the default number of partitions.
const LINKS: usize = 4;
/// Bytes of a body.
const BODY: usize = 256;
/// Events or messages on all links together.
const COUNT: u64 = 200_000;
/// Devices that send the events.
const DEVICES: usize = 64;
/// Messages in flight of one device; the limit of Microsoft's clients.
const WINDOW: usize = 16;

/// What is read on each link.
struct Partition {
    address: String,
    count: u64,
}

/// Sends events from many devices, whose partitions differ.
async fn fill_hub(server: &Server, environment: &Environment) -> anyhow::Result<Vec<Partition>> {
    let dial = server.dial(&environment.pki, false)?;
    registry::register(server, &dial, DEVICES).await?;
    let send = |number: usize| {
        let (dial, protocol) = (dial.clone(), server.protocol.clone());
        async move {
            let filter = "$iothub/methods/POST/#";
            let mut link = Link::open(&dial, &login(&protocol, number), filter, false).await?;
            let topic = format!("devices/{}/messages/events/", name(number));
            let payload = Bytes::from(vec![b'x'; BODY]);
            let (mut sent, mut acknowledged) = (0, 0);
            while acknowledged < COUNT / DEVICES as u64 {
                while sent < COUNT / DEVICES as u64 && sent - acknowledged < WINDOW as u64 {
                    link.publish_qos1(format_args!("{topic}"), payload.clone())?;
                    sent += 1;
                }
                match link.next().await? {
                    Event::PubAck(_) => acknowledged += 1,
                    other => bail!("expected PUBACK, got {other:?}"),
                }
            }
            Ok(())
        }
    };
    run_all(DEVICES, (0..DEVICES).map(send)).await?;
    let Protocol::Hub { https, token, host, .. } = &server.protocol else { bail!("not a hub") };
    let dial = Dial { address: *https, tls: environment.pki.client(false)? };
    let mut http = HttpLink::open(&dial, token).await?;
    let body = http.send(Method::GET, "/messages/events/partitions", Bytes::new()).await?;
    let info: EventLogInfo = serde_json::from_slice(&body)?;
    let partition = |state: &ferrohub_model::message::Partition| Partition {
        address: format!("{host}/ConsumerGroups/$Default/Partitions/{}", state.partition),
        count: state.next_sequence_number,
    };
    Ok(info.partitions.iter().map(partition).collect())
}

/// Fills a queue for each link.
async fn fill_broker(dial: &Dial, credentials: &(String, String)) -> anyhow::Result<Vec<Partition>> {
    let mut message = BytesMut::new();
    MessageEncoder::new(&mut message).data(&[b'x'; BODY]);
    let mut partitions = Vec::new();
    for number in 0..LINKS {
        let address = format!("/queue/events-{number}");
        let mut sender = AmqpLink::open(dial, &credentials.0, &credentials.1).await?;
        let link = sender.send_to(&address).await?;
        let count = COUNT / LINKS as u64;
        for _ in 0..count {
            sender.send(link, &message).await?;
        }
        sender.flush().await?;
        partitions.push(Partition { address, count });
    }
    Ok(partitions)
}

/// Reads everything; returns the events per second and the processor time of each in microseconds.
async fn read(
    server: &Server,
    dial: &Dial,
    (user, password): &(String, String),
    partitions: &[Partition],
) -> anyhow::Result<(f64, f64)> {
    let mut links = Vec::new();
    for _ in partitions {
        links.push(AmqpLink::open(dial, user, password).await?);
    }
    let (cpu, begun) = (server.cpu()?, Instant::now());
    let mut tasks = JoinSet::new();
    for (mut link, partition) in links.into_iter().zip(partitions) {
        let (address, count) = (partition.address.clone(), partition.count);
        tasks.spawn(async move {
            let _ = link.receive_from(&address).await?;
            link.receive(count).await
        });
    }
    while let Some(result) = tasks.join_next().await {
        result??;
    }
    let total: u64 = partitions.iter().map(|partition| partition.count).sum();
    let rate = total as f64 / begun.elapsed().as_secs_f64();
    Ok((rate, per(server.cpu()? - cpu, total)))
}

async fn measure(
    name: &str,
    environment: &Environment,
    scale: &Scale,
    report: &mut Report,
) -> anyhow::Result<()> {
    let server = match name {
        "ferrohub" => server::ferrohub::start(environment).await?,
        _ => server::rabbitmq::start_amqp(environment).await?,
    };
    report.add_server(server.name, &server.version);
    let (dial, credentials) = match &server.protocol {
        Protocol::Hub { amqp: Some((address, login)), .. } => {
            (Dial { address: *address, tls: environment.pki.client(false)? }, login.clone())
        }
        Protocol::Broker { login: Some(login) } => (server.dial(&environment.pki, false)?, login.clone()),
        _ => bail!("no AMQP"),
    };
    let mut partitions = Vec::new();
    // The first round warms up.
    for round in 0..=scale.rounds {
        // Reading from a queue removes its messages; from the event log, nothing.
        if partitions.is_empty() || name != "ferrohub" {
            partitions = match name {
                "ferrohub" => fill_hub(&server, environment).await?,
                _ => fill_broker(&dial, &credentials).await?,
            };
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let (rate, cpu) = read(&server, &dial, &credentials, &partitions).await.context("reading")?;
        eprintln!("P10 {}: {rate:.0}/s, {cpu:.2} µs CPU", server.name);
        if round > 0 {
            report.add("P10", "events per second", server.name, None, rate);
            report.add("P10", "CPU per event, µs", server.name, None, cpu);
        }
    }
    Ok(())
}

/// P10: the hub, and RabbitMQ with its AMQP 1.0 plugin.
pub(crate) async fn readers(environment: &Environment, scale: &Scale, report: &mut Report) {
    for name in ["ferrohub", "rabbitmq"] {
        if let Err(error) = measure(name, environment, scale, report).await {
            report.add_missing(format!("P10 {name}: {error:#}"));
        }
    }
}
