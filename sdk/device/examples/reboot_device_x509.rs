//! A device that authenticates with an X.509 certificate: self-signed and registered with its thumbprint, or signed by
//! a certificate authority that is registered at the hub, with the device id as common name.
//!
//! ```text
//! cargo run --example reboot_device_x509 -- HOST DEVICE-ID CERTIFICATE.pem KEY.pem
//! ```

use ferrohub_device::{DeviceClient, MethodRequest, MethodResponse};
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [host, device_id, certificate, key] = arguments.as_slice() else {
        return Err("usage: reboot_device_x509 HOST DEVICE-ID CERTIFICATE.pem KEY.pem".into());
    };
    let client = DeviceClient::builder(host, device_id)
        .x509(std::fs::read(certificate)?, std::fs::read(key)?)
        .build()?;
    client.on_method("rebootDevice", |request: MethodRequest| async move {
        eprintln!("Rebooting, with payload {}", request.payload_text());
        MethodResponse::new(200).payload(&json!({ "Response": "This is the response from the device" }))
    });
    client.connect().await?;
    eprintln!("Waiting for calls, press Ctrl-C to end");
    tokio::signal::ctrl_c().await?;
    client.disconnect().await;
    Ok(())
}
