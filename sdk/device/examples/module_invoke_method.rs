//! A module that calls a method of a device or of another module.
//!
//! ```text
//! IOTHUB_DEVICE_CONNECTION_STRING='HostName=…;DeviceId=…;ModuleId=…;SharedAccessKey=…' \
//!     cargo run --example module_invoke_method -- DEVICE [MODULE]
//! ```

use std::time::Duration;

use ferrohub_device::{DeviceClient, IdentityId, MethodInvocation};
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let device_id = arguments.next().ok_or("usage: module_invoke_method DEVICE [MODULE]")?;
    let module_id = arguments.next();
    let target = match &module_id {
        None => IdentityId::try_from(device_id.as_str())?,
        Some(module_id) => IdentityId::try_from((device_id.as_str(), module_id.as_str()))?,
    };
    let module = DeviceClient::from_connection_string(&std::env::var("IOTHUB_DEVICE_CONNECTION_STRING")?)?;
    let invocation = MethodInvocation::new("rebootDevice")
        .payload(&json!({ "when": "now" }))?
        .connect_timeout(Duration::from_secs(10));
    let response = module.invoke_method(target, &invocation).await?;
    eprintln!("{}: {}", response.status(), response.payload_text());
    Ok(())
}
