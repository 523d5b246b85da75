//! A device that can be rebooted: it answers the call, goes away for a while, and comes back.
//!
//! ```text
//! IOTHUB_DEVICE_CONNECTION_STRING='HostName=…;DeviceId=…;SharedAccessKey=…' \
//!     cargo run --example reboot_device -- 20
//! ```
//!
//! The argument is how many seconds a reboot takes.

use std::time::Duration;

use ferrohub_device::{DeviceClient, MethodRequest, MethodResponse};
use serde_json::json;
use tokio::sync::mpsc;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let seconds = std::env::args().nth(1).map_or(Ok(20), |text| text.parse())?;
    let client = DeviceClient::from_connection_string(&std::env::var("IOTHUB_DEVICE_CONNECTION_STRING")?)?;

    // The handler only says yes: a device that is down cannot answer.
    let (reboot, mut reboots) = mpsc::channel(1);
    client.on_method("rebootDevice", move |request: MethodRequest| {
        let reboot = reboot.clone();
        async move {
            eprintln!("Rebooting, asked with {}", request.payload_text());
            // One reboot is enough for all who ask before it begins.
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
                // Sends the answer first.
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
