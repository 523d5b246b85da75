//! Calls `rebootDevice` on a device, with the connection string of a shared access policy.
//!
//! ```text
//! IOTHUB_CONNECTION_STRING='HostName=…;SharedAccessKeyName=service;SharedAccessKey=…' \
//!     cargo run --example invoke_reboot -- myDevice
//! ```

use std::time::Duration;

use ferrohub_service::{MethodInvocation, ServiceClient};
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device_id = std::env::args().nth(1).unwrap_or_else(|| "myDevice".to_owned());
    let client = ServiceClient::from_connection_string(&std::env::var("IOTHUB_CONNECTION_STRING")?)?;
    let invocation = MethodInvocation::new("rebootDevice")
        .payload(&json!({ "input1": "someInput", "input2": "anotherInput" }))?
        .response_timeout(Duration::from_secs(60))
        .connect_timeout(Duration::from_secs(10));

    eprintln!("Invoking device to reboot...");
    match client.invoke_method(&device_id, &invocation).await {
        Ok(response) => {
            eprintln!("The device responded with status {} and this payload:", response.status());
            eprintln!("{}", response.payload_text());
            Ok(())
        }
        Err(error) if error.is_retryable() => Err(format!("{error}; try again later").into()),
        Err(error) => Err(error.into()),
    }
}
