//! Writes plans in the query language.

use std::fmt::{self, Display, Formatter, Write as _};

use super::{
    Aggregate, ArithmeticOperator, Column, Condition, Filter, GroupValue, Literal, Literals, Member, Number,
    Operand, Output, Path, Query, StringTest, ValueType, unnamed_key,
};
use crate::precedence::Precedence;
use crate::token::is_name;

impl Display for Query {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("SELECT ")?;
        if let Some(top) = self.top {
            write!(f, "TOP {top} ")?;
        }
        match &self.output {
            Output::Documents => f.write_str("*")?,
            Output::Columns(columns) => write_columns(f, columns, Shown::Path)?,
            Output::Totals(columns) => write_columns(f, columns, Shown::Aggregate)?,
            Output::Groups { by, columns } => write_columns(f, columns, |value| match value {
                GroupValue::Key => Shown::Path(by),
                GroupValue::Aggregate(aggregate) => Shown::Aggregate(aggregate),
            })?,
        }
        write!(f, " {}", self.filter)?;
        match &self.output {
            Output::Groups { by, .. } => write!(f, " GROUP BY {by}"),
            Output::Documents | Output::Columns(_) | Output::Totals(_) => Ok(()),
        }
    }
}

/// What a column shows.
enum Shown<'q> {
    Path(&'q Path),
    Aggregate(&'q Aggregate),
}

fn write_columns<'q, V>(
    f: &mut Formatter<'_>,
    columns: &'q [Column<V>],
    shown: impl Fn(&'q V) -> Shown<'q>,
) -> fmt::Result {
    for (index, column) in columns.iter().enumerate() {
        if index > 0 {
            f.write_str(", ")?;
        }
        let default = match shown(&column.value) {
            Shown::Path(path) => {
                write!(f, "{path}")?;
                path.key()
            }
            Shown::Aggregate(aggregate) => {
                write!(f, "{aggregate}")?;
                None
            }
        };
        let is_default = default.map_or_else(|| column.key == unnamed_key(index), |key| column.key == key);
        if !is_default {
            write!(f, " AS {}", column.key)?;
        }
    }
    Ok(())
}

impl Display for Aggregate {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.path() {
            Some(path) => write!(f, "{}({path})", self.name()),
            None => write!(f, "{}()", self.name()),
        }
    }
}

impl Display for Filter {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "FROM {}", self.collection.as_str())?;
        self.condition.as_ref().map_or(Ok(()), |condition| write!(f, " WHERE {condition}"))
    }
}

impl Display for Condition {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constant(None) => f.write_str("undefined"),
            Self::Constant(Some(value)) => write!(f, "{value}"),
            Self::All(parts) => write_parts(f, parts, " AND ", Precedence::Not),
            Self::Any(parts) => write_parts(f, parts, " OR ", Precedence::And),
            Self::Not(inner) => {
                f.write_str("NOT ")?;
                write_condition(f, inner, Precedence::Not)
            }
            Self::Compare { operator, left, right } => {
                write_operand(f, left, Precedence::Add)?;
                write!(f, " {} ", operator.as_str())?;
                write_operand(f, right, Precedence::Add)
            }
            Self::In { value, list } => {
                write_operand(f, value, Precedence::Add)?;
                write!(f, " IN {list}")
            }
            Self::IsDefined(operand) => write!(f, "IS_DEFINED({operand})"),
            Self::HasType(value_type, operand) => write!(f, "{}({operand})", value_type.function()),
            Self::Text { test, text, part } => write!(f, "{}({text}, {part})", test.function()),
            Self::ArrayContains { array, value } => write!(f, "ARRAY_CONTAINS({array}, {value})"),
            Self::Value(operand) => write!(f, "{operand}"),
        }
    }
}

fn write_parts(f: &mut Formatter<'_>, parts: &[Condition], between: &str, least: Precedence) -> fmt::Result {
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            f.write_str(between)?;
        }
        write_condition(f, part, least)?;
    }
    Ok(())
}

/// Writes a condition, in parentheses if it binds weaker than `least`.
fn write_condition(f: &mut Formatter<'_>, condition: &Condition, least: Precedence) -> fmt::Result {
    let precedence = match condition {
        Condition::Any(_) => Precedence::Or,
        Condition::All(_) => Precedence::And,
        Condition::Not(_) => Precedence::Not,
        Condition::Compare { .. } | Condition::In { .. } => Precedence::Compare,
        Condition::Constant(_)
        | Condition::IsDefined(_)
        | Condition::HasType(..)
        | Condition::Text { .. }
        | Condition::ArrayContains { .. }
        | Condition::Value(_) => Precedence::Primary,
    };
    in_parentheses(f, precedence < least, condition)
}

/// Writes an operand, in parentheses if it binds weaker than `least`.
fn write_operand(f: &mut Formatter<'_>, operand: &Operand, least: Precedence) -> fmt::Result {
    let precedence = match operand {
        Operand::Condition(condition) => return write_condition(f, condition, least),
        Operand::Arithmetic { operator, .. } => operator.precedence(),
        Operand::Negate(_) => Precedence::Negate,
        Operand::Undefined | Operand::Literal(_) | Operand::List(_) | Operand::Path(_) => Precedence::Primary,
    };
    in_parentheses(f, precedence < least, operand)
}

fn in_parentheses(f: &mut Formatter<'_>, needed: bool, content: &impl Display) -> fmt::Result {
    if needed { write!(f, "({content})") } else { write!(f, "{content}") }
}

impl Display for Operand {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Undefined => f.write_str("undefined"),
            Self::Literal(literal) => write!(f, "{literal}"),
            Self::List(list) => write!(f, "{list}"),
            Self::Path(path) => write!(f, "{path}"),
            Self::Negate(inner) => {
                f.write_str("-")?;
                write_operand(f, inner, Precedence::Negate)
            }
            Self::Arithmetic { operator, left, right } => {
                let precedence = operator.precedence();
                write_operand(f, left, precedence)?;
                write!(f, " {} ", operator.as_str())?;
                write_operand(f, right, precedence.next_higher())
            }
            Self::Condition(condition) => write!(f, "{condition}"),
        }
    }
}

impl ArithmeticOperator {
    pub(crate) fn precedence(self) -> Precedence {
        match self {
            Self::Add | Self::Subtract => Precedence::Add,
            Self::Multiply | Self::Divide | Self::Remainder => Precedence::Multiply,
        }
    }
}

impl ValueType {
    /// Returns the name of the function that tests for this type.
    #[must_use]
    pub fn function(self) -> &'static str {
        match self {
            Self::Null => "IS_NULL",
            Self::Bool => "IS_BOOL",
            Self::Number => "IS_NUMBER",
            Self::String => "IS_STRING",
            Self::Object => "IS_OBJECT",
            Self::Array => "IS_ARRAY",
            Self::Primitive => "IS_PRIMITIVE",
        }
    }
}

impl StringTest {
    /// Returns the name of the function.
    #[must_use]
    pub fn function(self) -> &'static str {
        match self {
            Self::StartsWith => "STARTSWITH",
            Self::EndsWith => "ENDSWITH",
            Self::Contains => "CONTAINS",
        }
    }
}

impl Display for Path {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known { root, .. } => f.write_str(root.as_str())?,
            // In quotes, because it may be a keyword or the name of a collection.
            Self::Unknown { name, .. } => write!(f, "[[{name}]]")?,
        }
        for member in self.members() {
            match member {
                Member::Name(name) if is_name(name) => write!(f, ".{name}")?,
                Member::Name(name) => {
                    f.write_char('[')?;
                    write_string(f, name)?;
                    f.write_char(']')?;
                }
                Member::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

impl Display for Literals {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.as_slice().is_empty() {
            return f.write_str("[undefined]");
        }
        f.write_char('[')?;
        for (index, literal) in self.as_slice().iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{literal}")?;
        }
        f.write_char(']')
    }
}

impl Display for Literal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Number(number) => write!(f, "{number}"),
            Self::String(text) => write_string(f, text),
        }
    }
}

impl Display for Number {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(integer) => write!(f, "{integer}"),
            // With a fraction or an exponent, so that it is read as a double again.
            Self::Float(float) => write!(f, "{float:?}"),
        }
    }
}

fn write_string(f: &mut Formatter<'_>, text: &str) -> fmt::Result {
    f.write_char('\'')?;
    for character in text.chars() {
        if matches!(character, '\'' | '\\') {
            f.write_char('\\')?;
        }
        f.write_char(character)?;
    }
    f.write_char('\'')
}
