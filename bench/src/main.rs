//! What a method call and an idle connection cost the hub, from the kernel's own accounting.
//!
//! Starts a hub on an address of its own, connects devices over MQTT and TLS, and calls methods on them over HTTPS from
//! kept-alive connections. CPU time and resident memory are the hub's alone: devices and callers are another process.
#![allow(clippy::print_stdout, reason = "a benchmark prints what it measured")]

mod hub;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Parser;
use ferrohub_device::{DeviceClient, MethodRequest, MethodResponse};
use ferrohub_service::{Device, DirectMethod, ServiceClient};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use hub::Hub;

/// Connects under way at once.
const AT_ONCE: usize = 32;

/// Measures the hub.
#[derive(Parser)]
struct Arguments {
    /// The hub's program
    #[arg(long, default_value = "target/release/ferrohub")]
    hub: std::path::PathBuf,
    /// Devices that are connected
    #[arg(long, default_value_t = 1000)]
    devices: usize,
    /// Callers at once
    #[arg(long, default_value_t = 64)]
    callers: usize,
    /// Bytes of payload, either way
    #[arg(long, default_value_t = 128)]
    payload: usize,
    /// Calls in each round
    #[arg(long, default_value_t = 20_000)]
    calls: u64,
    /// Rounds; the median counts
    #[arg(long, default_value_t = 5)]
    rounds: usize,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let hub = Hub::start(&arguments.hub)?;
    let service = hub.service()?;
    let keys = register(&service, arguments.devices).await?;
    let empty = hub.resident_kib()?;
    let started = hub.cpu()?;
    let devices = connect(&hub, keys).await?;
    let connecting = hub.cpu()? - started;
    // Whatever connecting left over is given back or counted.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let idle = hub.resident_kib()?.saturating_sub(empty);
    println!("{} devices connected and subscribed over TLS", devices.len());
    println!("  memory, each       {:>8.1} KiB resident", idle as f64 / devices.len() as f64);
    println!(
        "  CPU, each connect  {:>8.0} µs, handshake, authentication, subscription",
        per(connecting, devices.len() as u64)
    );

    let mut cpu = Vec::new();
    for _ in 0..arguments.rounds {
        let (before, begun) = (hub.cpu()?, Instant::now());
        let mut latencies = call(&service, &arguments).await?;
        let (used, took) = (hub.cpu()? - before, begun.elapsed());
        latencies.sort_unstable();
        let at = |share: f64| {
            latencies.get((latencies.len() as f64 * share) as usize).copied().unwrap_or_default()
        };
        println!(
            "{} calls, {} callers, {} bytes: {:.1} µs CPU each, {:.0}/s, p50 {:.2} ms, p99 {:.2} ms",
            arguments.calls,
            arguments.callers,
            arguments.payload,
            per(used, arguments.calls),
            arguments.calls as f64 / took.as_secs_f64(),
            at(0.5).as_secs_f64() * 1e3,
            at(0.99).as_secs_f64() * 1e3,
        );
        cpu.push(per(used, arguments.calls));
    }
    cpu.sort_by(f64::total_cmp);
    println!("median: {:.1} µs CPU each call", cpu.get(cpu.len() / 2).copied().unwrap_or_default());
    Ok(())
}

/// Microseconds for each.
fn per(time: Duration, count: u64) -> f64 {
    time.as_secs_f64() * 1e6 / count.max(1) as f64
}

fn name(number: usize) -> String {
    format!("bench-{number}")
}

/// Registers devices. Their ids and keys.
async fn register(service: &ServiceClient, count: usize) -> anyhow::Result<Vec<(String, String)>> {
    each((0..count).map(|number| {
        let service = service.clone();
        async move {
            let device = service.create_device(&Device::new(name(number))).await?;
            let key = device.primary_key().context("the hub told no key")?.to_owned();
            Ok((device.device_id, key))
        }
    }))
    .await
}

/// Connects devices that echo.
async fn connect(hub: &Hub, keys: Vec<(String, String)>) -> anyhow::Result<Vec<DeviceClient>> {
    each(keys.into_iter().map(|(id, key)| {
        let dial = hub.dial();
        async move {
            let client = dial.device(&id, &key)?;
            client.on_unhandled_method(|request: MethodRequest| async move {
                MethodResponse::new(200).json_text(request.payload())
            });
            client.connect().await?;
            Ok(client)
        }
    }))
    .await
}

/// Does all of it, a few at once. The first failure ends it.
async fn each<T, F>(work: impl Iterator<Item = F>) -> anyhow::Result<Vec<T>>
where
    T: Send + 'static,
    F: Future<Output = anyhow::Result<T>> + Send + 'static,
{
    let permits = Arc::new(Semaphore::new(AT_ONCE));
    let mut tasks = JoinSet::new();
    for one in work {
        let permits = permits.clone();
        tasks.spawn(async move {
            let _permit = permits.acquire_owned().await?;
            one.await
        });
    }
    let mut results = Vec::new();
    while let Some(result) = tasks.join_next().await {
        results.push(result??);
    }
    Ok(results)
}

/// One round of calls, spread over the devices. How long each took.
async fn call(service: &ServiceClient, arguments: &Arguments) -> anyhow::Result<Vec<Duration>> {
    let method = DirectMethod::new("echo").payload(&"x".repeat(arguments.payload.saturating_sub(2)))?;
    let next = Arc::new(AtomicU64::new(0));
    let mut callers = JoinSet::new();
    for _ in 0..arguments.callers {
        let (service, method, next) = (service.clone(), method.clone(), next.clone());
        let (calls, devices) = (arguments.calls, arguments.devices as u64);
        callers.spawn(async move {
            let mut latencies = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= calls {
                    return anyhow::Ok(latencies);
                }
                let begun = Instant::now();
                let response = service.invoke_method(&name((number % devices) as usize), &method).await?;
                anyhow::ensure!(response.status == 200, "status {}", response.status);
                latencies.push(begun.elapsed());
            }
        });
    }
    let mut all = Vec::new();
    while let Some(latencies) = callers.join_next().await {
        all.extend(latencies??);
    }
    Ok(all)
}
