//! Queries on twins.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use ferrohub_core::queries::{Page, PageRequest, QueryFailure, QueryStore};
use ferrohub_core::store::StoreError;
use ferrohub_model::SharedAccessKey;

use super::SqliteStore;
use crate::queries;

/// Sets the flag when the caller of a query is cancelled.
struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[async_trait]
impl QueryStore for SqliteStore {
    async fn run_query(&self, request: PageRequest) -> Result<Page, QueryFailure> {
        let cancelled = Arc::new(AtomicBool::new(false));
        let _guard = CancelOnDrop(cancelled.clone());
        let indexed = self.indexed_paths.clone();
        self.query_readers.read(move |db| queries::read_page(db, &request, &indexed, cancelled)).await?
    }

    async fn continuation_key(&self, candidate: &SharedAccessKey) -> Result<SharedAccessKey, StoreError> {
        let candidate = candidate.clone();
        self.writer.write(move |db| queries::continuation_key(db, &candidate)).await
    }
}
