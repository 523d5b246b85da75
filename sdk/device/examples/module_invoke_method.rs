//! A module that calls a method of a device, or of a module on one.
//!
//! ```text
//! IOTHUB_DEVICE_CONNECTION_STRING='HostName=…;DeviceId=…;ModuleId=…;SharedAccessKey=…' \
//!     cargo run --example module_invoke_method -- DEVICE [MODULE]
//! ```

use std::time::Duration;

use ferrohub_device::{DeviceClient, MethodInvocation, MethodTarget};
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let device_id = arguments.next().ok_or("usage: module_invoke_method DEVICE [MODULE]")?;
    let module_id = arguments.next();
    let target = match &module_id {
        None => MethodTarget::from(device_id.as_str()),
        Some(module_id) => (device_id.as_str(), module_id.as_str()).into(),
    };
    let module = DeviceClient::from_connection_string(&std::env::var("IOTHUB_DEVICE_CONNECTION_STRING")?)?;
    let call = MethodInvocation::new("rebootDevice")
        .payload(&json!({ "when": "now" }))?
        .connect_timeout(Duration::from_secs(10));
    let response = module.invoke_method(target, &call).await?;
    eprintln!("{}: {}", response.status(), response.payload_text());
    Ok(())
}
