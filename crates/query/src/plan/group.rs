//! Values of groups of rows.

use super::Path;

/// A column of a group.
#[derive(Debug, Clone, PartialEq)]
pub enum GroupValue {
    /// The value by which the rows are grouped.
    Key,
    /// A value computed from all rows of the group.
    Aggregate(Aggregate),
}

/// A value computed from many rows. Values that it does not use, such as strings in a sum, are ignored; without any
/// usable value it is undefined.
#[derive(Debug, Clone, PartialEq)]
pub enum Aggregate {
    /// The number of rows; 0 without rows.
    Count,
    /// The sum of the numbers at a path.
    Sum(Path),
    /// The arithmetic mean of the numbers at a path.
    Average(Path),
    /// The least number at a path, or, if there are no numbers, the least string.
    Minimum(Path),
    /// The greatest number at a path, or, if there are no numbers, the greatest string.
    Maximum(Path),
}

impl GroupValue {
    /// Returns the aggregate; `None` for the value of the group.
    #[must_use]
    pub fn aggregate(&self) -> Option<&Aggregate> {
        match self {
            Self::Key => None,
            Self::Aggregate(aggregate) => Some(aggregate),
        }
    }
}

impl Aggregate {
    /// Returns the name in the query language.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Count => "COUNT",
            Self::Sum(_) => "SUM",
            Self::Average(_) => "AVG",
            Self::Minimum(_) => "MIN",
            Self::Maximum(_) => "MAX",
        }
    }

    /// Returns the path; `None` for a count.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Count => None,
            Self::Sum(path) | Self::Average(path) | Self::Minimum(path) | Self::Maximum(path) => Some(path),
        }
    }
}
