//! The three-valued logic.

use super::{Item, Row};
use crate::plan::{Comparison, Condition, Filter, StringTest};

impl Filter {
    /// Returns whether the filter keeps a row: it has no condition, or the condition is true.
    #[must_use]
    pub fn keeps(&self, row: &impl Row) -> bool {
        self.condition.as_ref().is_none_or(|condition| condition.evaluate(row) == Some(true))
    }
}

impl Condition {
    /// Evaluates the condition on a row. `None` is undefined. Nothing is allocated.
    #[must_use]
    pub fn evaluate(&self, row: &impl Row) -> Option<bool> {
        match self {
            Self::Constant(truth) => *truth,
            Self::All(parts) => sequence(parts, row, false),
            Self::Any(parts) => sequence(parts, row, true),
            Self::Not(inner) => inner.evaluate(row).map(|truth| !truth),
            Self::Compare { operator, left, right } => {
                operator.apply(left.evaluate(row), right.evaluate(row))
            }
            Self::In { value, list } => {
                let value = value.evaluate(row);
                value.is_defined().then(|| list.contains(value))
            }
            Self::IsDefined(operand) => Some(operand.evaluate(row).is_defined()),
            Self::HasType(value_type, operand) => Some(operand.evaluate(row).has_type(*value_type)),
            Self::Text { test, text, part } => test.apply(text.evaluate(row), part.evaluate(row)),
            Self::ArrayContains { array, value } => array.evaluate(row).array_contains(value.evaluate(row)),
            Self::Value(operand) => match operand.evaluate(row) {
                Item::Bool(truth) => Some(truth),
                _ => None,
            },
        }
    }
}

/// `AND`, where false decides, or `OR`, where true decides.
fn sequence(parts: &[Condition], row: &impl Row, decides: bool) -> Option<bool> {
    let mut result = Some(!decides);
    for part in parts {
        match part.evaluate(row) {
            Some(truth) if truth == decides => return Some(decides),
            Some(_) => {}
            None => result = None,
        }
    }
    result
}

impl Comparison {
    /// Compares two values; the table is that of [`Condition::Compare`].
    #[must_use]
    pub fn apply(self, left: Item<'_>, right: Item<'_>) -> Option<bool> {
        if let (Item::Null, other) | (other, Item::Null) = (left, right) {
            let is_scalar = matches!(other, Item::Null | Item::Bool(_) | Item::Number(_) | Item::String(_));
            let equal = other == Item::Null;
            return match self {
                Self::Equal => is_scalar.then_some(equal),
                Self::NotEqual => is_scalar.then_some(!equal),
                Self::Less | Self::LessOrEqual | Self::Greater | Self::GreaterOrEqual => None,
            };
        }
        let order = left.compare(right)?;
        Some(match self {
            Self::Equal => order.is_eq(),
            Self::NotEqual => order.is_ne(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        })
    }
}

impl StringTest {
    /// Tests a value for a part; `None` unless both are strings.
    #[must_use]
    pub fn apply(self, text: Item<'_>, part: Item<'_>) -> Option<bool> {
        let (Item::String(text), Item::String(part)) = (text, part) else { return None };
        Some(match self {
            Self::StartsWith => text.starts_with(part),
            Self::EndsWith => text.ends_with(part),
            Self::Contains => text.contains(part),
        })
    }
}
