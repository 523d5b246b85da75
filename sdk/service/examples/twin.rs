//! Reads the twin of a device, sets its location as a tag, and sets its telemetry interval to five seconds.
//!
//! ```text
//! IOTHUB_CONNECTION_STRING='HostName=…;SharedAccessKeyName=service;SharedAccessKey=…' \
//!     cargo run --example twin -- myDevice
//! ```

use std::error::Error;

use ferrohub_service::{Properties, ServiceClient, TwinChange};
use serde_json::{Value, json};

fn object(value: Value) -> Properties {
    value.as_object().cloned().unwrap_or_default()
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let device_id = std::env::args().nth(1).ok_or("usage: twin DEVICE")?;
    let client = ServiceClient::from_connection_string(&std::env::var("IOTHUB_CONNECTION_STRING")?)?;

    let twin = client.get_twin(&device_id).await?;
    eprintln!("version {} with tags {:?}", twin.version.unwrap_or_default(), twin.tags.unwrap_or_default());

    let change = TwinChange::desired(object(json!({ "telemetry": { "intervalSeconds": 5 } })))
        .and_tags(object(json!({ "location": { "region": "US", "plant": "Redmond43" } })));
    // Only if it has not changed since it was read.
    let twin = client.update_twin(&device_id, &change, twin.etag.as_deref()).await?;
    eprintln!("{}", serde_json::to_string_pretty(&twin)?);
    Ok(())
}
