//! A module that sends an event through one of its outputs. Its connection string names the module.
//!
//! ```text
//! IOTHUB_DEVICE_CONNECTION_STRING='HostName=…;DeviceId=…;ModuleId=…;SharedAccessKey=…' \
//!     cargo run --example send_event_to_output
//! ```

use ferrohub_device::{DeviceClient, Event};
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let module = DeviceClient::from_connection_string(&std::env::var("IOTHUB_DEVICE_CONNECTION_STRING")?)?;
    module.connect().await?;
    module.send_event(Event::json(&json!({ "filtered": 4 }))?.output("results")).await?;
    module.disconnect().await;
    Ok(())
}
