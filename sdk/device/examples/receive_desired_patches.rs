//! Receives changes of the desired properties, and reports them as applied.
//!
//! ```text
//! IOTHUB_DEVICE_CONNECTION_STRING='HostName=…;DeviceId=…;SharedAccessKey=…' \
//!     cargo run --example receive_desired_patches
//! ```

use ferrohub_device::{DesiredUpdate, DeviceClient, Properties};
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = DeviceClient::from_connection_string(&std::env::var("IOTHUB_DEVICE_CONNECTION_STRING")?)?;
    let mut updates = client.desired_updates();
    client.connect().await?;
    let mut desired = Properties::new();
    loop {
        let update = tokio::select! {
            _ = tokio::signal::ctrl_c() => break,
            update = updates.next() => update.ok_or("the hub refused the subscription")?,
        };
        let what = match &update {
            DesiredUpdate::Patch(_) => "a patch",
            _ => "the full section",
        };
        eprintln!("{what}, version {}: {}", update.version(), json!(update.section().properties()));
        update.apply_to(&mut desired);
        // A real device would apply the settings first.
        client.patch_reported(&desired).await?;
    }
    client.disconnect().await;
    Ok(())
}
