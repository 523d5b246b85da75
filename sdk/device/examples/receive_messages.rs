//! Receives messages from the cloud, and completes each after processing it.
//!
//! ```text
//! IOTHUB_DEVICE_CONNECTION_STRING='HostName=…;DeviceId=…;SharedAccessKey=…' cargo run --example receive_messages
//! ```

use ferrohub_device::DeviceClient;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = DeviceClient::from_connection_string(&std::env::var("IOTHUB_DEVICE_CONNECTION_STRING")?)?;
    let mut messages = client.messages();
    client.connect().await?;
    eprintln!("Waiting for messages, press Ctrl-C to end");
    loop {
        let message = tokio::select! {
            _ = tokio::signal::ctrl_c() => break,
            message = messages.next() => message.ok_or("the hub refused the subscription")?,
        };
        eprintln!("{:?}: {}", message.message_id(), String::from_utf8_lossy(message.body()));
        for (name, value) in message.properties() {
            eprintln!("  {name} = {value}");
        }
        // Until this call the hub keeps the message: a device that fails before receives it again.
        message.complete()?;
    }
    client.disconnect().await;
    Ok(())
}
