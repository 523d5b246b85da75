//! Calculations with numbers.

use super::Item;
use crate::plan::{ArithmeticOperator, Number};

impl ArithmeticOperator {
    /// Calculates with two values; undefined if one is not a number, or if the result is not.
    #[must_use]
    pub fn apply<'a>(self, left: Item<'_>, right: Item<'_>) -> Item<'a> {
        match (left, right) {
            (Item::Number(left), Item::Number(right)) => {
                calculate(self, left, right).map_or(Item::Undefined, Item::Number)
            }
            _ => Item::Undefined,
        }
    }
}

/// Calculates with integers while the result is an integer of 64 bits, else with doubles. `None` if the right number of
/// a division is 0, or the result is beyond the range of a double.
fn calculate(operator: ArithmeticOperator, left: Number, right: Number) -> Option<Number> {
    if let (Number::Integer(left), Number::Integer(right)) = (left, right)
        && let Some(exact) = exact(operator, left, right)
    {
        return Some(Number::Integer(exact));
    }
    let (left, right) = (left.to_f64(), right.to_f64());
    let result = match operator {
        ArithmeticOperator::Add => left + right,
        ArithmeticOperator::Subtract => left - right,
        ArithmeticOperator::Multiply => left * right,
        // By zero, the result is infinite or not a number.
        ArithmeticOperator::Divide => left / right,
        ArithmeticOperator::Remainder => left % right,
    };
    Number::from_f64(result)
}

/// Returns the result if it is an integer of 64 bits.
fn exact(operator: ArithmeticOperator, left: i64, right: i64) -> Option<i64> {
    match operator {
        ArithmeticOperator::Add => left.checked_add(right),
        ArithmeticOperator::Subtract => left.checked_sub(right),
        ArithmeticOperator::Multiply => left.checked_mul(right),
        ArithmeticOperator::Divide => match left.checked_rem(right) {
            Some(0) => left.checked_div(right),
            _ => None,
        },
        ArithmeticOperator::Remainder => left.checked_rem(right),
    }
}

#[cfg(test)]
mod tests {
    use super::Number::{Float, Integer};
    use super::*;

    #[test]
    fn integers_stay_exact_while_they_fit() {
        use ArithmeticOperator::{Add, Divide, Multiply, Remainder, Subtract};
        let large = (1 << 53) + 1;
        for (operator, left, right, result) in [
            (Add, Integer(large), Integer(1), Some(Integer(large + 1))),
            (Add, Integer(i64::MAX), Integer(1), Some(Float(2f64.powi(63)))),
            (Subtract, Integer(i64::MIN), Float(0.5), Some(Float(-(2f64.powi(63))))),
            (Multiply, Integer(large), Integer(3), Some(Integer(large * 3))),
            (Multiply, Float(1e300), Float(1e300), None),
            (Divide, Integer(7), Integer(2), Some(Float(3.5))),
            (Divide, Integer(large), Integer(1), Some(Integer(large))),
            (Divide, Integer(1), Integer(0), None),
            (Divide, Integer(0), Float(-0.0), None),
            (Divide, Integer(i64::MIN), Integer(-1), Some(Float(2f64.powi(63)))),
            (Remainder, Integer(-7), Integer(4), Some(Integer(-3))),
            (Remainder, Float(7.5), Integer(2), Some(Float(1.5))),
            (Remainder, Integer(7), Integer(0), None),
            (Remainder, Integer(i64::MIN), Integer(-1), Some(Integer(0))),
        ] {
            assert_eq!(calculate(operator, left, right), result, "{left} {} {right}", operator.as_str());
        }
    }
}
