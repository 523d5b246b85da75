//! Totals and groups, computed row after row.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde_json::{Map, Value};

use super::aggregate::Accumulator;
use super::row_of;
use super::sort_key::SortKey;
use crate::evaluate::Item;
use crate::plan::{Aggregate, Column, GroupValue, Output, Path};

/// Computes the rows of a query with aggregates or groups. Only the groups are in memory, not the rows.
#[derive(Debug)]
pub struct Aggregation<'q> {
    rows: Rows<'q>,
    /// About the memory of all groups, in bytes.
    bytes: usize,
}

#[derive(Debug)]
enum Rows<'q> {
    Totals { columns: &'q [Column<Aggregate>], accumulators: Vec<Accumulator> },
    Groups { by: &'q Path, columns: &'q [Column<GroupValue>], groups: BTreeMap<SortKey, Group> },
}

/// The rows of one group.
#[derive(Debug)]
struct Group {
    /// The value by which the rows are grouped.
    value: Option<Value>,
    /// One for each column that is an aggregate.
    accumulators: Vec<Accumulator>,
}

fn aggregates(columns: &[Column<GroupValue>]) -> impl Iterator<Item = &Aggregate> {
    columns.iter().filter_map(|column| column.value.aggregate())
}

impl<'q> Aggregation<'q> {
    /// Returns the aggregation of an output before the first row; `None` if the output has a row for each twin.
    #[must_use]
    pub fn new(output: &'q Output) -> Option<Self> {
        match output {
            Output::Documents | Output::Columns(_) => None,
            Output::Totals(columns) => {
                let accumulators = columns.iter().map(|column| Accumulator::new(&column.value)).collect();
                Some(Self { rows: Rows::Totals { columns, accumulators }, bytes: 0 })
            }
            Output::Groups { by, columns } => {
                Some(Self { rows: Rows::Groups { by, columns, groups: BTreeMap::new() }, bytes: 0 })
            }
        }
    }

    /// Returns the paths whose values [`Self::add`] needs: the path of the groups, if there are groups, and then that of
    /// each aggregate which has one.
    #[must_use]
    pub fn paths(&self) -> Vec<&'q Path> {
        match &self.rows {
            Rows::Totals { columns, .. } => columns.iter().filter_map(|column| column.value.path()).collect(),
            Rows::Groups { by, columns, .. } => {
                std::iter::once(*by).chain(aggregates(columns).filter_map(Aggregate::path)).collect()
            }
        }
    }

    /// Adds a row with these values at the [paths](Self::paths).
    pub fn add(&mut self, values: &[Item<'_>]) {
        match &mut self.rows {
            Rows::Totals { columns, accumulators } => {
                let columns = columns.iter().map(|column| &column.value);
                add(columns.zip(accumulators), values);
            }
            Rows::Groups { columns, groups, .. } => {
                let (value, values) =
                    values.split_first().map_or((Item::Undefined, values), |(value, rest)| (*value, rest));
                let group = match groups.entry(SortKey::new(value)) {
                    Entry::Occupied(group) => group.into_mut(),
                    Entry::Vacant(place) => {
                        let accumulators: Vec<_> = aggregates(columns).map(Accumulator::new).collect();
                        // The value of the group is kept twice: as its key, and as it is returned.
                        self.bytes += size_of::<(SortKey, Group)>() + 2 * place.key().allocated();
                        self.bytes += size_of_val(&*accumulators);
                        self.bytes += columns.iter().map(|column| cell_bytes(&column.key)).sum::<usize>();
                        place.insert(Group { value: value.normalized().to_json(), accumulators })
                    }
                };
                let allocated = |group: &Group| group.accumulators.iter().map(Accumulator::allocated).sum();
                let before: usize = allocated(group);
                add(aggregates(columns).zip(&mut group.accumulators), values);
                let after: usize = allocated(group);
                self.bytes = (self.bytes + after).saturating_sub(before);
            }
        }
    }

    /// Returns about how much memory the groups occupy, with the rows that they will be, in bytes. Totals without groups
    /// are few, and do not count.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns whether every row is only counted, so that [`Self::count`] can replace [`Self::add`].
    #[must_use]
    pub fn only_counts(&self) -> bool {
        match &self.rows {
            Rows::Totals { columns, .. } => columns.iter().all(|column| column.value == Aggregate::Count),
            Rows::Groups { .. } => false,
        }
    }

    /// Adds a number of rows to all counts, if this [only counts](Self::only_counts).
    pub fn count(&mut self, rows: u64) {
        if let Rows::Totals { accumulators, .. } = &mut self.rows {
            accumulators.iter_mut().for_each(|accumulator| accumulator.count(rows));
        }
    }

    /// Returns the number of rows of the result so far.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.rows {
            Rows::Totals { .. } => 1,
            Rows::Groups { groups, .. } => groups.len(),
        }
    }

    /// Returns whether the result has no rows so far: there are groups, and no row was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the rows of the result in order.
    #[must_use]
    pub fn finish(self) -> Vec<Map<String, Value>> {
        match self.rows {
            Rows::Totals { columns, accumulators } => {
                let cells = columns.iter().zip(accumulators);
                vec![row_of(cells.map(|(column, total)| (&column.key, total.finish())))]
            }
            Rows::Groups { columns, groups, .. } => {
                groups.into_values().map(|group| group_row(columns, group)).collect()
            }
        }
    }
}

/// Returns about how much memory a cell of a row of the result occupies beside the text in its value, in bytes.
fn cell_bytes(key: &str) -> usize {
    key.len() + size_of::<(String, Value)>()
}

fn group_row(columns: &[Column<GroupValue>], group: Group) -> Map<String, Value> {
    let mut totals = group.accumulators.into_iter();
    row_of(columns.iter().map(|column| match column.value {
        GroupValue::Key => (&column.key, group.value.clone()),
        GroupValue::Aggregate(_) => (&column.key, totals.next().and_then(Accumulator::finish)),
    }))
}

/// Adds a row to the accumulators. A count has no value of its own.
fn add<'q, 'a>(
    accumulators: impl Iterator<Item = (&'q Aggregate, &'a mut Accumulator)>,
    values: &[Item<'_>],
) {
    let mut values = values.iter();
    for (aggregate, accumulator) in accumulators {
        let value = aggregate.path().and_then(|_| values.next());
        accumulator.add(value.copied().unwrap_or(Item::Undefined));
    }
}
