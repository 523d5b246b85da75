//! The part of the store port that runs queries.

use std::sync::Arc;

use async_trait::async_trait;
use ferrohub_model::{IdentityId, SharedAccessKey};
use ferrohub_query::Query;
use ferrohub_query::plan::Collection;
use serde_json::{Map, Value};

use super::{LiveState, QueryLimits};
use crate::registry::Identity;
use crate::store_error::StoreError;
use crate::twins::TwinDocument;

/// Where a page of a query begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Position {
    /// After the row of this identity. For queries that have a row for each twin.
    After(IdentityId),
    /// After the row of this job and identity. For queries on the rows of jobs.
    AfterJob {
        /// The number of the job.
        number: u64,
        /// The identity.
        id: IdentityId,
    },
    /// After this number of rows. For queries with aggregates or groups.
    Row(u64),
}

/// A page to read.
#[derive(Clone)]
pub struct PageRequest {
    /// The query. Its `TOP` counts over all pages, so an adapter does not use it.
    pub query: Arc<Query>,
    /// Where the page begins; `None` for the first page.
    pub position: Option<Position>,
    /// Maximum number of rows in this page; at least 1.
    pub rows: usize,
    /// The limits that the adapter enforces: bytes, groups and duration.
    pub limits: QueryLimits,
    /// The live state.
    pub live: Arc<dyn LiveState>,
}

impl PageRequest {
    /// Returns whether the query is on the rows of jobs, and not on twins.
    #[must_use]
    pub fn is_on_jobs(&self) -> bool {
        self.query.filter.collection == Collection::Jobs
    }
}

/// A page of a query.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// The rows in order.
    pub items: PageItems,
    /// Where the next page begins; `None` if there are no more rows.
    pub next: Option<Position>,
}

/// The rows of a page.
#[derive(Debug, Clone, PartialEq)]
pub enum PageItems {
    /// Whole twins, with the stored times of activity.
    Twins(Vec<(Identity, TwinDocument)>),
    /// Rows of columns, or whole rows of jobs.
    Rows(Vec<Map<String, Value>>),
}

/// Why a page was not read.
#[derive(Debug, thiserror::Error)]
pub enum QueryFailure {
    /// It took longer than [`QueryLimits::duration`].
    #[error("the query took too long")]
    TimedOut,
    /// The query has more groups than [`QueryLimits::groups`], or they are larger than [`QueryLimits::group_bytes`].
    #[error("the query has too many groups")]
    TooManyGroups,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Runs queries.
#[async_trait]
pub trait QueryStore: Send + Sync + 'static {
    /// Reads a page from one snapshot of the store. The result equals that of [`run_in_memory`](super::run_in_memory), or
    /// for the rows of jobs that of [`run_jobs_in_memory`](crate::jobs::run_jobs_in_memory), except that a page may be shorter where rows are large. If the caller is cancelled, so is the query.
    ///
    /// A query must not delay other calls of the store.
    async fn run_query(&self, request: PageRequest) -> Result<Page, QueryFailure>;

    /// Returns the key that signs continuation tokens, the same for all nodes of a hub and after a restart. If the store
    /// has no key, it stores `candidate` and returns it.
    async fn continuation_key(&self, candidate: &SharedAccessKey) -> Result<SharedAccessKey, StoreError>;
}
