//! P12: messages to devices over AMQP 1.0, persisted before they are accepted, and the memory of idle connections.
//!
//! RabbitMQ receives persistent messages into durable queues, one for each device.

use std::time::{Duration, Instant};

use anyhow::bail;
use bytes::BytesMut;
use ferrohub_amqp::message::{Header, MessageEncoder, Properties};

use super::{Scale, per, start};
use crate::load::amqp::AmqpLink;
use crate::load::device::name;
use crate::load::dial::Dial;
use crate::load::run_all;
use crate::report::Report;
use crate::server::ferrohub::Hub;
use crate::server::{self, Environment, Protocol, Server};

const ROW: &str = "P12";
/// Devices that messages are sent to in turn.
const DEVICES: usize = 20_000;
/// Queues of RabbitMQ that messages are sent to in turn. A queue costs it much more than a device costs the hub.
const QUEUES: usize = 8;
/// Bytes of a body.
const BODY: usize = 128;
/// Messages in flight.
const IN_FLIGHT: usize = 64;
/// Idle connections.
const IDLE: usize = 500;
/// Links of an idle connection.
const LINKS: usize = 3;

/// A server, with what a client needs to send to it.
struct Bench {
    server: Server,
    dial: Dial,
    login: (String, String),
    /// Addresses that messages are sent to in turn. The hub has one; the message names the device.
    addresses: Vec<String>,
    /// Addresses of an idle connection, and whether the client sends to them.
    idle: [(&'static str, bool); LINKS],
    /// Number of the next message.
    next: u64,
}

async fn open(name: &str, environment: &Environment) -> anyhow::Result<Bench> {
    let server = match name {
        "ferrohub" => {
            let hub = Hub::prepare(environment)?;
            start::fill(&hub, DEVICES).await?;
            hub.start("ferrohub", &environment.hub, environment).await?
        }
        "rabbitmq" => server::rabbitmq::start_amqp(environment).await?,
        _ => server::amqp_baseline::start(environment).await?,
    };
    let hub_links = [
        ("/messages/devicebound", true),
        ("/messages/servicebound/feedback", false),
        ("/messages/servicebound/filenotifications", false),
    ];
    let queue_links = [("/queue/idle-0", true), ("/queue/idle-1", false), ("/queue/idle-2", false)];
    let (dial, login, addresses, idle) = match &server.protocol {
        Protocol::Hub { amqp: Some((address, (policy, _))), token, host, .. } => {
            let dial = Dial { address: *address, tls: environment.pki.client(false)? };
            // The form of Microsoft's service clients. Readers of events log in with the key.
            let login = (format!("{policy}@sas.root.{host}"), token.clone());
            (dial, login, vec!["/messages/devicebound".to_owned()], hub_links)
        }
        Protocol::Broker { login: Some(login) } => {
            let addresses = (0..QUEUES).map(|queue| format!("/queue/messages-{queue}")).collect();
            (server.dial(&environment.pki, false)?, login.clone(), addresses, queue_links)
        }
        _ => bail!("no AMQP"),
    };
    Ok(Bench { server, dial, login, addresses, idle, next: 0 })
}

impl Bench {
    async fn connect(&self) -> anyhow::Result<AmqpLink> {
        AmqpLink::open(&self.dial, &self.login.0, &self.login.1).await
    }

    /// Sends with [`IN_FLIGHT`] messages in flight. Returns the number of accepted messages and the time.
    async fn send(&mut self, time: Duration) -> anyhow::Result<(u64, Duration)> {
        let mut link = self.connect().await?;
        let mut links = Vec::new();
        for address in &self.addresses {
            links.push(link.send_unsettled_to(address).await?);
        }
        let mut number = self.next;
        let message = |out: &mut BytesMut| {
            let to = format!("/devices/{}/messages/devicebound", name(number as usize % DEVICES));
            number += 1;
            MessageEncoder::new(out)
                .header(&Header { durable: Some(true), ..Header::default() })
                .properties(&Properties { to: Some(&to), ..Properties::default() })
                .data(&[b'x'; BODY]);
        };
        let begun = Instant::now();
        let accepted = link.send_confirmed(&links, IN_FLIGHT, time, message).await?;
        self.next = number;
        Ok((accepted, begun.elapsed()))
    }

    /// Returns the memory of each idle connection, in KiB.
    async fn idle_kib(&self) -> anyhow::Result<f64> {
        let empty = self.server.resident_kib()?;
        let open = (0..IDLE).map(|_| {
            let (dial, login, idle) = (self.dial.clone(), self.login.clone(), self.idle);
            async move {
                let mut link = AmqpLink::open(&dial, &login.0, &login.1).await?;
                for (address, sends) in idle {
                    let _ = match sends {
                        true => link.send_unsettled_to(address).await?,
                        false => link.receive_from(address).await?,
                    };
                }
                link.flush().await?;
                Ok(link)
            }
        });
        let links = run_all(16, open).await?;
        tokio::time::sleep(Duration::from_secs(3)).await;
        let used = self.server.resident_kib()?.saturating_sub(empty);
        drop(links);
        tokio::time::sleep(Duration::from_secs(2)).await;
        Ok(used as f64 / IDLE as f64)
    }
}

async fn round(bench: &mut Bench, scale: &Scale, report: &mut Report) -> anyhow::Result<()> {
    let cpu = bench.server.cpu()?;
    let (accepted, took) = bench.send(Duration::from_secs(scale.seconds)).await?;
    let rate = accepted as f64 / took.as_secs_f64();
    let cpu = per(bench.server.cpu()? - cpu, accepted);
    report.add(ROW, "messages per second, 64 in flight", bench.server.name, None, rate);
    report.add(ROW, "CPU per message, µs", bench.server.name, None, cpu);
    eprintln!("{ROW} {}: {rate:.0}/s, {cpu:.1} µs CPU", bench.server.name);
    Ok(())
}

/// P12: the hub, RabbitMQ with its AMQP 1.0 plugin, and a server that stores nothing.
pub(crate) async fn messages(environment: &Environment, scale: &Scale, report: &mut Report) {
    let mut benches = Vec::new();
    for name in ["ferrohub", "baseline", "rabbitmq"] {
        match open(name, environment).await {
            Ok(bench) => {
                report.add_server(bench.server.name, &bench.server.version);
                benches.push(bench);
            }
            Err(error) => report.add_missing(format!("{ROW} {name}: {error:#}")),
        }
    }
    for bench in &benches {
        match bench.idle_kib().await {
            Ok(each) => {
                report.add(ROW, "KiB per idle connection with three links", bench.server.name, None, each);
                eprintln!("{ROW} {}: {each:.1} KiB per connection", bench.server.name);
            }
            Err(error) => report.add_missing(format!("{ROW} {} idle: {error:#}", bench.server.name)),
        }
    }
    // The first round warms up.
    let mut ignored = Report::default();
    for number in 0..=scale.rounds {
        for bench in &mut benches {
            let report = if number == 0 { &mut ignored } else { &mut *report };
            if let Err(error) = round(bench, scale, report).await {
                report.add_missing(format!("{ROW} {}: {error:#}", bench.server.name));
            }
        }
    }
}
