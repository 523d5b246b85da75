//! Selects the devices or modules of a job, page by page.

use std::sync::Arc;
use std::time::Duration;

use ferrohub_model::ErrorCode;
use ferrohub_query::Query;
use ferrohub_query::plan::{Column, Output, Path, Root};

use super::create_job::parse_condition;
use super::run::{Interruption, JobRun};
use super::store::AddedDevices;

/// How long to wait when the hub has no room for a query, or its store fails.
const RETRY_DELAY: Duration = Duration::from_secs(1);

impl JobRun {
    /// Writes a row for each device or module that the condition selects. Continues after the last row, if an earlier run
    /// has begun.
    pub(super) async fn select(&mut self) -> Result<(), Interruption> {
        let number = self.held.lease.number;
        let filter = match parse_condition(&self.held.job.definition.condition) {
            Ok(filter) => filter,
            Err(error) => return Err(self.fail(error.message.into_owned()).await),
        };
        let column =
            |root: Root| Column { key: root.as_str().to_owned(), value: Path::new(root, Vec::new()) };
        let output = Output::Columns(vec![column(Root::DeviceId), column(Root::ModuleId)]);
        let query = Arc::new(Query { filter, output, top: None });
        let mut after = self.retry(|| self.node.store.last_job_device(number)).await?;
        loop {
            if self.active.is_cancelled() {
                return Err(Interruption::JobEnded);
            }
            let hub = self.node.hub()?;
            let page = hub.select_ids(&query, after.as_ref()).await;
            drop(hub);
            let (ids, next) = match page {
                Ok(page) => page,
                Err(error) if is_temporary(error.code) => {
                    if self.stop.requested_within(RETRY_DELAY).await {
                        return Err(Interruption::Stopped);
                    }
                    continue;
                }
                Err(error) => return Err(self.fail(error.message.into_owned()).await),
            };
            let (lease, is_last) = (self.held.lease, next.is_none());
            let added =
                self.retry(|| self.node.store.add_job_devices(lease, &ids, is_last, self.now())).await?;
            match added {
                AddedDevices::NotSelecting => return Err(Interruption::Lost),
                AddedDevices::Added if is_last => return Ok(()),
                AddedDevices::Added => after = next,
            }
            if self.stop.is_requested() {
                return Err(Interruption::Stopped);
            }
        }
    }
}

fn is_temporary(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::ThrottlingException | ErrorCode::ServerError | ErrorCode::ServiceUnavailable)
}
