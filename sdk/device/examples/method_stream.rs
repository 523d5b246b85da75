//! Method calls as a stream: one loop receives every request, responds, and waits until the hub has acknowledged the
//! response.
//!
//! ```text
//! IOTHUB_DEVICE_CONNECTION_STRING='HostName=…;DeviceId=…;SharedAccessKey=…' cargo run --example method_stream
//! ```

use ferrohub_device::{DeviceClient, MethodResponse};
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = DeviceClient::from_connection_string(&std::env::var("IOTHUB_DEVICE_CONNECTION_STRING")?)?;
    let mut requests = client.method_requests();
    client.connect().await?;
    while let Some(request) = requests.next().await {
        let response = match request.name() {
            "rebootDevice" => MethodResponse::new(200).payload(&json!({ "Response": "on its way" })),
            name => {
                MethodResponse::new(404).payload(&json!({ "Response": format!("there is no method {name}") }))
            }
        };
        match request.respond(response).await {
            Ok(()) => eprintln!("answered {}", request.name()),
            Err(error) => eprintln!("{} was not answered: {error}", request.name()),
        }
    }
    Ok(())
}
