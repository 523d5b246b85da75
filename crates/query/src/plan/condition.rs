//! Conditions: expressions that are true, false or undefined.

use super::{Literal, Literals, Operand};

/// An expression whose result is true, false or undefined.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    /// `true`, `false`, or `undefined` as `None`.
    Constant(Option<bool>),
    /// `AND`: false if one part is false, else undefined if one is undefined, else true.
    All(Vec<Condition>),
    /// `OR`: true if one part is true, else undefined if one is undefined, else false.
    Any(Vec<Condition>),
    /// `NOT`: undefined stays undefined.
    Not(Box<Condition>),
    /// A comparison of two values:
    ///
    /// | values | result |
    /// |---|---|
    /// | one is undefined, an object or an array | undefined |
    /// | two booleans, two numbers, two strings | compared; `false < true`, strings by code point |
    /// | null and null | `=` is true, `!=` is false, others are undefined |
    /// | null and a boolean, number or string | `=` is false, `!=` is true, others are undefined |
    /// | two other types | undefined |
    Compare {
        /// The operator.
        operator: Comparison,
        /// The left value.
        left: Operand,
        /// The right value.
        right: Operand,
    },
    /// `IN`: true if the value equals an element, undefined if it is undefined, else false, also for objects and arrays.
    In {
        /// The value to look for.
        value: Operand,
        /// The list.
        list: Literals,
    },
    /// `IS_DEFINED`: false if the value is undefined, else true, also for null.
    IsDefined(Operand),
    /// `IS_STRING` and others: whether the value has this type; false if it is undefined.
    HasType(ValueType, Operand),
    /// `STARTSWITH` and others: undefined unless both values are strings. The comparison is case-sensitive.
    Text {
        /// What is tested.
        test: StringTest,
        /// The string that is examined.
        text: Operand,
        /// The string that it is examined for.
        part: Operand,
    },
    /// `ARRAY_CONTAINS`: undefined if the first value is not an array or the second one is undefined, else whether an
    /// element equals the second value. Objects and arrays equal nothing.
    ArrayContains {
        /// The array.
        array: Operand,
        /// The value to look for.
        value: Operand,
    },
    /// A value as condition: itself if it is a boolean, else undefined.
    Value(Operand),
}

/// The operator of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `=`
    Equal,
    /// `!=` or `<>`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

impl Comparison {
    /// Returns the operator in the query language, and in SQL.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }
}

/// A type, or group of types, of JSON values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueType {
    /// `null`.
    Null,
    /// A boolean.
    Bool,
    /// A number.
    Number,
    /// A string.
    String,
    /// An object.
    Object,
    /// An array.
    Array,
    /// Null, a boolean, a number or a string.
    Primitive,
}

/// A test of two strings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StringTest {
    /// The string begins with the other one.
    StartsWith,
    /// The string ends with the other one.
    EndsWith,
    /// The string contains the other one.
    Contains,
}

/// A condition is normal: constants stand only in [`Condition::Constant`], and no condition is wrapped twice.
impl From<Operand> for Condition {
    fn from(operand: Operand) -> Self {
        match operand {
            Operand::Condition(condition) => *condition,
            Operand::Literal(Literal::Bool(value)) => Self::Constant(Some(value)),
            Operand::Undefined
            | Operand::Literal(_)
            | Operand::List(_)
            | Operand::Negate(_)
            | Operand::Arithmetic { .. } => Self::Constant(None),
            path @ Operand::Path(_) => Self::Value(path),
        }
    }
}
