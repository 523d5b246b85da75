//! A device that can be rebooted: it responds to the call, disconnects for a while, and connects again.
//!
//! ```text
//! IOTHUB_DEVICE_CONNECTION_STRING='HostName=…;DeviceId=…;SharedAccessKey=…' \
//!     cargo run --example reboot_device -- 20
//! ```
//!
//! The argument is the duration of a reboot in seconds.

use std::time::Duration;

use ferrohub_device::{DeviceClient, MethodRequest, MethodResponse};
use serde_json::json;
use tokio::sync::mpsc;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let seconds = std::env::args().nth(1).map_or(Ok(20), |text| text.parse())?;
    let client = DeviceClient::from_connection_string(&std::env::var("IOTHUB_DEVICE_CONNECTION_STRING")?)?;

    // The handler only accepts the call: a device that is rebooting cannot respond.
    let (reboot, mut reboots) = mpsc::channel(1);
    client.on_method("rebootDevice", move |request: MethodRequest| {
        let reboot = reboot.clone();
        async move {
            eprintln!("Rebooting, with payload {}", request.payload_text());
            // Several calls before the reboot starts cause one reboot.
            let _ = reboot.try_send(());
            MethodResponse::new(200).payload(&json!({ "Response": "This is the response from the device" }))
        }
    });

    client.connect().await?;
    eprintln!("Waiting for calls, press Ctrl-C to end");
    loop {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => break,
            _ = reboots.recv() => {
                // Sends the response first.
                client.disconnect().await;
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                client.connect().await?;
                eprintln!("Rebooted");
            }
        }
    }
    client.disconnect().await;
    Ok(())
}
