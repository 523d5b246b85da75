//! Telemetry of a simulated device: periodic JSON documents with a counter and a few values.

use std::f64::consts::TAU;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use ferrohub_device::{DeviceClient, ErrorKind, Event};
use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::Fleet;

/// Sends until the process ends. `phase` is the offset within the interval, 0 to 1, and differs between devices.
pub(super) async fn send(client: DeviceClient, every: Duration, phase: f64, fleet: Arc<Fleet>) {
    let mut ticks = interval_at(Instant::now() + every.mul_f64(phase), every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    for count in 1_u64.. {
        ticks.tick().await;
        if !client.status().current().is_connected() {
            continue;
        }
        let Ok(event) = Event::json(&reading(client.device_id(), count, phase)) else { continue };
        match client.send_event(event.message_id(count.to_string()).creation_time(SystemTime::now())).await {
            Ok(()) => {
                fleet.events.fetch_add(1, Ordering::Relaxed);
            }
            // It disconnected in the meantime.
            Err(error) if error.kind() == ErrorKind::Closed => {}
            Err(error) if fleet.log_calls => {
                fleet.print(&format!("{}: cannot send the event: {error}", client.device_id()))
            }
            Err(_) => {}
        }
    }
}

/// Returns a document with values that oscillate, shifted by `phase`.
fn reading(device_id: &str, count: u64, phase: f64) -> Value {
    let oscillation = |period: f64| ((count as f64 / period + phase) * TAU).sin();
    let rounded = |value: f64| (value * 100.0).round() / 100.0;
    json!({
        "device": device_id,
        "count": count,
        "temperature": rounded(21.0 + 4.0 * oscillation(60.0)),
        "humidity": rounded(55.0 + 15.0 * oscillation(97.0)),
        "voltage": rounded(3.3 + 0.1 * oscillation(17.0)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_stay_in_range() {
        for count in 0..1000 {
            let reading = reading("d", count, 0.3);
            let temperature = reading["temperature"].as_f64().unwrap();
            assert!((17.0..=25.0).contains(&temperature) && reading["count"] == count, "{reading}");
        }
    }
}
