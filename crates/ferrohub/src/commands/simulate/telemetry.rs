//! A simulated device's telemetry: a document with a number and a few values, every so often.

use std::f64::consts::TAU;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use ferrohub_device::{DeviceClient, ErrorKind, Event};
use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::Fleet;

/// Sends until the process ends. The devices of a fleet are spread over the interval.
pub(super) async fn send(client: DeviceClient, every: Duration, place: f64, fleet: Arc<Fleet>) {
    let mut ticks = interval_at(Instant::now() + every.mul_f64(place), every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    for count in 1_u64.. {
        ticks.tick().await;
        if !client.status().current().is_connected() {
            continue;
        }
        let Ok(event) = Event::json(&reading(client.device_id(), count, place)) else { continue };
        match client.send_event(event.message_id(count.to_string()).creation_time(SystemTime::now())).await {
            Ok(()) => {
                fleet.events.fetch_add(1, Ordering::Relaxed);
            }
            // It went away just then.
            Err(error) if error.kind() == ErrorKind::Closed => {}
            Err(error) if fleet.log_calls => {
                fleet.print(&format!("{} cannot send: {error}", client.device_id()))
            }
            Err(_) => {}
        }
    }
}

/// Values that swing, each device in its own rhythm.
fn reading(device_id: &str, count: u64, place: f64) -> Value {
    let swing = |period: f64| ((count as f64 / period + place) * TAU).sin();
    let rounded = |value: f64| (value * 100.0).round() / 100.0;
    json!({
        "device": device_id,
        "count": count,
        "temperature": rounded(21.0 + 4.0 * swing(60.0)),
        "humidity": rounded(55.0 + 15.0 * swing(97.0)),
        "voltage": rounded(3.3 + 0.1 * swing(17.0)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_stay_within_reason() {
        for count in 0..1000 {
            let reading = reading("d", count, 0.3);
            let temperature = reading["temperature"].as_f64().unwrap();
            assert!((17.0..=25.0).contains(&temperature) && reading["count"] == count, "{reading}");
        }
    }
}
