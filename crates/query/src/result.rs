//! Runs whole queries on rows in memory.

mod aggregate;
mod aggregation;
mod exact_sum;
mod sort_key;

use std::borrow::Cow;
use std::cmp::Ordering;

use serde_json::{Map, Value};

pub use self::aggregation::Aggregation;
use self::sort_key::SortKey;
use crate::evaluate::Row;
use crate::plan::{Collection, Column, Output, Path, Query, Root};

impl Query {
    /// Runs the query on the documents of its collection, in the form of the REST API. Returns the rows of the result
    /// in order.
    pub fn run<'a>(&self, documents: impl IntoIterator<Item = &'a Value>) -> Vec<Cow<'a, Value>> {
        let kept = documents.into_iter().filter(|document| self.filter.keeps(document));
        let limit = self.top.map_or(usize::MAX, |top| usize::try_from(top).unwrap_or(usize::MAX));
        if let Some(mut aggregation) = Aggregation::new(&self.output) {
            let paths = aggregation.paths();
            for document in kept {
                let values: Vec<_> = paths.iter().map(|path| document.value_at(path)).collect();
                aggregation.add(&values);
            }
            return aggregation.finish().into_iter().take(limit).map(owned).collect();
        }
        let rows = sorted(self.filter.collection, kept).into_iter().take(limit);
        match &self.output {
            Output::Columns(columns) => rows.map(|document| owned(project(columns, document))).collect(),
            _ => rows.map(Cow::Borrowed).collect(),
        }
    }
}

/// Returns the row of selected columns. Columns without value are left out.
pub fn project(columns: &[Column<Path>], row: &impl Row) -> Map<String, Value> {
    row_of(columns.iter().map(|column| (&column.key, row.value_at(&column.value).to_json())))
}

fn row_of<'k>(cells: impl Iterator<Item = (&'k String, Option<Value>)>) -> Map<String, Value> {
    cells.filter_map(|(key, value)| Some((key.clone(), value?))).collect()
}

fn owned<'a>(row: Map<String, Value>) -> Cow<'a, Value> {
    Cow::Owned(row.into())
}

fn sorted<'a>(collection: Collection, documents: impl Iterator<Item = &'a Value>) -> Vec<&'a Value> {
    let roots: &[Root] = match collection {
        Collection::Devices | Collection::Modules => &[Root::DeviceId, Root::ModuleId],
        Collection::Jobs => &[Root::CreatedTime, Root::JobId, Root::DeviceId, Root::ModuleId],
    };
    let mut documents: Vec<_> = documents.collect();
    documents.sort_by(|left, right| {
        let key = |root: &Root| (SortKey::new(left.value(*root, &[])), SortKey::new(right.value(*root, &[])));
        let orders = roots.iter().map(key).map(|(left, right)| left.cmp(&right));
        orders.fold(Ordering::Equal, Ordering::then)
    });
    documents
}

#[cfg(test)]
mod tests;
