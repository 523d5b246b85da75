//! The third step: the outcome is reported to the hub.

use std::sync::Arc;

use ferrohub_model::ErrorCode;
use ferrohub_model::file::FileUploadOutcome;
use hyper::HeaderMap;
use tokio::time::sleep;

use super::is_retryable;
use crate::driver::Shared;
use crate::error::Error;
use crate::retry::Backoff;

/// How often the report is sent at most.
const ATTEMPTS: u32 = 5;
/// Longest description of a failure, in characters.
const MAX_DESCRIPTION: usize = 512;

/// Reports the outcome of an upload. If it is dropped before that, together with the future of the caller, it reports a
/// failure in the background.
pub(super) struct CompletionGuard {
    shared: Arc<Shared>,
    path: String,
    outcome: Option<FileUploadOutcome>,
}

impl CompletionGuard {
    pub(super) fn new(shared: Arc<Shared>, path: String, correlation_id: &str) -> Self {
        let outcome = FileUploadOutcome {
            correlation_id: Some(correlation_id.to_owned()),
            is_success: false,
            status_code: Some(0),
            status_description: Some("the device cancelled the upload".to_owned()),
        };
        Self { shared, path, outcome: Some(outcome) }
    }

    pub(super) fn succeeded(&mut self) {
        self.set_outcome(true, 200, String::new());
    }

    pub(super) fn failed(&mut self, error: &Error) {
        let description = error.to_string().chars().take(MAX_DESCRIPTION).collect();
        self.set_outcome(false, error.status().unwrap_or(0), description);
    }

    fn set_outcome(&mut self, is_success: bool, status_code: u16, status_description: String) {
        if let Some(outcome) = &mut self.outcome {
            outcome.is_success = is_success;
            outcome.status_code = Some(status_code.into());
            outcome.status_description = Some(status_description);
        }
    }

    /// Sends the report.
    pub(super) async fn report(mut self) -> Result<(), Error> {
        let Some(outcome) = self.outcome.clone() else { return Ok(()) };
        let result = send_report(&self.shared, &self.path, &outcome).await;
        self.outcome = None;
        result
    }
}

async fn send_report(shared: &Shared, path: &str, outcome: &FileUploadOutcome) -> Result<(), Error> {
    let already_reported = ErrorCode::InvalidFileUploadCorrelationId.number();
    let mut backoff = Backoff::default();
    let mut attempts = 1;
    loop {
        let timeout = shared.config.request_timeout;
        let response = shared.config.post(path, outcome, HeaderMap::new(), timeout).await;
        match response.and_then(|response| response.success("the hub refused the outcome of the upload")) {
            Ok(_) => return Ok(()),
            // The hub received an earlier attempt, and its response was lost.
            Err(error) if attempts > 1 && error.code() == Some(already_reported) => return Ok(()),
            Err(error) if attempts >= ATTEMPTS || !is_retryable(&error) => return Err(error),
            Err(error) => tracing::debug!(%error, attempts, "report of an upload failed; retrying"),
        }
        attempts += 1;
        sleep(backoff.next_delay(&shared.config.retry)).await;
    }
}

impl Drop for CompletionGuard {
    fn drop(&mut self) {
        let Some(outcome) = self.outcome.take() else { return };
        // Without a runtime there is no way to send it.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (shared, path) = (self.shared.clone(), std::mem::take(&mut self.path));
        runtime.spawn(async move {
            if let Err(error) = send_report(&shared, &path, &outcome).await {
                tracing::warn!(%error, "a cancelled upload was not reported to the hub");
            }
        });
    }
}
