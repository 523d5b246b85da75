//! `ferrohub send-event`: sends telemetry as a device or module.

use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use clap::Args;
use ferrohub_device::Event;
use serde::Serialize;
use serde::de::IgnoredAny;

use super::c2d::property;
use super::device_client;
use crate::global_flags::GlobalFlags;
use crate::login::Login;
use crate::output::{Output, details};

/// Flags of `ferrohub send-event`.
#[derive(Debug, Args)]
pub(crate) struct SendEvent {
    /// The device's id, or DEVICE/MODULE
    device: String,
    /// Body of the event
    body: String,
    /// Application property; may be repeated
    #[arg(long = "property", value_name = "NAME=VALUE", value_parser = property)]
    properties: Vec<(String, String)>,
    /// Message id; with --count the number of the event is appended
    #[arg(long, value_name = "ID")]
    message_id: Option<String>,
    /// Media type of the body [default: application/json if it is JSON, text/plain if not]
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// Output of the module
    #[arg(long, value_name = "NAME")]
    to_output: Option<String>,
    /// Number of events to send
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
    /// Seconds between two events; with 0 they are sent concurrently
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0)]
    interval: f64,
    /// Connect with MQTT over WebSocket
    #[arg(long)]
    websocket: bool,
    #[command(flatten)]
    login: Login,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

#[derive(Serialize)]
struct Sent {
    sent: u64,
    milliseconds: u64,
}

impl SendEvent {
    pub(crate) fn run(self, global: &GlobalFlags) -> anyhow::Result<()> {
        let interval = Duration::try_from_secs_f64(self.interval)
            .context("--interval must be a number of seconds, zero or more")?;
        let sent = super::block_on(async {
            let client =
                device_client::from_id(&self.login.access(global)?, &self.device, self.websocket).await?;
            client.connect().await?;
            let begun = Instant::now();
            let mut sent = 0;
            let outcome = tokio::select! {
                outcome = self.send(&client, interval, &mut sent) => outcome,
                _ = tokio::signal::ctrl_c() => Ok(()),
            };
            let milliseconds = begun.elapsed().as_millis() as u64;
            client.disconnect().await;
            outcome?;
            Ok(Sent { sent, milliseconds })
        })?;
        self.output.print(&sent, |sent| {
            details([("Sent", sent.sent.to_string()), ("Duration", format!("{} ms", sent.milliseconds))])
        })
    }

    async fn send(
        &self,
        client: &ferrohub_device::DeviceClient,
        interval: Duration,
        sent: &mut u64,
    ) -> anyhow::Result<()> {
        if interval.is_zero() {
            client.send_events((1..=self.count).map(|number| self.event(number))).await?;
            *sent = self.count;
            return Ok(());
        }
        let mut ticks = tokio::time::interval(interval);
        for number in 1..=self.count {
            ticks.tick().await;
            client.send_event(self.event(number)).await?;
            *sent = number;
        }
        Ok(())
    }

    fn event(&self, number: u64) -> Event {
        let json = serde_json::from_str::<IgnoredAny>(&self.body).is_ok();
        let default_type = if json { "application/json" } else { "text/plain" };
        let mut event = Event::new(self.body.clone())
            .content_type(self.content_type.as_deref().unwrap_or(default_type))
            .content_encoding("utf-8")
            .creation_time(SystemTime::now());
        if let Some(id) = &self.message_id {
            event = event.message_id(if self.count == 1 { id.clone() } else { format!("{id}{number}") });
        }
        if let Some(output) = &self.to_output {
            event = event.output(output);
        }
        self.properties.iter().fold(event, |event, (name, value)| event.property(name, value))
    }
}
