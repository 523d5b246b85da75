//! Values computed from many rows.

use std::cmp::Ordering;

use serde_json::Value;

use super::exact_sum::ExactSum;
use crate::evaluate::Item;
use crate::plan::{Aggregate, Number};

/// Computes an aggregate, row after row.
#[derive(Debug)]
pub(super) enum Accumulator {
    Count(u64),
    Sum(Sum),
    Average(Sum),
    /// The least or the greatest value.
    Extreme {
        number: Option<Number>,
        string: Option<String>,
        /// How a new value compares with the current one to replace it.
        replaces: Ordering,
    },
}

/// A sum that does not depend on the order of the numbers.
#[derive(Debug, Default)]
pub(super) struct Sum {
    count: u64,
    integers: i128,
    floats: Option<ExactSum>,
}

impl Sum {
    fn add(&mut self, item: Item<'_>) {
        match item {
            Item::Number(Number::Integer(integer)) => self.integers += i128::from(integer),
            Item::Number(Number::Float(float)) => self.floats.get_or_insert_default().add(float),
            _ => return,
        }
        self.count += 1;
    }

    fn total(&self) -> Option<Number> {
        if self.count == 0 {
            return None;
        }
        match (i64::try_from(self.integers), &self.floats) {
            (Ok(integer), None) => Some(Number::Integer(integer)),
            (_, floats) => {
                let floats = floats.as_ref().map(ExactSum::total);
                Number::from_f64(self.integers as f64 + floats.unwrap_or_default())
            }
        }
    }

    fn average(&self) -> Option<Number> {
        Number::from_f64(self.total()?.to_f64() / self.count as f64)
    }
}

impl Accumulator {
    pub(super) fn new(aggregate: &Aggregate) -> Self {
        let extreme = |replaces| Self::Extreme { number: None, string: None, replaces };
        match aggregate {
            Aggregate::Count => Self::Count(0),
            Aggregate::Sum(_) => Self::Sum(Sum::default()),
            Aggregate::Average(_) => Self::Average(Sum::default()),
            Aggregate::Minimum(_) => extreme(Ordering::Less),
            Aggregate::Maximum(_) => extreme(Ordering::Greater),
        }
    }

    /// Adds rows to a count.
    pub(super) fn count(&mut self, rows: u64) {
        if let Self::Count(count) = self {
            *count += rows;
        }
    }

    /// Adds a row with this value at the path of the aggregate.
    pub(super) fn add(&mut self, item: Item<'_>) {
        match self {
            Self::Count(count) => *count += 1,
            Self::Sum(sum) | Self::Average(sum) => sum.add(item),
            Self::Extreme { number, string, replaces } => match item {
                Item::Number(new) if number.is_none_or(|current| new.cmp(&current) == *replaces) => {
                    *number = Some(new);
                }
                Item::String(new)
                    if string.as_deref().is_none_or(|current| new.cmp(current) == *replaces) =>
                {
                    *string = Some(new.to_owned());
                }
                _ => {}
            },
        }
    }

    /// Returns the memory that the accumulator has allocated beside itself, in bytes.
    pub(super) fn allocated(&self) -> usize {
        match self {
            Self::Count(_) => 0,
            Self::Sum(sum) | Self::Average(sum) => sum.floats.as_ref().map_or(0, ExactSum::allocated),
            Self::Extreme { string, .. } => string.as_ref().map_or(0, String::capacity),
        }
    }

    /// Returns the result; `None` if no row had a usable value.
    pub(super) fn finish(self) -> Option<Value> {
        match self {
            Self::Count(count) => Some(count.into()),
            Self::Sum(sum) => sum.total().map(to_json),
            Self::Average(sum) => sum.average().map(to_json),
            Self::Extreme { number: Some(number), .. } => Some(to_json(number)),
            Self::Extreme { string, .. } => string.map(Value::from),
        }
    }
}

fn to_json(number: Number) -> Value {
    number.normalized().to_json()
}
