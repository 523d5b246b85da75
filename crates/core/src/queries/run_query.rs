//! The operation: answers one page of a query.

use std::sync::Arc;

use ferrohub_model::twin::Twin;
use ferrohub_model::{DeviceId, ErrorCode, HubError, IdentityId, ModuleId};
use ferrohub_query::plan::{Aggregate, Collection, Column, ItemType, Output, Root};
use ferrohub_query::{Dialect, Limits, Query};
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::task::spawn_blocking;
use tracing::debug;

use super::continuation::Continuation;
use super::slots::QuerySlot;
use super::{DEFAULT_PAGE_ROWS, Page, PageItems, PageRequest, Position, QueryFailure};
use crate::callers::ServiceCaller;
use crate::hub::Hub;
use crate::metrics::count;
use crate::operations::Operation;
use crate::store::store_failed;

/// A request for a page of a query.
#[derive(Debug, Clone, Default)]
pub struct QueryRequest {
    /// The query.
    pub text: String,
    /// Maximum number of rows in the page; `None` for [`DEFAULT_PAGE_ROWS`]. More than the hub's maximum means the
    /// maximum.
    pub max_rows: Option<usize>,
    /// The continuation token of the page before; `None` for the first page.
    pub continuation: Option<String>,
}

/// A page of the result of a query. Until it is dropped, the query counts as one that runs: it may have megabytes.
#[derive(Debug)]
pub struct QueryPage {
    /// The type of the rows.
    pub item_type: ItemType,
    /// The rows.
    pub items: QueryItems,
    /// The continuation token of the next page; `None` if there are no more rows.
    pub continuation: Option<String>,
    _slot: Option<QuerySlot>,
}

/// The rows of a page. They serialize as an array.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum QueryItems {
    /// Whole twins.
    Twins(Vec<Twin>),
    /// Rows of columns.
    Rows(Vec<Map<String, Value>>),
}

impl QueryItems {
    /// Returns the number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Twins(twins) => twins.len(),
            Self::Rows(rows) => rows.len(),
        }
    }

    /// Returns whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn invalid(text: impl Into<String>) -> HubError {
    HubError::new(ErrorCode::ArgumentInvalid, text.into())
}

impl ServiceCaller {
    /// Answers a page of a query on twins, or on the rows of jobs, which needs the right to list jobs too.
    ///
    /// # Errors
    ///
    /// `ArgumentInvalid` if the query or the continuation token is not valid; `InvalidOperation` if the query takes too
    /// long or has too many groups; `ThrottlingException` if too many queries run.
    pub async fn query_twins(&self, request: QueryRequest) -> Result<QueryPage, HubError> {
        let hub = self.permit(Operation::QueryTwins)?;
        let timer = hub.metrics.queries.start();
        let result = hub.query_twins(self, request).await;
        let outcome = match &result {
            Ok(_) => "answered",
            Err(error) if error.code == ErrorCode::ArgumentInvalid => "invalid",
            Err(error) if error.code == ErrorCode::InvalidOperation => "stopped",
            Err(error) if error.code == ErrorCode::ThrottlingException => "throttled",
            Err(_) => "failed",
        };
        timer.finish(outcome);
        if let Err(error) = &result {
            debug!(%error, "query refused");
        }
        result
    }
}

impl Hub {
    async fn query_twins(
        self: &Arc<Self>,
        caller: &ServiceCaller,
        request: QueryRequest,
    ) -> Result<QueryPage, HubError> {
        let query = parse(&request.text)?;
        if query.filter.collection == Collection::Jobs {
            caller.permit(Operation::ListJobs)?;
        }
        let item_type = query.item_type();
        let normal_form = query.to_string();
        let key = self.query_slots.continuation_key(&*self.store).await?;
        let continuation = match &request.continuation {
            None => None,
            Some(token) => Some(Continuation::from_token(token, &normal_form, key).ok_or_else(|| {
                invalid(
                    "The continuation token is not valid: it belongs to another query, or it was changed.",
                )
            })?),
        };
        let returned = continuation.as_ref().map_or(0, |continuation| continuation.returned);
        let left = query.top.map(|top| top.saturating_sub(returned));
        let rows =
            request.max_rows.unwrap_or(DEFAULT_PAGE_ROWS).clamp(1, self.limits.queries.page_rows.max(1));
        let rows = left.map_or(rows, |left| rows.min(usize::try_from(left).unwrap_or(usize::MAX)));
        let (page, slot) = if rows == 0 {
            (Page { items: no_items(item_type), next: None }, None)
        } else {
            let slot = self.query_slots.acquire(&self.limits.queries).await?;
            let request = PageRequest {
                query: Arc::new(query),
                position: continuation.map(|continuation| continuation.position),
                rows,
                limits: self.limits.queries.clone(),
                live: self.live_state(),
            };
            let page = self.store.run_query(request).await.map_err(|failure| self.query_failed(failure))?;
            (page, Some(slot))
        };
        let (items, slot) = self.present(page.items, slot).await?;
        let returned = returned.saturating_add(items.len() as u64);
        let has_more = left.is_none_or(|left| left > items.len() as u64);
        let continuation = page.next.filter(|_| has_more).map(|position| {
            let next = Continuation { position, returned };
            next.to_token(&normal_form, key)
        });
        count(&self.metrics.twin_operations, "queried");
        Ok(QueryPage { item_type, items, continuation, _slot: slot })
    }

    /// Returns the rows as a service reads them. A page of twins is presented on a thread that may block: it may have
    /// megabytes. The slot goes with it, so that the query also counts if its caller is gone.
    async fn present(
        self: &Arc<Self>,
        items: PageItems,
        slot: Option<QuerySlot>,
    ) -> Result<(QueryItems, Option<QuerySlot>), HubError> {
        let twins = match items {
            PageItems::Rows(rows) => return Ok((QueryItems::Rows(rows), slot)),
            PageItems::Twins(twins) => twins,
        };
        let hub = self.clone();
        let presenting = spawn_blocking(move || {
            let twins = twins.iter().map(|(identity, twin)| hub.present_twin(identity, twin)).collect();
            (QueryItems::Twins(twins), slot)
        });
        presenting.await.map_err(|_| {
            HubError::new(ErrorCode::ServerError, "The rows of the query could not be presented.")
        })
    }

    /// Returns the number of rows of a query.
    ///
    /// # Errors
    ///
    /// As [`ServiceCaller::query_twins`].
    pub(crate) async fn count_rows(&self, text: &str) -> Result<u64, HubError> {
        let mut query = parse_query(text)?;
        let top = query.top.take().unwrap_or(u64::MAX);
        let mut position = None;
        let mut rows = 0;
        let counts = match query.output {
            Output::Documents | Output::Columns(_) => {
                query.output = Output::Totals(vec![Column { key: ROWS.to_owned(), value: Aggregate::Count }]);
                true
            }
            Output::Totals(_) => return Ok(top.min(1)),
            Output::Groups { .. } => false,
        };
        let query = Arc::new(query);
        loop {
            let _slot = self.query_slots.acquire(&self.limits.queries).await?;
            let request = PageRequest {
                query: query.clone(),
                position,
                rows: self.limits.queries.page_rows.max(1),
                limits: self.limits.queries.clone(),
                live: self.live_state(),
            };
            let page = self.store.run_query(request).await.map_err(|failure| self.query_failed(failure))?;
            let PageItems::Rows(items) = page.items else { return Ok(0) };
            if counts {
                let row = items.first().and_then(|row| row.get(ROWS)?.as_u64());
                return Ok(row.unwrap_or_default().min(top));
            }
            rows += items.len() as u64;
            match page.next {
                Some(next) => position = Some(next),
                None => return Ok(rows.min(top)),
            }
        }
    }

    /// Returns a page of the ids of a query whose columns begin with device id and module id, after an id; and the id after
    /// which the next page begins, if there is one.
    pub(crate) async fn select_ids(
        &self,
        query: &Arc<Query>,
        after: Option<&IdentityId>,
    ) -> Result<(Vec<IdentityId>, Option<IdentityId>), HubError> {
        let _slot = self.query_slots.acquire(&self.limits.queries).await?;
        let request = PageRequest {
            query: query.clone(),
            position: after.cloned().map(Position::After),
            rows: self.limits.queries.page_rows.max(1),
            limits: self.limits.queries.clone(),
            live: self.live_state(),
        };
        let page = self.store.run_query(request).await.map_err(|failure| self.query_failed(failure))?;
        let next = match page.next {
            Some(Position::After(id)) => Some(id),
            _ => None,
        };
        let PageItems::Rows(rows) = page.items else { return Ok((Vec::new(), next)) };
        let id = |row: &Map<String, Value>| {
            let text = |key: Root| row.get(key.as_str()).and_then(Value::as_str);
            let device = DeviceId::new(text(Root::DeviceId)?).ok()?;
            match text(Root::ModuleId) {
                None => Some(IdentityId::device(&device)),
                Some(module) => Some(IdentityId::module(&device, &ModuleId::new(module).ok()?)),
            }
        };
        Ok((rows.iter().filter_map(id).collect(), next))
    }

    fn query_failed(&self, failure: QueryFailure) -> HubError {
        let limits = &self.limits.queries;
        let text = match failure {
            QueryFailure::Store(error) => return store_failed(error),
            QueryFailure::TimedOut => format!(
                "The query was stopped after {} seconds. Add a condition on deviceId or on an indexed path.",
                limits.duration.as_secs_f64()
            ),
            QueryFailure::TooManyGroups => format!(
                "The query has more than {} groups, or they need more than {} bytes of memory. Add a condition that keeps \
                 fewer rows, group by another path, or select fewer columns.",
                limits.groups, limits.group_bytes
            ),
        };
        HubError::new(ErrorCode::InvalidOperation, text)
    }
}

fn no_items(item_type: ItemType) -> PageItems {
    match item_type {
        ItemType::Twin => PageItems::Twins(Vec::new()),
        _ => PageItems::Rows(Vec::new()),
    }
}

/// The column of [`Hub::count_rows`].
const ROWS: &str = "rows";

/// Parses a query on twins.
///
/// # Errors
///
/// `ArgumentInvalid`; its message names the place and the reason.
pub(crate) fn parse_query(text: &str) -> Result<Query, HubError> {
    let query = parse(text)?;
    if query.filter.collection == Collection::Jobs {
        return Err(invalid("The query is not valid here: it must be on devices or devices.modules."));
    }
    Ok(query)
}

fn parse(text: &str) -> Result<Query, HubError> {
    Query::parse(text, Dialect::Twins, &Limits::QUERY)
        .map_err(|error| invalid(format!("The query is not valid. {error}")))
}
