//! Reads the twin of the device.
//!
//! ```text
//! IOTHUB_DEVICE_CONNECTION_STRING='HostName=…;DeviceId=…;SharedAccessKey=…' cargo run --example get_twin
//! ```

use ferrohub_device::DeviceClient;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = DeviceClient::from_connection_string(&std::env::var("IOTHUB_DEVICE_CONNECTION_STRING")?)?;
    client.connect().await?;
    let twin = client.get_twin().await?;
    eprintln!(
        "desired, version {}: {:#}",
        twin.desired.version(),
        serde_json::json!(twin.desired.properties())
    );
    eprintln!(
        "reported, version {}: {:#}",
        twin.reported.version(),
        serde_json::json!(twin.reported.properties())
    );
    client.disconnect().await;
    Ok(())
}
