//! Values of operands.

use super::{Item, Row, arithmetic};
use crate::plan::Operand;

impl Operand {
    /// Returns the value of the operand on a row. Nothing is allocated.
    pub fn evaluate<'a>(&'a self, row: &'a impl Row) -> Item<'a> {
        match self {
            Self::Undefined => Item::Undefined,
            Self::Literal(literal) => literal.into(),
            Self::List(list) => Item::List(list),
            Self::Path(path) => row.value_at(path),
            Self::Negate(inner) => match inner.evaluate(row) {
                Item::Number(number) => Item::Number(number.negated()),
                _ => Item::Undefined,
            },
            Self::Arithmetic { operator, left, right } => match (left.evaluate(row), right.evaluate(row)) {
                (Item::Number(left), Item::Number(right)) => {
                    arithmetic::calculate(*operator, left, right).map_or(Item::Undefined, Item::Number)
                }
                _ => Item::Undefined,
            },
            Self::Condition(condition) => condition.evaluate(row).into(),
        }
    }
}
