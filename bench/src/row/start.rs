//! P5: time from the start of the process until it is ready, with empty and with filled stores.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use ferrohub_core::registry;
use ferrohub_core::store::{Change, Store as _};
use ferrohub_model::device::Device;
use ferrohub_model::{DeviceId, Timestamp};
use ferrohub_store::{SqliteStore, StoreMetrics};

use super::Scale;
use crate::kernel;
use crate::load::device::name;
use crate::load::run_all;
use crate::report::Report;
use crate::server::ferrohub::Hub;
use crate::server::{Environment, get_plain};

/// Creates devices in the store of a hub that does not run.
pub(crate) async fn fill(hub: &Hub, devices: usize) -> anyhow::Result<()> {
    let mut registry = prometheus_client::registry::Registry::default();
    let store = Arc::new(SqliteStore::open(&hub.data(), StoreMetrics::register(&mut registry))?);
    let now = Timestamp::from_unix_seconds(1_800_000_000);
    let create = (0..devices).map(|number| {
        let store = store.clone();
        async move {
            let id = DeviceId::new(&name(number))?.into();
            let identity = registry::apply_device(&id, &Device::default(), None, now)
                .map_err(|error| anyhow::anyhow!("{}", error.message))?;
            let outcome = store.apply_group(Change::Create { identity, limit: u64::MAX }.into()).await?;
            ensure!(outcome.is_ok(), "{outcome:?}");
            Ok(())
        }
    });
    run_all(2048, create).await?;
    store.close().await;
    Ok(())
}

/// Returns whether the admin listener reports that the hub is ready.
async fn is_ready(hub: &Hub) -> bool {
    get_plain(hub.admin, "/readyz").await.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

async fn measure(
    hub: &Hub,
    size: usize,
    first: bool,
    environment: &Environment,
    report: &mut Report,
) -> anyhow::Result<()> {
    let command = hub.command(&environment.hub)?;
    let begun = Instant::now();
    let mut child = environment.spawn(command, std::process::Stdio::null())?;
    while !is_ready(hub).await {
        ensure!(begun.elapsed() < Duration::from_secs(30), "the hub is not ready after 30 s");
        tokio::time::sleep(Duration::from_micros(300)).await;
    }
    let took = begun.elapsed();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let pid = child.id().unwrap_or_default();
    let resident = kernel::resident_kib(pid)?;
    let row = if first { "P5 first start" } else { "P5" };
    report.add(row, "start until ready, ms", "ferrohub", Some(size as u64), took.as_secs_f64() * 1e3);
    report.add(row, "resident memory, MiB", "ferrohub", Some(size as u64), resident as f64 / 1024.0);
    eprintln!("{row} {size}: ready after {took:?}, {resident} KiB");
    child.kill().await?;
    Ok(())
}

/// P5: start time and memory.
pub(crate) async fn start(
    environment: &Environment,
    scale: &Scale,
    report: &mut Report,
) -> anyhow::Result<()> {
    for _ in 0..scale.rounds {
        measure(&Hub::prepare(environment)?, 0, true, environment, report).await?;
    }
    for size in [0, 1000, 100_000, 1_000_000] {
        if size > scale.registered {
            report.add_missing(format!("P5: {size} devices: skipped, more than --registered"));
            continue;
        }
        let hub = Hub::prepare(environment)?;
        fill(&hub, size).await?;
        // The first start creates policies and certificates, so it is not counted.
        measure(&hub, size, true, environment, &mut Report::default()).await?;
        for _ in 0..scale.rounds {
            measure(&hub, size, false, environment, report).await?;
        }
    }
    Ok(())
}
