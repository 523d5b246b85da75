//! Runs whole queries on rows in memory.

mod aggregate;
mod sort_key;

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde_json::{Map, Value};

use self::aggregate::Accumulator;
use self::sort_key::SortKey;
use crate::evaluate::{Item, Row};
use crate::plan::{Aggregate, Collection, Column, GroupValue, Output, Path, Query, Root};

impl Query {
    /// Runs the query on the documents of its collection, in the form of the REST API. Returns the rows of the result
    /// in order.
    pub fn run<'a>(&self, documents: impl IntoIterator<Item = &'a Value>) -> Vec<Cow<'a, Value>> {
        let kept = documents.into_iter().filter(|document| self.filter.keeps(document));
        let limit = self.top.map_or(usize::MAX, |top| usize::try_from(top).unwrap_or(usize::MAX));
        match &self.output {
            Output::Documents => {
                sorted(self.filter.collection, kept).into_iter().take(limit).map(Cow::Borrowed).collect()
            }
            Output::Columns(columns) => {
                let rows = sorted(self.filter.collection, kept).into_iter().take(limit);
                rows.map(|document| owned(project(columns, document))).collect()
            }
            Output::Totals(columns) => {
                let mut totals: Vec<_> =
                    columns.iter().map(|column| Accumulator::new(&column.value)).collect();
                kept.for_each(|document| {
                    add(&mut totals, columns.iter().map(|column| &column.value), document)
                });
                let row = columns.iter().zip(totals).map(|(column, total)| (&column.key, total.finish()));
                std::iter::once(row_of(row)).take(limit).map(owned).collect()
            }
            Output::Groups { by, columns } => groups(by, columns, kept).take(limit).map(owned).collect(),
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

fn add<'a, 'q>(
    accumulators: &mut [Accumulator<'a>],
    aggregates: impl Iterator<Item = &'q Aggregate>,
    document: &'a Value,
) {
    for (accumulator, aggregate) in accumulators.iter_mut().zip(aggregates) {
        accumulator.add(aggregate.path().map_or(Item::Undefined, |path| document.value_at(path)));
    }
}

/// The rows of one group.
struct Group<'a> {
    /// The value by which the rows are grouped.
    value: Item<'a>,
    /// One for each column that is an aggregate.
    accumulators: Vec<Accumulator<'a>>,
}

fn groups<'a>(
    by: &Path,
    columns: &[Column<GroupValue>],
    documents: impl Iterator<Item = &'a Value>,
) -> impl Iterator<Item = Map<String, Value>> {
    let aggregates = columns.iter().filter_map(|column| column.value.aggregate());
    let mut groups: BTreeMap<SortKey<'a>, Group<'a>> = BTreeMap::new();
    for document in documents {
        let value = document.value_at(by);
        let group = groups.entry(SortKey::new(value)).or_insert_with(|| {
            let accumulators = aggregates.clone().map(Accumulator::new).collect();
            Group { value: value.normalized(), accumulators }
        });
        add(&mut group.accumulators, aggregates.clone(), document);
    }
    groups.into_values().map(|group| {
        let mut totals = group.accumulators.into_iter();
        let cells = columns.iter().map(|column| match column.value {
            GroupValue::Key => (&column.key, group.value.to_json()),
            GroupValue::Aggregate(_) => (&column.key, totals.next().and_then(Accumulator::finish)),
        });
        row_of(cells)
    })
}

#[cfg(test)]
mod tests;
