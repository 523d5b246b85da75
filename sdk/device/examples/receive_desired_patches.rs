//! Follows what the back end wants of the device, and reports what it does about it.
//!
//! ```text
//! IOTHUB_DEVICE_CONNECTION_STRING='HostName=…;DeviceId=…;SharedAccessKey=…' \
//!     cargo run --example receive_desired_patches
//! ```

use ferrohub_device::{DesiredUpdate, DeviceClient};
use serde_json::{Map, json};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = DeviceClient::from_connection_string(&std::env::var("IOTHUB_DEVICE_CONNECTION_STRING")?)?;
    let mut updates = client.desired_updates();
    client.connect().await?;
    let mut wanted = Map::new();
    loop {
        let update = tokio::select! {
            _ = tokio::signal::ctrl_c() => break,
            update = updates.next() => update.ok_or("the hub does not let the device listen")?,
        };
        let what = match &update {
            DesiredUpdate::Full(_) => "the whole",
            DesiredUpdate::Patch(_) => "a patch",
        };
        eprintln!("{what}, version {}: {}", update.version(), json!(update.section().properties()));
        update.apply_to(&mut wanted);
        // A device would do what is wanted first.
        client.patch_reported(&wanted).await?;
    }
    client.disconnect().await;
    Ok(())
}
