//! Queries on twins.

use async_trait::async_trait;
use ferrohub_core::jobs::run_jobs_in_memory;
use ferrohub_core::queries::{Page, PageRequest, QueryFailure, QueryStore, run_in_memory};
use ferrohub_core::store::StoreError;
use ferrohub_model::SharedAccessKey;

use super::MemoryStore;
use super::state::State;

#[async_trait]
impl QueryStore for MemoryStore {
    async fn run_query(&self, request: PageRequest) -> Result<Page, QueryFailure> {
        if request.is_on_jobs() {
            let rows = self.read(State::job_rows).await?;
            return Ok(run_jobs_in_memory(&request, rows));
        }
        let twins: Vec<_> = self
            .read(|state| {
                let ids: Vec<_> =
                    state.identities.iter().map(|(id, stored)| (id.clone(), stored.twin.clone())).collect();
                ids.into_iter().filter_map(|(id, twin)| Some((state.identity(&id)?, twin))).collect()
            })
            .await?;
        run_in_memory(&request, twins.iter().map(|(identity, twin)| (identity, twin)))
    }

    async fn continuation_key(&self, candidate: &SharedAccessKey) -> Result<SharedAccessKey, StoreError> {
        self.write(|state| state.continuation_key.get_or_insert_with(|| candidate.clone()).clone()).await
    }
}
