//! Work that a caller that hangs up must not stop half way.

use ferrohub_model::{ErrorCode, HubError};
use tracing::error;

/// Runs `work` to completion even if the caller is cancelled, so that a change and its consequences are not separated.
pub(crate) async fn run_uncancelled<T: Send + 'static>(
    work: impl Future<Output = Result<T, HubError>> + Send + 'static,
) -> Result<T, HubError> {
    tokio::spawn(work).await.unwrap_or_else(|error| {
        error!(%error, "an operation was cancelled or panicked");
        let text = "The hub failed while it processed the operation; its log says why.";
        Err(HubError::new(ErrorCode::ServerError, text))
    })
}
