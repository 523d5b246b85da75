//! Prints events, and continues where it stopped: the position is stored in the file `events.position`.
//!
//! ```text
//! IOTHUB_CONNECTION_STRING='HostName=…;SharedAccessKeyName=service;SharedAccessKey=…' cargo run --example events
//! ```

use std::error::Error;
use std::fs;

use ferrohub_service::{EventStart, ServiceClient};

const POSITION_FILE: &str = "events.position";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let client = ServiceClient::from_connection_string(&std::env::var("IOTHUB_CONNECTION_STRING")?)?;
    let start = match fs::read_to_string(POSITION_FILE) {
        Ok(position) => EventStart::After(position.parse()?),
        Err(_) => EventStart::Earliest,
    };
    let mut events = client.events().start(start).open().await?;
    while let Some(event) = events.next().await {
        let event = event?;
        eprintln!("{} {}", event.device_id().unwrap_or_default(), event.body.to_text());
        // After the event is processed: a crash may repeat an event, but never skips one.
        fs::write(POSITION_FILE, events.position().to_string())?;
    }
    Ok(())
}
