//! Operands: expressions that give a value.

use super::{Condition, Literal, Literals, Path};

/// An expression whose result is a JSON value or undefined.
#[derive(Debug, Clone, PartialEq)]
pub enum Operand {
    /// The constant `undefined`.
    Undefined,
    /// A constant.
    Literal(Literal),
    /// A list of constants: an array.
    List(Literals),
    /// The value at a path of the row; undefined if the row does not have the path.
    Path(Path),
    /// The negative of a number; undefined for another type.
    Negate(Box<Operand>),
    /// A calculation with two numbers. Undefined if one value is not a number, if the right value of `/` or `%` is 0, and
    /// if the result is beyond the range of a double. Integers stay exact while the result fits 64 bits; `7 / 2` is 3.5.
    Arithmetic {
        /// The operator.
        operator: ArithmeticOperator,
        /// The left value.
        left: Box<Operand>,
        /// The right value.
        right: Box<Operand>,
    },
    /// The result of a condition, as boolean or undefined.
    Condition(Box<Condition>),
}

/// The operator of a calculation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArithmeticOperator {
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`
    Divide,
    /// `%`: the remainder, with the sign of the left value.
    Remainder,
}

impl ArithmeticOperator {
    /// Returns the operator in the query language.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
        }
    }
}

impl Operand {
    /// Returns the negative of this operand. That of a constant number is a constant.
    #[must_use]
    pub fn negated(self) -> Self {
        match self {
            Self::Literal(Literal::Number(number)) => Self::Literal(Literal::Number(number.negated())),
            other => Self::Negate(Box::new(other)),
        }
    }
}

impl From<Condition> for Operand {
    fn from(condition: Condition) -> Self {
        match condition {
            Condition::Value(operand) => operand,
            Condition::Constant(Some(value)) => Self::Literal(Literal::Bool(value)),
            Condition::Constant(None) => Self::Undefined,
            other => Self::Condition(Box::new(other)),
        }
    }
}
