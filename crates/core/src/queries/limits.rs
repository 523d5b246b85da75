//! Limits of queries.

use std::time::Duration;

use ferrohub_query::Aggregation;

use super::QueryFailure;

/// Number of rows in a page if the caller does not ask for a number.
pub const DEFAULT_PAGE_ROWS: usize = 100;

/// Limits of queries.
#[derive(Debug, Clone)]
pub struct QueryLimits {
    /// Maximum number of rows in a page. A caller that asks for more gets this number, as in Azure.
    pub page_rows: usize,
    /// Maximum size of the rows in a page, in bytes of JSON. A page with larger rows has fewer rows, but at least one.
    pub page_bytes: usize,
    /// Maximum number of groups of a query with `GROUP BY`.
    pub groups: usize,
    /// Maximum size of the groups in memory, with their values and totals, in bytes.
    pub group_bytes: usize,
    /// Maximum duration of one page.
    pub duration: Duration,
    /// Maximum number of queries that this node runs at the same time. It should be smaller than the number of processors,
    /// because every query may use a whole one.
    pub concurrent: usize,
    /// Maximum number of queries that wait for others to end.
    pub waiting: usize,
    /// How long a query waits for others to end.
    pub wait: Duration,
}

impl Default for QueryLimits {
    fn default() -> Self {
        Self {
            page_rows: 1000,
            page_bytes: 4 * 1024 * 1024,
            groups: 10_000,
            group_bytes: 32 * 1024 * 1024,
            duration: Duration::from_secs(10),
            concurrent: 2,
            waiting: 64,
            wait: Duration::from_secs(10),
        }
    }
}

impl QueryLimits {
    /// Checks the groups that a query has so far. An adapter calls this after each row.
    ///
    /// # Errors
    ///
    /// [`QueryFailure::TooManyGroups`].
    pub fn check_groups(&self, aggregation: &Aggregation<'_>) -> Result<(), QueryFailure> {
        if aggregation.len() > self.groups || aggregation.bytes() > self.group_bytes {
            return Err(QueryFailure::TooManyGroups);
        }
        Ok(())
    }
}
