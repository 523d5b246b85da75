//! Runs a statement and reads a page, within the limits.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use ferrohub_core::jobs::row_document;
use ferrohub_core::queries::{Page, PageItems, PageRequest, Position, QueryFailure};
use ferrohub_model::IdentityId;
use ferrohub_query::plan::{Column, Output, Path};
use ferrohub_query::{Aggregation, Item};
use rusqlite::{Connection, Result, Row, params_from_iter};
use serde_json::{Map, Value};

use super::each_row::each_row;
use super::indexes::IndexedPath;
use super::statement::{Statement, build};
use super::{functions, stop};
use crate::rows;
use crate::statements::jobs::{JOB_COLUMNS, job_head, job_row};

/// Reads a page. The outer error is one of SQLite.
pub(crate) fn read(
    db: &Connection,
    request: &PageRequest,
    indexed: &[IndexedPath],
    cancelled: Arc<AtomicBool>,
) -> Result<std::result::Result<Page, QueryFailure>> {
    let statement = build(request, indexed);
    if statement.is_live {
        functions::register_live(db, &request.live)?;
    }
    let result = stop::run(db, request.limits.duration, cancelled, || {
        match (Aggregation::new(&request.query.output), &request.query.output) {
            (Some(aggregation), _) => aggregate(db, request, &statement, aggregation),
            (None, Output::Columns(columns)) => columns_page(db, request, &statement, columns).map(Ok),
            (None, _) if request.is_on_jobs() => jobs_page(db, request, &statement).map(Ok),
            (None, _) => twins_page(db, request, &statement).map(Ok),
        }
    });
    if statement.is_live {
        functions::remove_live(db)?;
    }
    match result {
        Err(error) if stop::is_stopped(&error) => Ok(Err(QueryFailure::TimedOut)),
        other => other,
    }
}

/// Collects the rows of a page.
struct Collector<'a, T> {
    request: &'a PageRequest,
    items: Vec<T>,
    bytes: usize,
    last: Option<IdentityId>,
}

impl<'a, T> Collector<'a, T> {
    fn new(request: &'a PageRequest) -> Self {
        Self { request, items: Vec::new(), bytes: 0, last: None }
    }

    /// Returns whether the page has room for a row of this size.
    fn has_room(&mut self, bytes: usize) -> bool {
        self.bytes = self.bytes.saturating_add(bytes);
        self.items.is_empty()
            || self.items.len() < self.request.rows && self.bytes <= self.request.limits.page_bytes
    }

    fn push(&mut self, id: IdentityId, item: T) {
        self.items.push(item);
        self.last = Some(id);
    }

    /// Returns the items, and where the next page begins if there is one.
    fn finish(self, has_more: bool) -> (Vec<T>, Option<Position>) {
        (self.items, self.last.filter(|_| has_more).map(Position::After))
    }
}

fn twins_page(db: &Connection, request: &PageRequest, statement: &Statement) -> Result<Page> {
    let mut page = Collector::new(request);
    let has_more = each_row(db, statement, |row| {
        if !page.has_room(rows::twin_bytes(row)?) {
            return Ok(false);
        }
        let (identity, _) = rows::identity(row)?;
        let twin = rows::twin(row)?.unwrap_or_default();
        page.push(identity.id.clone(), (identity, twin));
        Ok(true)
    })?;
    let (twins, next) = page.finish(has_more);
    Ok(Page { items: PageItems::Twins(twins), next })
}

fn jobs_page(db: &Connection, request: &PageRequest, statement: &Statement) -> Result<Page> {
    let mut page = Collector::new(request);
    let mut last = 0;
    let has_more = each_row(db, statement, |row| {
        let (job, device) = (job_head(row)?, job_row(row, JOB_COLUMNS.len())?);
        let document = row_document(&job, &device);
        if !page.has_room(document.values().map(|value| value.to_string().len()).sum()) {
            return Ok(false);
        }
        last = job.number;
        page.push(device.id, document);
        Ok(true)
    })?;
    let (items, next) = page.finish(has_more);
    let next = next.map(|position| match position {
        Position::After(id) => Position::AfterJob { number: last, id },
        other => other,
    });
    Ok(Page { items: PageItems::Rows(items), next })
}

fn columns_page(
    db: &Connection,
    request: &PageRequest,
    statement: &Statement,
    columns: &[Column<Path>],
) -> Result<Page> {
    let mut page = Collector::new(request);
    let has_more = each_row(db, statement, |row| {
        let mut bytes = 0;
        let mut item = Map::new();
        for (index, column) in columns.iter().enumerate() {
            // The first two columns are the ids.
            let (value, length) = json_value(row, index + 2)?;
            bytes += column.key.len() + length;
            if let Some(value) = value {
                item.insert(column.key.clone(), value);
            }
        }
        if !page.has_room(bytes) {
            return Ok(false);
        }
        page.push(rows::id(row, 0, 1)?, item);
        Ok(true)
    })?;
    let (items, next) = page.finish(has_more);
    Ok(Page { items: PageItems::Rows(items), next })
}

fn aggregate(
    db: &Connection,
    request: &PageRequest,
    statement: &Statement,
    mut aggregation: Aggregation<'_>,
) -> Result<std::result::Result<Page, QueryFailure>> {
    let paths = aggregation.paths().len();
    let mut select = db.prepare(&statement.sql)?;
    let mut rows = select.query(params_from_iter(&statement.parameters))?;
    while let Some(row) = rows.next()? {
        if aggregation.only_counts() {
            aggregation.count(rows::u64_column(row, 0)?);
            continue;
        }
        let mut values = Vec::with_capacity(paths);
        for index in 0..paths {
            values.push(json_value(row, index)?.0);
        }
        let items: Vec<_> = values.iter().map(|value| Item::from(value.as_ref())).collect();
        aggregation.add(&items);
        if let Err(failure) = request.limits.check_groups(&aggregation) {
            return Ok(Err(failure));
        }
    }
    Ok(Ok(Page::of_groups(request, aggregation.finish())))
}

/// Reads a JSON text: the value, `None` if it is undefined, and the length of the text.
fn json_value(row: &Row<'_>, column: usize) -> Result<(Option<Value>, usize)> {
    let Some(text) = row.get_ref(column)?.as_str_or_null()? else { return Ok((None, 0)) };
    let value = serde_json::from_str(text).map_err(|error| rows::conversion_error(column, error))?;
    Ok((Some(value), text.len()))
}
