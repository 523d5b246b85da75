//! `ferrohub monitor feedback`: prints feedback about cloud-to-device messages.

use std::time::Duration;

use clap::Args;
use ferrohub_service::{FeedbackRecord, ServiceClient};

use crate::output::{Output, one_line};

/// How often the hub is polled.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Flags of `ferrohub monitor feedback`.
#[derive(Debug, Args)]
pub(crate) struct Feedback {
    /// Stop after this many records
    #[arg(long, value_name = "NUMBER")]
    count: Option<usize>,
}

impl Feedback {
    pub(crate) async fn run(self, client: &ServiceClient, output: Output) -> anyhow::Result<()> {
        let mut stream = client.feedback(POLL_INTERVAL);
        output.note("waiting for feedback; press Ctrl-C to stop");
        let mut left = self.count.unwrap_or(usize::MAX);
        while left > 0 {
            let Some(records) = stream.next().await.transpose()? else { break };
            for record in &records {
                output.print_each(record, text)?;
            }
            left = left.saturating_sub(records.len());
        }
        // Completes the last batch, so that it is not delivered again.
        stream.complete().await?;
        Ok(())
    }
}

fn text(record: &FeedbackRecord) -> String {
    let module = record.module_id.as_ref().map(|module| format!("/{module}")).unwrap_or_default();
    format!(
        "{}  {}{module}  {}  {}",
        record.enqueued_time_utc,
        record.device_id,
        record.status_code.name(),
        one_line(&record.original_message_id)
    )
}
