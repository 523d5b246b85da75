//! The third step: the hub hears how it went, whatever happened.

use std::sync::Arc;

use hyper::HeaderMap;
use serde::Serialize;
use tokio::time::sleep;

use crate::driver::Shared;
use crate::error::Error;
use crate::reconnect::Backoff;

/// How often the hub is told.
const ATTEMPTS: u32 = 5;
/// InvalidFileUploadCorrelationId.
const UNKNOWN: u32 = 400_015;
/// The longest description of a failure, in characters.
const MAX_DESCRIPTION: usize = 512;

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Notification {
    correlation_id: String,
    is_success: bool,
    status_code: u16,
    status_description: String,
}

/// An upload that the hub waits to hear of. Dropped before that, with the future of its caller, it is reported in the
/// background.
pub(super) struct CompletionGuard {
    shared: Arc<Shared>,
    path: String,
    notification: Option<Notification>,
}

impl CompletionGuard {
    pub(super) fn new(shared: Arc<Shared>, path: String, correlation_id: &str) -> Self {
        let notification = Some(Notification {
            correlation_id: correlation_id.to_owned(),
            is_success: false,
            status_code: 0,
            status_description: "the device gave the upload up".to_owned(),
        });
        Self { shared, path, notification }
    }

    pub(super) fn succeeded(&mut self) {
        self.set_outcome(true, 200, String::new());
    }

    pub(super) fn failed(&mut self, error: &Error) {
        let description = error.to_string().chars().take(MAX_DESCRIPTION).collect();
        self.set_outcome(false, error.status().unwrap_or(0), description);
    }

    fn set_outcome(&mut self, is_success: bool, status_code: u16, status_description: String) {
        if let Some(notification) = &mut self.notification {
            (notification.is_success, notification.status_code) = (is_success, status_code);
            notification.status_description = status_description;
        }
    }

    /// Tells the hub.
    pub(super) async fn report(mut self) -> Result<(), Error> {
        let Some(notification) = self.notification.clone() else { return Ok(()) };
        let told = send_report(&self.shared, &self.path, &notification).await;
        self.notification = None;
        told
    }
}

async fn send_report(shared: &Shared, path: &str, notification: &Notification) -> Result<(), Error> {
    let mut backoff = Backoff::default();
    let mut attempts = 1;
    loop {
        let told =
            shared.config.post(path, notification, HeaderMap::new(), shared.config.request_timeout).await;
        match told.and_then(|answer| answer.success("the hub does not take the outcome of the upload")) {
            Ok(_) => return Ok(()),
            // The answer to an earlier attempt was lost: the hub knows.
            Err(error) if attempts > 1 && error.code() == Some(UNKNOWN) => return Ok(()),
            Err(error) if attempts >= ATTEMPTS || !error.is_retryable() => return Err(error),
            Err(error) => tracing::debug!(%error, "the hub is not told yet how an upload went"),
        }
        attempts += 1;
        sleep(backoff.next_delay(&shared.config.reconnect)).await;
    }
}

impl Drop for CompletionGuard {
    fn drop(&mut self) {
        let Some(notification) = self.notification.take() else { return };
        // Without a runtime there is nobody who could.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (shared, path) = (self.shared.clone(), std::mem::take(&mut self.path));
        runtime.spawn(async move {
            if let Err(error) = send_report(&shared, &path, &notification).await {
                tracing::warn!(%error, "the hub was not told that an upload was given up");
            }
        });
    }
}
