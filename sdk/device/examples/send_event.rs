//! Sends ten readings, and waits until the hub has acknowledged all of them.
//!
//! ```text
//! IOTHUB_DEVICE_CONNECTION_STRING='HostName=…;DeviceId=…;SharedAccessKey=…' cargo run --example send_event
//! ```

use std::time::SystemTime;

use ferrohub_device::{DeviceClient, Event};
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = DeviceClient::from_connection_string(&std::env::var("IOTHUB_DEVICE_CONNECTION_STRING")?)?;
    client.connect().await?;
    let mut readings = Vec::new();
    for number in 1..=10 {
        let reading = Event::json(&json!({ "reading": number, "temperature": 20 + number }))?
            .message_id(number.to_string())
            .creation_time(SystemTime::now())
            .property("alarm", if number > 7 { "yes" } else { "no" });
        readings.push(reading);
    }
    client.send_events(readings).await?;
    eprintln!("the hub has acknowledged all of them");
    client.disconnect().await;
    Ok(())
}
