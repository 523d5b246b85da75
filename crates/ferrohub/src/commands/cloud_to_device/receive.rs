//! `ferrohub c2d receive`: receives and settles messages as a device or module.

use std::time::Duration;

use clap::{Args, ValueEnum};
use ferrohub_device::LockedMessage;
use ferrohub_model::message::EventBody;
use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep};

use crate::commands::device_client;
use crate::login::Access;
use crate::output::{self, Output, one_line};

/// How often an empty queue is polled.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Flags of `ferrohub c2d receive`. The command uses HTTPS, so that it does not take over the connection and the
/// subscriptions of a connected device.
#[derive(Debug, Args)]
pub(super) struct Receive {
    /// The device's id, or DEVICE/MODULE
    id: String,
    /// How to settle each message
    #[arg(long, value_enum, default_value_t)]
    settle: Settle,
    /// Stop after this many messages
    #[arg(long, value_name = "NUMBER")]
    count: Option<usize>,
    /// Seconds to wait for a message when the queue is empty
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    wait: u64,
}

/// `--settle`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Settle {
    /// Remove it; sends positive feedback if requested
    #[default]
    Complete,
    /// Remove it; sends negative feedback if requested
    Reject,
    /// Release the lock, so that it is delivered again; stops after one message
    Abandon,
}

impl Receive {
    pub(super) async fn run(self, access: &Access, output: Output) -> anyhow::Result<()> {
        let device = device_client::from_id(access, &self.id, false).await?;
        let mut left = match self.settle {
            Settle::Abandon => 1,
            _ => self.count.unwrap_or(usize::MAX),
        };
        let mut idle = Instant::now();
        while left > 0 {
            let Some(message) = device.receive_message().await? else {
                if idle.elapsed() >= Duration::from_secs(self.wait) {
                    return Ok(());
                }
                tokio::select! {
                    () = sleep(POLL_INTERVAL) => continue,
                    _ = tokio::signal::ctrl_c() => return Ok(()),
                    closed = output::closed() => return Err(closed.into()),
                }
            };
            // Printed before it is settled, so that a failure to print does not lose the message.
            output.print_each(&message_json(&message)?, |_| message_text(&message))?;
            match self.settle {
                Settle::Complete => message.complete().await?,
                Settle::Reject => message.reject().await?,
                Settle::Abandon => message.abandon().await?,
            }
            left -= 1;
            idle = Instant::now();
        }
        Ok(())
    }
}

/// Returns the message with `body`, or with `bodyBase64` if the body is not UTF-8, as events have it.
fn message_json(message: &LockedMessage) -> anyhow::Result<Value> {
    let properties: Map<String, Value> =
        message.properties().map(|(name, value)| (name.to_owned(), value.into())).collect();
    let mut json = json!({
        "messageId": message.message_id(),
        "deliveryCount": message.delivery_count(),
        "properties": properties,
    });
    let body = serde_json::to_value(EventBody::from(message.body().to_vec()))?;
    if let (Value::Object(json), Value::Object(mut body)) = (&mut json, body) {
        json.append(&mut body);
    }
    Ok(json)
}

fn message_text(message: &LockedMessage) -> String {
    let properties: Vec<String> =
        message.properties().map(|(name, value)| format!("{name}={value}")).collect();
    let id = message.message_id().unwrap_or("-");
    let (id, properties) = (one_line(id), one_line(&properties.join(" ")));
    format!("{id}  {properties}  {}", String::from_utf8_lossy(message.body()))
}
