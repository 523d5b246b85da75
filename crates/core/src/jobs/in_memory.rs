//! Runs a page of a query on the rows of jobs in memory. This defines the result of
//! [`QueryStore`](crate::queries::QueryStore) for them.

use ferrohub_model::IdentityId;
use serde_json::Value;

use super::present::row_document;
use super::store::{JobRow, StoredJob};
use crate::queries::{Page, PageItems, PageRequest, Position};

/// Runs a page of a query on the rows of jobs, which come in the order of the numbers of jobs and the ids of devices and
/// modules.
pub fn run_jobs_in_memory(
    request: &PageRequest,
    rows: impl IntoIterator<Item = (StoredJob, JobRow)>,
) -> Page {
    let key = |number: u64, id: &IdentityId| {
        (number, id.device_str().to_owned(), id.module_str().map(str::to_owned))
    };
    let start = match &request.position {
        Some(Position::AfterJob { number, id }) => Some(key(*number, id)),
        _ => None,
    };
    let (mut page, mut bytes, mut next) = (Vec::new(), 0, None);
    for (job, row) in rows {
        let document = row_document(&job, &row);
        let is_before = start.as_ref().is_some_and(|start| key(job.number, &row.id) <= *start);
        if is_before || !request.query.filter.keeps(&document) {
            continue;
        }
        bytes += Value::from(document.clone()).to_string().len();
        if page.len() == request.rows || !page.is_empty() && bytes > request.limits.page_bytes {
            return Page { items: PageItems::Rows(page), next };
        }
        next = Some(Position::AfterJob { number: job.number, id: row.id });
        page.push(document);
    }
    Page { items: PageItems::Rows(page), next: None }
}
