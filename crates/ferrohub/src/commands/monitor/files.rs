//! `ferrohub monitor files`: prints file notifications.

use std::time::Duration;

use clap::Args;
use ferrohub_service::FileNotification;

use crate::login::Access;
use crate::output::{Output, one_line, plural};

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
    pub(super) async fn run(self, access: &Access, output: Output) -> anyhow::Result<()> {
        let client = &access.client;
        if access.local.as_ref().is_some_and(|hub| !hub.file_notifications) {
            output.warn(
                "file notifications are off, so none will arrive: set files.notifications = true and restart the hub",
            );
        } else {
            output.note(
                "waiting for file notifications (the hub needs files.notifications); press Ctrl-C to stop",
            );
        }
        let mut left = self.count.unwrap_or(u64::MAX);
        while left > 0 {
            let Some(received) = client.receive_file_notification().await? else {
                tokio::time::sleep(POLL_INTERVAL).await;
                continue;
            };
            output.print_each(&received.notification, text)?;
            // Completed after it is printed: if printing fails, the notification is delivered again.
            received.complete().await?;
            left -= 1;
        }
        Ok(())
    }
}

fn text(notification: &FileNotification) -> String {
    let size = plural(notification.blob_size_in_bytes, "byte");
    format!("{}  {}  {size}", notification.enqueued_time_utc, one_line(&notification.blob_name))
}
