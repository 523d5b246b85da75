//! Values of operands.

use super::{Item, Row};
use crate::plan::Operand;

impl Operand {
    /// Returns the value of the operand on a row. Nothing is allocated.
    pub fn evaluate<'a>(&'a self, row: &'a impl Row) -> Item<'a> {
        match self {
            Self::Undefined => Item::Undefined,
            Self::Literal(literal) => literal.into(),
            Self::List(list) => Item::List(list),
            Self::Path(path) => row.value_at(path),
            Self::Negate(inner) => inner.evaluate(row).negated(),
            Self::Arithmetic { operator, left, right } => {
                operator.apply(left.evaluate(row), right.evaluate(row))
            }
            Self::Condition(condition) => condition.evaluate(row).into(),
        }
    }
}
