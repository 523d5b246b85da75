//! Calls `rebootDevice` on a device, authenticated with Microsoft Entra by a client secret.
//!
//! ```text
//! IOTHUB_HOSTNAME=… AZURE_TENANT_ID=… AZURE_CLIENT_ID=… AZURE_CLIENT_SECRET=… \
//!     cargo run --example invoke_reboot_entra -- myDevice
//! ```
//!
//! `AZURE_AUTHORITY_HOST` names another authority than the public cloud's.

use std::env;
use std::time::Duration;

use ferrohub_service::{ClientSecretCredential, MethodInvocation, ServiceClient};
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device_id = env::args().nth(1).unwrap_or_else(|| "myDevice".to_owned());
    let mut credential = ClientSecretCredential::new(
        env::var("AZURE_TENANT_ID")?,
        env::var("AZURE_CLIENT_ID")?,
        env::var("AZURE_CLIENT_SECRET")?,
    );
    if let Ok(authority) = env::var("AZURE_AUTHORITY_HOST") {
        credential = credential.authority(&authority);
    }
    let client = ServiceClient::from_token_credential(&env::var("IOTHUB_HOSTNAME")?, credential)?;
    // Waits for a device that is rebooting.
    let invocation = MethodInvocation::new("rebootDevice")
        .payload(&json!({ "delaySeconds": 5 }))?
        .connect_timeout(Duration::from_secs(30));
    let response = client.invoke_method(&device_id, &invocation).await?;
    eprintln!("status {}: {}", response.status(), response.payload_text());
    Ok(())
}
