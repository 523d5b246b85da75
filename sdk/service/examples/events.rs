//! Prints what devices send, from where it stopped the last time: that is kept in the file `events.position`.
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
    loop {
        let event = events.next().await?;
        eprintln!("{} {}", event.device_id().unwrap_or_default(), event.body.to_text());
        // Behind the work: after a crash an event may come once more, but none is left out.
        fs::write(POSITION_FILE, events.position().to_string())?;
    }
}
