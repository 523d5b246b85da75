//! Runs a page of a query on twins in memory. This defines the result of [`QueryStore`](super::QueryStore).

use std::borrow::Cow;
use std::collections::BTreeMap;

use ferrohub_query::plan::{Collection, Output};
use ferrohub_query::{Aggregation, Row as _, project};
use serde_json::{Map, Value};

use super::{LiveState, Page, PageItems, PageRequest, Position, QueryFailure};
use crate::registry::Identity;
use crate::twins::TwinDocument;

/// Runs a page of a query on all identities and their twins, in any order.
///
/// # Errors
///
/// [`QueryFailure::TooManyGroups`].
pub fn run_in_memory<'a>(
    request: &PageRequest,
    twins: impl IntoIterator<Item = (&'a Identity, &'a TwinDocument)>,
) -> Result<Page, QueryFailure> {
    let query = &request.query;
    let mut kept = BTreeMap::new();
    for (identity, twin) in twins {
        let document = document(identity, twin, &*request.live);
        if is_in(identity, query.filter.collection) && query.filter.keeps(&document) {
            let key = (identity.id.device_str(), identity.id.module_str());
            kept.insert(key, (identity, twin, document));
        }
    }
    if let Some(aggregation) = Aggregation::new(&query.output) {
        return aggregate(request, aggregation, kept.values().map(|(_, _, document)| document));
    }
    if let Some(Position::After(id)) = &request.position {
        let start = (id.device_str(), id.module_str());
        kept.retain(|key, _| *key > start);
    }
    let mut bytes = 0;
    let (mut twins, mut rows) = (Vec::new(), Vec::new());
    let mut next = None;
    for (count, (identity, twin, document)) in kept.values().enumerate() {
        let row = match &query.output {
            Output::Columns(columns) => Cow::Owned(project(columns, document).into()),
            _ => Cow::Borrowed(document),
        };
        bytes += row.to_string().len();
        if count == request.rows || (count > 0 && bytes > request.limits.page_bytes) {
            return Ok(Page { items: items(&query.output, twins, rows), next });
        }
        next = Some(Position::After(identity.id.clone()));
        match row {
            Cow::Owned(Value::Object(row)) => rows.push(row),
            _ => twins.push(((*identity).clone(), (*twin).clone())),
        }
    }
    Ok(Page { items: items(&query.output, twins, rows), next: None })
}

fn items(output: &Output, twins: Vec<(Identity, TwinDocument)>, rows: Vec<Map<String, Value>>) -> PageItems {
    match output {
        Output::Documents => PageItems::Twins(twins),
        _ => PageItems::Rows(rows),
    }
}

fn is_in(identity: &Identity, collection: Collection) -> bool {
    match collection {
        Collection::Devices => identity.id.module_str().is_none(),
        Collection::Modules => identity.id.module_str().is_some(),
        Collection::Jobs => false,
    }
}

/// Returns the twin as a service reads it.
fn document(identity: &Identity, twin: &TwinDocument, live: &dyn LiveState) -> Value {
    let (id, generation) = (&identity.id, &identity.generation_id);
    let last_activity = live.last_activity(id, generation, identity.last_activity);
    let current = Identity { last_activity, ..identity.clone() };
    serde_json::to_value(twin.for_service(&current, live.is_connected(id, generation))).unwrap_or_default()
}

fn aggregate<'a>(
    request: &PageRequest,
    mut aggregation: Aggregation<'_>,
    documents: impl Iterator<Item = &'a Value>,
) -> Result<Page, QueryFailure> {
    let paths = aggregation.paths();
    for document in documents {
        let values: Vec<_> = paths.iter().map(|path| document.value_at(path)).collect();
        aggregation.add(&values);
        request.limits.check_groups(&aggregation)?;
    }
    Ok(Page::of_groups(request, aggregation.finish()))
}

impl Page {
    /// Returns the page of the request from all rows of a query with aggregates or groups.
    #[must_use]
    pub fn of_groups(request: &PageRequest, rows: Vec<Map<String, Value>>) -> Self {
        let total = rows.len();
        let skipped = match request.position {
            Some(Position::Row(row)) => usize::try_from(row).unwrap_or(usize::MAX),
            _ => 0,
        };
        let mut bytes = 0;
        let fits = |(index, row): &(usize, Map<String, Value>)| {
            bytes += row.iter().map(|(key, value)| key.len() + value.to_string().len()).sum::<usize>();
            *index == 0 || bytes <= request.limits.page_bytes
        };
        let page: Vec<_> =
            rows.into_iter().skip(skipped).take(request.rows).enumerate().take_while(fits).collect();
        let end = skipped.saturating_add(page.len());
        let next = (end < total).then_some(Position::Row(end as u64));
        Self { items: PageItems::Rows(page.into_iter().map(|(_, row)| row).collect()), next }
    }
}
