//! Reports a temperature in the twin of the device.
//!
//! ```text
//! IOTHUB_DEVICE_CONNECTION_STRING='HostName=…;DeviceId=…;SharedAccessKey=…' cargo run --example patch_reported
//! ```

use ferrohub_device::DeviceClient;
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = DeviceClient::from_connection_string(&std::env::var("IOTHUB_DEVICE_CONNECTION_STRING")?)?;
    client.connect().await?;
    let version = client.patch_reported(&json!({ "temperature": 24.5, "fault": null })).await?;
    eprintln!("the reported properties have version {version}");
    client.disconnect().await;
    Ok(())
}
