//! A hub with the twins of a large fleet, of which some devices are connected, and calls at a fixed rate beside other work.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use ferrohub_core::registry;
use ferrohub_core::store::{Change, ChangeGroup, Store as _};
use ferrohub_core::twins::{TwinDocument, TwinLimits, UpdateMode};
use ferrohub_model::device::Device;
use ferrohub_model::{DeviceId, IdentityId, Timestamp};
use ferrohub_store::{SqliteStore, StoreMetrics};
use hyper::Method;
use serde_json::{Value, json};

use super::Scale;
use crate::load::calls::{Callers, Pace};
use crate::load::device::{Fleet, key, name};
use crate::load::dial::Dial;
use crate::load::http::HttpLink;
use crate::load::run_all;
use crate::server::ferrohub::Hub;
use crate::server::{Environment, Protocol, Server};

/// Number of different values of `tags.site`.
pub(super) const SITES: usize = 1000;
/// Calls per second beside other work.
const CALLS_PER_SECOND: u64 = 2000;

/// Returns what a service writes to a twin, and what its device reports.
fn content(number: usize) -> (Value, Value) {
    let change = json!({
        "tags": { "site": format!("site-{}", number % SITES), "floor": number % 20, "owner": "maintenance" },
        "properties": { "desired": { "interval": number % 60, "thresholds": { "low": 10, "high": 80 } } },
    });
    let temperature = (number * 37 % 1000) as f64 / 10.0;
    (change, json!({ "temperature": temperature, "firmware": format!("1.{}.0", number % 7) }))
}

/// Returns the twin of a device.
fn twin(number: usize, now: Timestamp) -> anyhow::Result<TwinDocument> {
    let (change, reported) = content(number);
    let (change, reported) = (serde_json::from_value(change)?, serde_json::from_value(reported)?);
    let limits = TwinLimits::default();
    let twin = TwinDocument::default()
        .with_change(UpdateMode::Merge, &change, now, &limits)
        .and_then(|twin| twin.with_reported(&reported, None, now, &limits));
    twin.map_err(|error| anyhow::anyhow!("{}", error.message))
}

/// Creates devices and their twins in the store of a hub that does not run.
async fn fill_hub(hub: &Hub, twins: usize) -> anyhow::Result<()> {
    let mut metrics = prometheus_client::registry::Registry::default();
    let store = Arc::new(SqliteStore::open(&hub.data(), StoreMetrics::register(&mut metrics))?);
    let now = Timestamp::from_unix_seconds(1_800_000_000);
    let key = key().to_base64();
    let device: Device = serde_json::from_value(json!({
        "deviceId": "",
        "authentication": { "type": "sas", "symmetricKey": { "primaryKey": key, "secondaryKey": key } },
    }))?;
    let create = (0..twins).map(|number| {
        let (store, device) = (store.clone(), device.clone());
        async move {
            let id: IdentityId = DeviceId::new(&name(number))?.into();
            let identity = registry::apply_device(&id, &device, None, now)
                .map_err(|error| anyhow::anyhow!("{}", error.message))?;
            let twin = twin(number, now)?;
            let change = Change::Twin { id, change: Box::new(move |_| Ok(twin.clone())) };
            let group = vec![Change::Create { identity, limit: u64::MAX }, change];
            let outcome = store.apply_group(ChangeGroup(group)).await?;
            ensure!(outcome.is_ok(), "{outcome:?}");
            Ok(())
        }
    });
    run_all(2048, create).await?;
    store.close().await;
    Ok(())
}

/// The hub with its fleet.
pub(super) struct LargeFleet {
    pub(super) server: Server,
    /// Number of twins.
    pub(super) twins: usize,
    fleet: Fleet,
    callers: Callers,
    dial: Dial,
    token: String,
}

impl LargeFleet {
    /// Creates a fleet, and starts the hub with further settings. `connected` of the devices connect; calls go to the first
    /// `Scale::devices` of them.
    pub(super) async fn start(
        environment: &Environment,
        scale: &Scale,
        settings: &str,
        twins: usize,
        connected: usize,
    ) -> anyhow::Result<Self> {
        let hub = Hub::prepare_with(environment, settings)?;
        fill_hub(&hub, twins).await?;
        let server = hub.start("ferrohub", &environment.hub, environment).await?;
        let dial = server.dial(&environment.pki, false)?;
        let connected = connected.min(twins);
        let called = scale.devices.min(connected);
        let fleet = Fleet::connect(&server, &dial, connected).await?;
        let callers = Callers::connect(&server, &dial, scale.callers, called, scale.payload).await?;
        let Protocol::Hub { https, token, .. } = &server.protocol else { bail!("not a hub") };
        let (dial, token) = (Dial { address: *https, ..dial }, token.clone());
        Ok(Self { server, twins, fleet, callers, dial, token })
    }

    /// Opens a connection of a service.
    pub(super) async fn connect(&self) -> anyhow::Result<HttpLink> {
        HttpLink::open(&self.dial, &self.token).await
    }

    /// Waits until the disk has what was written before, so that it does not slow down what is measured next.
    pub(super) async fn settle(&self) -> anyhow::Result<()> {
        ensure!(tokio::process::Command::new("sync").status().await?.success(), "sync failed");
        Ok(())
    }

    /// Makes 2,000 calls per second. Returns the 99th percentile in milliseconds. A call that fails is an error.
    pub(super) async fn calls(&mut self, time: Duration) -> anyhow::Result<f64> {
        let outcome = self.callers.run(Pace::Open(CALLS_PER_SECOND, time)).await?;
        ensure!(self.fleet.lost() == 0, "{} devices lost their connection", self.fleet.lost());
        Ok(outcome.latencies.value_at_quantile(0.99) as f64 / 1e3)
    }

    pub(super) async fn disconnect(self) {
        self.fleet.disconnect().await;
    }
}

/// Sends a query and returns the rows.
pub(super) async fn query(link: &mut HttpLink, text: &str) -> anyhow::Result<Vec<Value>> {
    let body = json!({ "query": text }).to_string();
    let answer = link.send(Method::POST, "/devices/query?api-version=2021-04-12", body.into()).await?;
    Ok(serde_json::from_slice(&answer)?)
}

/// Returns the number of twins that match a condition.
pub(super) async fn count(link: &mut HttpLink, condition: &str) -> anyhow::Result<usize> {
    let rows = query(link, &format!("SELECT COUNT() AS n FROM devices WHERE {condition}")).await?;
    let counted = rows.first().and_then(|row| row.get("n")?.as_u64()).context("no count")?;
    Ok(counted as usize)
}
