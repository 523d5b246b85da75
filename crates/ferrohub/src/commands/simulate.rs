//! `ferrohub simulate`: devices that answer methods, report what is wanted of them, and send telemetry.

mod telemetry;
mod twin;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use ferrohub_device::{DeviceClient, MethodRequest, MethodResponse};
use ferrohub_service::{Device, ErrorKind};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use serde_json::value::RawValue;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::cli::Common;
use crate::login::{Access, Login};

use super::device_client;

/// Registrations and connects under way at once.
const MAX_CONCURRENT_CONNECTS: usize = 64;
/// With more devices than this, calls are counted instead of told.
const MAX_DEVICES_WITH_CALL_LOG: usize = 20;

/// Flags of `ferrohub simulate`.
#[derive(Debug, Args)]
#[group(id = "which", required = true, multiple = false, args = ["device", "count"])]
pub(crate) struct Simulate {
    /// A device that is registered; may be given more than once
    #[arg(long, value_name = "ID")]
    device: Vec<String>,
    /// So many devices, named sim-1, sim-2 and so on; those that are missing are registered
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    count: Option<u32>,
    /// Another beginning for the names that --count makes
    #[arg(long, default_value = "sim-", value_name = "TEXT")]
    prefix: String,
    /// How many seconds a device takes to answer
    #[arg(long, default_value_t = 0.0, value_name = "SECONDS")]
    response_delay: f64,
    /// How many seconds a device is away after it answered rebootDevice
    #[arg(long, default_value_t = 5.0, value_name = "SECONDS")]
    reboot_duration: f64,
    /// How many seconds a device takes from one reading that it sends to the next [default: it sends none]
    #[arg(long, value_name = "SECONDS")]
    telemetry_interval: Option<f64>,
    /// Leave twins alone: otherwise a device reports the desired properties as it is told them
    #[arg(long)]
    no_twin: bool,
    /// MQTT in a WebSocket
    #[arg(long)]
    websocket: bool,
    #[command(flatten)]
    login: Login,
}

/// What all simulated devices share.
struct Fleet {
    response_delay: Duration,
    reboot_duration: Duration,
    bar: ProgressBar,
    log_calls: bool,
    calls: AtomicU64,
    events: AtomicU64,
    connected: AtomicU64,
}

impl Fleet {
    /// What all devices did so far.
    fn summary(&self, telemetry: bool) -> String {
        let calls = self.calls.load(Ordering::Relaxed);
        match telemetry {
            true => format!("{calls} calls answered, {} events sent", self.events.load(Ordering::Relaxed)),
            false => format!("{calls} calls answered"),
        }
    }

    /// Tells people something, above the progress bar where there is one.
    fn print(&self, text: &str) {
        if self.bar.is_hidden() {
            eprintln!("{text}");
        } else {
            self.bar.println(text);
        }
    }
}

impl Simulate {
    pub(crate) fn run(self, common: &Common) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(self.simulate(common))
    }

    async fn simulate(self, common: &Common) -> anyhow::Result<()> {
        let seconds = |name: &str, seconds: f64| {
            Duration::try_from_secs_f64(seconds)
                .with_context(|| format!("--{name} must be zero or more seconds"))
        };
        let access = Arc::new(self.login.access(common)?);
        let ids: Vec<String> = match self.count {
            Some(count) => (1..=count).map(|number| format!("{}{number}", self.prefix)).collect(),
            None => self.device.clone(),
        };
        let bar = ProgressBar::new(ids.len() as u64)
            .with_style(style("{pos} of {len} devices connected {bar:30}")?);
        let fleet = Arc::new(Fleet {
            response_delay: seconds("response-delay", self.response_delay)?,
            reboot_duration: seconds("reboot-duration", self.reboot_duration)?,
            bar: bar.clone(),
            log_calls: ids.len() <= MAX_DEVICES_WITH_CALL_LOG,
            calls: AtomicU64::new(0),
            events: AtomicU64::new(0),
            connected: AtomicU64::new(0),
        });
        let telemetry_interval =
            self.telemetry_interval.map(|every| seconds("telemetry-interval", every)).transpose()?;
        if telemetry_interval.is_some_and(|every| every.is_zero()) {
            bail!("--telemetry-interval must be more than zero seconds");
        }
        let devices = self.connect_all(&access, &ids, &fleet).await?;
        if let Some(every) = telemetry_interval {
            for (index, device) in devices.iter().enumerate() {
                let place = index as f64 / devices.len() as f64;
                tokio::spawn(telemetry::send(device.clone(), every, place, fleet.clone()));
            }
        }
        fleet.print(&format!("{} devices answer methods; press Ctrl-C to end", devices.len()));
        bar.set_style(style("{msg}")?);
        let mut every_second = tokio::time::interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => break,
                _ = every_second.tick() => bar.set_message(format!(
                    "{} connected, {}",
                    fleet.connected.load(Ordering::Relaxed),
                    fleet.summary(telemetry_interval.is_some()),
                )),
            }
        }
        bar.finish_and_clear();
        let mut leaving = JoinSet::new();
        for device in devices {
            leaving.spawn(async move { device.disconnect().await });
        }
        leaving.join_all().await;
        eprintln!("{}", fleet.summary(telemetry_interval.is_some()));
        Ok(())
    }

    /// Registers where needed, connects, and starts each device's reboots. The first failure ends it.
    async fn connect_all(
        &self,
        access: &Arc<Access>,
        ids: &[String],
        fleet: &Arc<Fleet>,
    ) -> anyhow::Result<Vec<DeviceClient>> {
        let permits = Arc::new(Semaphore::new(MAX_CONCURRENT_CONNECTS));
        let mut connecting = JoinSet::new();
        for id in ids {
            let (access, fleet, permits, id) = (access.clone(), fleet.clone(), permits.clone(), id.clone());
            let (register, websocket, twin) = (self.count.is_some(), self.websocket, !self.no_twin);
            connecting.spawn(async move {
                let _permit = permits.acquire_owned().await?;
                let device = get_or_register(&access, &id, register).await.with_context(|| id.clone())?;
                let client = device_client::from_device(&access, &device, websocket)?;
                install_method_handler(&client, &fleet);
                if twin {
                    tokio::spawn(twin::report_desired(
                        client.clone(),
                        client.desired_updates(),
                        fleet.clone(),
                    ));
                }
                client.connect().await.with_context(|| id)?;
                fleet.connected.fetch_add(1, Ordering::Relaxed);
                fleet.bar.inc(1);
                anyhow::Ok(client)
            });
        }
        let mut clients = Vec::with_capacity(ids.len());
        while let Some(connected) = connecting.join_next().await {
            clients.push(connected??);
        }
        Ok(clients)
    }
}

fn style(template: &str) -> anyhow::Result<ProgressStyle> {
    Ok(ProgressStyle::with_template(template)?)
}

async fn get_or_register(access: &Access, id: &str, register: bool) -> anyhow::Result<Device> {
    match access.client.get_device(id).await {
        Ok(device) => Ok(device),
        Err(error) if register && error.kind() == ErrorKind::NotFound => {
            Ok(access.client.create_device(&Device::new(id)).await?)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            bail!("it is not registered; `ferrohub device create {id}` does that")
        }
        Err(error) => Err(error.into()),
    }
}

/// Any method is answered with 200 and what it was asked with; rebootDevice drops the connection after that.
fn install_method_handler(client: &DeviceClient, fleet: &Arc<Fleet>) {
    let (reboot, mut reboots) = mpsc::channel::<()>(1);
    let id = client.device_id().to_owned();
    let answering = fleet.clone();
    client.on_unhandled_method(move |request: MethodRequest| {
        let (fleet, reboot, id) = (answering.clone(), reboot.clone(), id.clone());
        async move {
            tokio::time::sleep(fleet.response_delay).await;
            let rebooting = request.name() == "rebootDevice";
            if rebooting {
                // One reboot is enough for all who ask before it begins.
                let _ = reboot.try_send(());
            }
            fleet.calls.fetch_add(1, Ordering::Relaxed);
            if fleet.log_calls {
                let then = if rebooting { ", then it reboots" } else { "" };
                fleet.print(&format!("{id}: {} {} → 200{then}", request.name(), request.payload_text()));
            }
            let payload = serde_json::from_str::<&RawValue>(request.payload_text()).ok();
            MethodResponse::new(200).payload(&json!({
                "device": id, "method": request.name(), "payload": payload,
            }))
        }
    });
    // The handler must not keep the client alive, but this may: it ends with the process.
    let (client, fleet) = (client.clone(), fleet.clone());
    tokio::spawn(async move {
        while reboots.recv().await.is_some() {
            // Sends the answer first.
            client.disconnect().await;
            fleet.connected.fetch_sub(1, Ordering::Relaxed);
            tokio::time::sleep(fleet.reboot_duration).await;
            while let Err(error) = client.connect().await {
                fleet.print(&format!("{} cannot come back yet: {error}", client.device_id()));
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            fleet.connected.fetch_add(1, Ordering::Relaxed);
        }
    });
}
