//! The whole query.

use super::{Aggregate, Collection, Condition, GroupValue, Path};

/// A query: `SELECT … FROM … WHERE … GROUP BY …`.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// The rows that the query reads.
    pub filter: Filter,
    /// What it returns of them.
    pub output: Output,
    /// Maximum number of rows of the result, over all pages.
    pub top: Option<u64>,
}

/// A collection and the condition on its rows: `FROM … WHERE …`. This is also a target condition, or the condition of a
/// job.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    /// The collection that is read.
    pub collection: Collection,
    /// The filter keeps the rows for which this is true, or all rows.
    pub condition: Option<Condition>,
}

/// What a query returns.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// `SELECT *`: the whole document of each row.
    Documents,
    /// Some values of each row. A column whose value is undefined is left out of the row, also if the row is empty then.
    /// Of several columns with the same key, the last one that has a value counts.
    Columns(Vec<Column<Path>>),
    /// One row with values computed from all rows, also if there are none.
    Totals(Vec<Column<Aggregate>>),
    /// One row per group, ordered by the value of the group: undefined, null, booleans, numbers, strings, then arrays
    /// and objects by their JSON text without blanks.
    Groups {
        /// Rows with the same value at this path form a group. So do the rows without the path.
        by: Path,
        /// The columns of the result. Undefined values are left out.
        columns: Vec<Column<GroupValue>>,
    },
}

/// A column of the result.
#[derive(Debug, Clone, PartialEq)]
pub struct Column<V> {
    /// The key in the row: the name after `AS`, or else the last member of the path, or else `_` and the position of the
    /// column, from 1.
    pub key: String,
    /// The value.
    pub value: V,
}

/// The key of a column without name, `index` counted from 0.
pub(crate) fn unnamed_key(index: usize) -> String {
    format!("_{}", index + 1)
}

/// The type of the rows of a result, as Azure names it in the header `x-ms-item-type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ItemType {
    /// Whole twins.
    Twin,
    /// Whole rows of jobs.
    DeviceJob,
    /// Rows of selected columns.
    Raw,
}

impl ItemType {
    /// Returns the value of the header. The case matters: the .NET SDK parses it as the name of an enum member.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Twin => "Twin",
            Self::DeviceJob => "DeviceJob",
            Self::Raw => "Raw",
        }
    }
}

impl Query {
    /// Returns the type of the rows of the result.
    #[must_use]
    pub fn item_type(&self) -> ItemType {
        match (&self.output, self.filter.collection) {
            (Output::Documents, Collection::Devices | Collection::Modules) => ItemType::Twin,
            (Output::Documents, Collection::Jobs) => ItemType::DeviceJob,
            (Output::Columns(_) | Output::Totals(_) | Output::Groups { .. }, _) => ItemType::Raw,
        }
    }
}
