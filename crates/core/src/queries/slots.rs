//! Bounds how many queries run and wait at the same time, and keeps the key of continuation tokens.

use std::sync::Arc;

use ferrohub_model::{ErrorCode, HubError, SharedAccessKey};
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};

use super::{QueryLimits, QueryStore};
use crate::store_error::{StoreError, store_failed};

/// The queries of this node.
#[derive(Debug)]
pub(crate) struct QuerySlots {
    running: Arc<Semaphore>,
    /// One permit for each query that waits or runs.
    admitted: Arc<Semaphore>,
    continuation_key: OnceCell<SharedAccessKey>,
}

/// The permission to run a query, until it is dropped.
#[derive(Debug)]
pub(super) struct QuerySlot {
    _running: OwnedSemaphorePermit,
    _admitted: OwnedSemaphorePermit,
}

impl QuerySlots {
    pub(crate) fn new(limits: &QueryLimits) -> Self {
        let concurrent = limits.concurrent.clamp(1, Semaphore::MAX_PERMITS);
        let admitted = concurrent.saturating_add(limits.waiting).min(Semaphore::MAX_PERMITS);
        Self {
            running: Arc::new(Semaphore::new(concurrent)),
            admitted: Arc::new(Semaphore::new(admitted)),
            continuation_key: OnceCell::new(),
        }
    }

    /// Waits until the query may run.
    ///
    /// # Errors
    /// `ThrottlingException` if too many queries wait, or others do not end in time.
    pub(super) async fn acquire(&self, limits: &QueryLimits) -> Result<QuerySlot, HubError> {
        let full = || {
            let text = "Too many queries run on this hub; try again later.";
            HubError::new(ErrorCode::ThrottlingException, text)
        };
        let admitted = self.admitted.clone().try_acquire_owned().map_err(|_| full())?;
        let running = tokio::time::timeout(limits.wait, self.running.clone().acquire_owned()).await;
        match running {
            Ok(Ok(running)) => Ok(QuerySlot { _running: running, _admitted: admitted }),
            Ok(Err(_)) | Err(_) => Err(full()),
        }
    }

    /// Returns the key that signs continuation tokens.
    pub(super) async fn continuation_key(
        &self,
        store: &(impl QueryStore + ?Sized),
    ) -> Result<&SharedAccessKey, HubError> {
        let read = async || store.continuation_key(&SharedAccessKey::generate()).await;
        self.continuation_key.get_or_try_init(read).await.map_err(|error: StoreError| store_failed(error))
    }
}
