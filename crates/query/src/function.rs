//! The functions of conditions.

use crate::dialect::Dialect;
use crate::plan::{StringTest, ValueType};

/// A function that a condition can call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Function {
    IsDefined,
    HasType(ValueType),
    Text(StringTest),
    ArrayContains,
}

/// The functions of queries on twins and jobs.
const TWINS: [Function; 12] = [
    Function::IsDefined,
    Function::HasType(ValueType::Null),
    Function::HasType(ValueType::Bool),
    Function::HasType(ValueType::Number),
    Function::HasType(ValueType::String),
    Function::HasType(ValueType::Object),
    Function::HasType(ValueType::Array),
    Function::HasType(ValueType::Primitive),
    Function::Text(StringTest::StartsWith),
    Function::Text(StringTest::EndsWith),
    Function::Text(StringTest::Contains),
    Function::ArrayContains,
];

/// Functions that Azure has in conditions of routes only, with the function of queries on twins that does the same.
const ROUTES_ONLY: [(&str, Option<&str>); 17] = [
    ("STARTS_WITH", Some("STARTSWITH")),
    ("ENDS_WITH", Some("ENDSWITH")),
    ("LOWER", None),
    ("UPPER", None),
    ("LENGTH", None),
    ("CONCAT", None),
    ("SUBSTRING", None),
    ("INDEX_OF", None),
    ("ABS", None),
    ("EXP", None),
    ("POWER", None),
    ("SQUARE", None),
    ("CEILING", None),
    ("FLOOR", None),
    ("SIGN", None),
    ("SQRT", None),
    ("AS_NUMBER", None),
];

impl Function {
    /// Returns the functions of a dialect.
    pub(crate) fn of(dialect: Dialect) -> &'static [Self] {
        match dialect {
            Dialect::Twins => &TWINS,
        }
    }

    /// Returns the function with a name in any case.
    pub(crate) fn named(name: &str, dialect: Dialect) -> Option<Self> {
        Self::of(dialect).iter().copied().find(|function| function.name().eq_ignore_ascii_case(name))
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::IsDefined => "IS_DEFINED",
            Self::HasType(value_type) => value_type.function(),
            Self::Text(test) => test.function(),
            Self::ArrayContains => "ARRAY_CONTAINS",
        }
    }

    /// Returns the number of arguments.
    pub(crate) fn arguments(self) -> usize {
        match self {
            Self::IsDefined | Self::HasType(_) => 1,
            Self::Text(_) | Self::ArrayContains => 2,
        }
    }
}

/// Returns the name of a function of routes, and the function of this dialect that does the same.
pub(crate) fn routes_only(name: &str) -> Option<(&'static str, Option<&'static str>)> {
    ROUTES_ONLY.iter().copied().find(|(function, _)| function.eq_ignore_ascii_case(name))
}
