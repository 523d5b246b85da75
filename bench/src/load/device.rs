//! Devices: they connect, subscribe, and respond to requests with the payload of the request.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context as _;
use bytes::Bytes;
use ferrohub_model::{SharedAccessKey, Timestamp, sas, topic};
use ferrohub_mqtt::Publish;
use ferrohub_mqtt::client::Event;
use tokio::task::JoinSet;

use super::dial::Dial;
use super::mqtt::{Link, Login};
use super::nats::NatsLink;
use super::run_all;
use crate::server::{Protocol, Server};

/// Maximum concurrent connects.
const MAX_CONCURRENT_CONNECTS: usize = 32;

/// Connected devices. They disconnect when this is dropped.
pub(crate) struct Fleet {
    tasks: JoinSet<()>,
    lost: Arc<AtomicU64>,
}

/// Returns the id of device `number`.
pub(crate) fn name(number: usize) -> String {
    format!("bench-{number}")
}

/// Returns the key of all devices. The cost of a token check does not depend on the key.
pub(crate) fn key() -> SharedAccessKey {
    SharedAccessKey::from_bytes(b"the same for each of these devices")
        .unwrap_or_else(|_| SharedAccessKey::generate())
}

/// The connection of a device.
pub(crate) enum DeviceLink {
    Mqtt(Link),
    Nats(NatsLink),
}

impl DeviceLink {
    async fn open(dial: &Dial, protocol: &Protocol, number: usize) -> anyhow::Result<Self> {
        let filter = filter(protocol, number);
        let opened = match protocol {
            Protocol::Nats => NatsLink::open(dial, &filter).await.map(Self::Nats),
            _ => {
                let durable = matches!(protocol, Protocol::Hub { .. });
                Link::open(dial, &login(protocol, number), &filter, durable).await.map(Self::Mqtt)
            }
        };
        opened.context("a device cannot connect")
    }

    /// Responds to requests until the connection ends.
    async fn answer(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Mqtt(link) => answer(link).await,
            Self::Nats(link) => loop {
                let message = link.next().await?;
                link.publish(&message.reply, None, &message.payload);
            },
        }
    }
}

impl Fleet {
    /// Connects `count` devices, which respond to requests.
    pub(crate) async fn connect(server: &Server, dial: &Dial, count: usize) -> anyhow::Result<Self> {
        let lost = Arc::new(AtomicU64::new(0));
        let mut tasks = JoinSet::new();
        for mut link in Self::open(&server.protocol, dial, count).await? {
            let lost = lost.clone();
            tasks.spawn(async move {
                if let Err(error) = link.answer().await
                    && lost.fetch_add(1, Ordering::Relaxed) == 0
                {
                    eprintln!("a device lost its connection: {error:#}");
                }
            });
        }
        Ok(Self { tasks, lost })
    }

    /// Connects `count` devices and returns their connections, which do not respond to requests.
    pub(crate) async fn open(
        protocol: &Protocol,
        dial: &Dial,
        count: usize,
    ) -> anyhow::Result<Vec<DeviceLink>> {
        let open = (0..count).map(|number| {
            let (dial, protocol) = (dial.clone(), protocol.clone());
            async move { DeviceLink::open(&dial, &protocol, number).await }
        });
        run_all(MAX_CONCURRENT_CONNECTS, open).await
    }

    /// Returns the number of devices whose connection ended.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Closes all connections, and waits until they are closed.
    pub(crate) async fn disconnect(mut self) {
        self.tasks.shutdown().await;
    }
}

/// Returns the credentials of device `number`.
pub(crate) fn login(protocol: &Protocol, number: usize) -> Login {
    let client_id = name(number);
    match protocol {
        Protocol::Hub { host, .. } => {
            let expiry = Timestamp::from_unix_seconds(4_102_444_800);
            let token = sas::sign(&format!("{host}/devices/{client_id}"), &key(), None, expiry);
            let username = format!("{host}/{client_id}/?api-version=2021-04-12");
            Login { client_id, username: Some(username), password: Some(token) }
        }
        Protocol::Broker { login: Some((user, password)) } => {
            Login { client_id, username: Some(user.clone()), password: Some(password.clone()) }
        }
        Protocol::Broker { login: None } | Protocol::Nats | Protocol::Native => {
            Login { client_id, ..Login::default() }
        }
    }
}

fn filter(protocol: &Protocol, number: usize) -> String {
    match protocol {
        Protocol::Hub { .. } => topic::METHODS_FILTER.to_owned(),
        Protocol::Nats => format!("devices.{}.methods.*", name(number)),
        _ => format!("devices/{}/methods/#", name(number)),
    }
}

/// Responds to requests until the connection ends.
async fn answer(link: &mut Link) -> anyhow::Result<()> {
    loop {
        let mut event = Some(link.next().await?);
        // The responses to all requests of one read are sent in one write.
        while let Some(Event::Publish(publish)) = event {
            let Publish { topic, payload, .. } = publish;
            reply(link, topic.as_str(), payload)?;
            event = link.try_next();
        }
    }
}

fn reply(link: &mut Link, topic: &str, payload: Bytes) -> anyhow::Result<()> {
    if let Some(request) = topic.strip_prefix("$iothub/methods/POST/") {
        let (_, id) = request.split_once("$rid=").context("no request id")?;
        link.publish(format_args!("$iothub/methods/res/200/?$rid={id}"), payload)
    } else {
        // devices/{id}/methods/{caller}/{request}
        let mut parts = topic.rsplitn(3, '/');
        let (request, caller) = (parts.next().context("no request")?, parts.next().context("no caller")?);
        link.publish(format_args!("callers/{caller}/methods/res/200/{request}"), payload)
    }
}
