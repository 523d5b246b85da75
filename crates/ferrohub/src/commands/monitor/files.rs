//! `ferrohub monitor files`: prints file notifications.

use std::time::Duration;

use clap::Args;
use ferrohub_service::{FileNotification, ServiceClient};

use crate::output::{Output, print_line};

/// How long to wait if there is no notification.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Flags of `ferrohub monitor files`.
#[derive(Debug, Args)]
pub(super) struct Files {
    /// Stop after this many notifications
    #[arg(long, value_name = "NUMBER")]
    count: Option<u64>,
}

impl Files {
    pub(super) async fn run(self, client: &ServiceClient, output: Output) -> anyhow::Result<()> {
        let mut left = self.count.unwrap_or(u64::MAX);
        while left > 0 {
            let Some(received) = client.receive_file_notification().await? else {
                tokio::time::sleep(POLL_INTERVAL).await;
                continue;
            };
            print(&received.notification, output)?;
            // Completed after it is printed: if printing fails, the notification is delivered again.
            received.complete().await?;
            left -= 1;
        }
        Ok(())
    }
}

fn print(notification: &FileNotification, output: Output) -> anyhow::Result<()> {
    match output {
        Output::Json => print_line(&serde_json::to_string(notification)?),
        Output::Table => print_line(&format!(
            "{}  {}  {} bytes",
            notification.enqueued_time_utc, notification.blob_name, notification.blob_size_in_bytes
        )),
    }
}
