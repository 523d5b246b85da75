//! `ferrohub simulate`: simulates devices that respond to methods, copy desired properties to reported ones, and send
//! telemetry.

mod telemetry;
mod twins;

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

use crate::global_flags::GlobalFlags;
use crate::login::{Access, Login};
use crate::open_files;
use crate::output::{self, plural};

use super::device_client;

/// Maximum concurrent registrations and connects.
const MAX_CONCURRENT_CONNECTS: usize = 64;
/// With more devices than this, calls are counted and not printed.
const MAX_DEVICES_WITH_CALL_LOG: usize = 20;

/// Flags of `ferrohub simulate`.
#[derive(Debug, Args)]
#[group(id = "which", required = true, multiple = false, args = ["device", "count"])]
pub(crate) struct Simulate {
    /// A registered device; may be repeated
    #[arg(long, value_name = "ID")]
    device: Vec<String>,
    /// Number of devices, named sim-1, sim-2 and so on; missing ones are registered
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    count: Option<u32>,
    /// Prefix of the names that --count generates
    #[arg(long, default_value = "sim-", value_name = "TEXT")]
    prefix: String,
    /// Seconds before a device responds to a method
    #[arg(long, default_value_t = 0.0, value_name = "SECONDS")]
    response_delay: f64,
    /// Seconds that a device stays disconnected after rebootDevice
    #[arg(long, default_value_t = 5.0, value_name = "SECONDS")]
    reboot_duration: f64,
    /// Seconds between two telemetry events of a device [default: no telemetry]
    #[arg(long, value_name = "SECONDS")]
    telemetry_interval: Option<f64>,
    /// Do not copy desired properties to the reported properties
    #[arg(long)]
    no_twin: bool,
    /// Connect with MQTT over WebSocket
    #[arg(long)]
    websocket: bool,
    #[command(flatten)]
    login: Login,
}

/// What all simulated devices share: settings, progress and counters.
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
    /// Returns the totals of all devices.
    fn summary(&self, telemetry: bool) -> String {
        let calls = format!("{} answered", plural(self.calls.load(Ordering::Relaxed), "call"));
        match telemetry {
            true => format!("{calls}, {} sent", plural(self.events.load(Ordering::Relaxed), "event")),
            false => calls,
        }
    }

    /// Prints to standard error, above the progress bar if it is visible.
    fn print(&self, text: &str) {
        if self.bar.is_hidden() {
            output::note(text);
        } else {
            self.bar.println(output::printable(text));
        }
    }
}

impl Simulate {
    pub(crate) fn run(self, global: &GlobalFlags) -> anyhow::Result<()> {
        // Each device needs a file descriptor. If the limit cannot be raised, the connects beyond it fail with an error.
        let _ = open_files::raise_limit();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(self.simulate(global))
    }

    async fn simulate(self, global: &GlobalFlags) -> anyhow::Result<()> {
        let seconds = |name: &str, seconds: f64| {
            Duration::try_from_secs_f64(seconds)
                .with_context(|| format!("--{name} must be a number of seconds, zero or more"))
        };
        let access = Arc::new(self.login.access(global)?);
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
                let phase = index as f64 / devices.len() as f64;
                tokio::spawn(telemetry::send(device.clone(), every, phase, fleet.clone()));
            }
        }
        fleet.print(&ready_text(devices.len()));
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
        let mut disconnecting = JoinSet::new();
        for device in devices {
            disconnecting.spawn(async move { device.disconnect().await });
        }
        disconnecting.join_all().await;
        output::note(&fleet.summary(telemetry_interval.is_some()));
        Ok(())
    }

    /// Registers missing devices, and connects all of them. Returns the first error.
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
                let device = get_or_register(&access, &id, register).await?;
                let client = device_client::from_device(&access, &device, websocket)?;
                install_method_handler(&client, &fleet);
                if twin {
                    tokio::spawn(twins::report_desired(
                        client.clone(),
                        client.desired_updates(),
                        fleet.clone(),
                    ));
                }
                client.connect().await.with_context(|| format!("cannot connect the device {id}"))?;
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

fn ready_text(devices: usize) -> String {
    match devices {
        1 => "1 device is connected and answers methods; press Ctrl-C to stop".to_owned(),
        count => format!("{count} devices are connected and answer methods; press Ctrl-C to stop"),
    }
}

fn style(template: &str) -> anyhow::Result<ProgressStyle> {
    Ok(ProgressStyle::with_template(template)?)
}

async fn get_or_register(access: &Access, id: &str, register: bool) -> anyhow::Result<Device> {
    match access.client.get_device(id).await {
        Ok(device) => Ok(device),
        Err(error) if register && error.kind() == ErrorKind::NotFound => {
            let created = access.client.create_device(&Device::new(id)).await;
            created.with_context(|| format!("cannot register the device {id}"))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            bail!("{id} is not registered; register it with `ferrohub device create {id}`")
        }
        Err(error) => Err(error).with_context(|| format!("cannot read the device {id}")),
    }
}

/// Responds to every method with 200 and the payload of the request. `rebootDevice` then disconnects the device.
fn install_method_handler(client: &DeviceClient, fleet: &Arc<Fleet>) {
    let (reboot, mut reboots) = mpsc::channel::<()>(1);
    let id = client.device_id().to_owned();
    let handler_fleet = fleet.clone();
    client.on_unhandled_method(move |request: MethodRequest| {
        let (fleet, reboot, id) = (handler_fleet.clone(), reboot.clone(), id.clone());
        async move {
            tokio::time::sleep(fleet.response_delay).await;
            let rebooting = request.name() == "rebootDevice";
            if rebooting {
                // All calls before the reboot begins share one reboot.
                let _ = reboot.try_send(());
            }
            fleet.calls.fetch_add(1, Ordering::Relaxed);
            if fleet.log_calls {
                let then = if rebooting { ", rebooting" } else { "" };
                fleet.print(&format!("{id}: {} {} → 200{then}", request.name(), request.payload_text()));
            }
            let payload = serde_json::from_str::<&RawValue>(request.payload_text()).ok();
            MethodResponse::new(200).payload(&json!({
                "device": id, "method": request.name(), "payload": payload,
            }))
        }
    });
    // The client owns the handler, so the handler must not own the client: neither would ever be dropped. This task may own
    // both: it runs until the process ends.
    let (client, fleet) = (client.clone(), fleet.clone());
    tokio::spawn(async move {
        while reboots.recv().await.is_some() {
            // Sends pending responses first.
            client.disconnect().await;
            fleet.connected.fetch_sub(1, Ordering::Relaxed);
            tokio::time::sleep(fleet.reboot_duration).await;
            while let Err(error) = client.connect().await {
                fleet.print(&format!("{}: cannot reconnect, retrying in 1 s: {error}", client.device_id()));
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            fleet.connected.fetch_add(1, Ordering::Relaxed);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_agree_in_number() {
        assert_eq!((plural(0, "call"), plural(1, "call")), ("0 calls".to_owned(), "1 call".to_owned()));
        assert!(ready_text(1).starts_with("1 device is connected and answers methods"));
        assert!(ready_text(3).starts_with("3 devices are connected and answer methods"));
    }
}
