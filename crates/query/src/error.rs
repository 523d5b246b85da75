//! Why a text is not a query: the reason, the position, and advice.

mod hint;

use std::fmt;

pub use self::hint::Hint;

use crate::limits::LimitName;

/// A text that is not a query or not a condition. Its `Display` is one or two sentences for the author of the text:
/// position, reason and, where there is one, advice.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct QueryError {
    /// Why the text is refused.
    pub reason: Reason,
    /// Where.
    pub position: Position,
    /// What the author may have meant.
    pub hint: Option<Hint>,
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}.", self.position, self.reason)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, " {hint}"))
    }
}

/// A place in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Offset in bytes, from 0.
    pub offset: usize,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

impl Position {
    /// Returns the place of a byte in a text.
    pub(crate) fn of(text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line = before.rsplit('\n').next().unwrap_or_default();
        Self { offset, line: before.matches('\n').count() + 1, column: line.chars().count() + 1 }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Line {}, column {}", self.line, self.column)
    }
}

/// Why a text is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// Something else is allowed at this position.
    #[error("expected {expected}, but found {found}")]
    Expected {
        /// What is allowed.
        expected: &'static str,
        /// What the text has; shortened.
        found: String,
    },
    /// There is nothing but blanks and comments.
    #[error("the text is empty")]
    Empty,
    /// A character that has no meaning in the language.
    #[error("the character {0:?} is not allowed here")]
    Character(char),
    /// A string literal without closing quote.
    #[error("the string has no closing quote")]
    UnterminatedString,
    /// A comment without `*/`.
    #[error("the comment has no closing */")]
    UnterminatedComment,
    /// A name in double brackets without `]]`.
    #[error("the quoted name has no closing ]]")]
    UnterminatedName,
    /// A quoted name without characters.
    #[error("a name must not be empty")]
    EmptyName,
    /// A backslash in a string that does not begin a known escape.
    #[error("the backslash in this string does not begin a valid escape")]
    Escape,
    /// An escape for half of a surrogate pair.
    #[error("this escape is half of a surrogate pair")]
    LoneSurrogate,
    /// Digits that are not a number.
    #[error("{0:?} is not a number")]
    Number(String),
    /// A number beyond the range of a double.
    #[error("the number is too large")]
    NumberTooLarge,
    /// SQL that this language does not have.
    #[error("{0} is not part of the query language")]
    NotSupported(&'static str),
    /// No function of any dialect has this name.
    #[error("there is no function {0}")]
    UnknownFunction(String),
    /// The function exists in conditions of routes only.
    #[error("the function {0} is not available in queries on twins and jobs")]
    RoutesOnly(&'static str),
    /// An aggregate outside of `SELECT`.
    #[error("the aggregate {0} is only allowed after SELECT")]
    AggregateInCondition(&'static str),
    /// A function has another number of arguments.
    #[error("{function} takes {expected} {}", if *expected == 1 { "argument" } else { "arguments" })]
    Arguments {
        /// The function.
        function: &'static str,
        /// The number of arguments that it takes.
        expected: usize,
    },
    /// A column beside aggregates that is not the path after `GROUP BY`.
    #[error("the column {0} is neither an aggregate nor the path after GROUP BY")]
    NotGrouped(String),
    /// `SELECT *` with `GROUP BY`.
    #[error("SELECT * cannot be combined with GROUP BY")]
    AllWithGroupBy,
    /// Columns, aggregates or groups of jobs.
    #[error("queries on devices.jobs return whole rows")]
    JobColumns,
    /// A property of a twin in a query on jobs.
    #[error("rows of devices.jobs have no {0}")]
    TwinPathInJobs(&'static str),
    /// A limit is exceeded.
    #[error("a query has at most {limit} {name}")]
    Limit {
        /// Which limit.
        name: LimitName,
        /// Its value.
        limit: usize,
    },
}

/// An error of lexer or parser; the offset becomes a [`Position`] when the text is known to be wrong.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Failure {
    reason: Reason,
    offset: usize,
    hint: Option<Hint>,
}

impl Failure {
    pub(crate) fn new(reason: Reason, offset: usize) -> Box<Self> {
        Box::new(Self { reason, offset, hint: None })
    }

    pub(crate) fn hint(mut self: Box<Self>, hint: impl Into<Option<Hint>>) -> Box<Self> {
        self.hint = hint.into();
        self
    }

    /// Adds a hint if there is none and the token is not a known word of SQL.
    pub(crate) fn or_hint(mut self: Box<Self>, hint: Hint) -> Box<Self> {
        if matches!(self.reason, Reason::Expected { .. }) {
            self.hint.get_or_insert(hint);
        }
        self
    }

    pub(crate) fn in_text(self, text: &str) -> QueryError {
        QueryError { reason: self.reason, position: Position::of(text, self.offset), hint: self.hint }
    }
}

/// The result of a step of lexer or parser. The error is boxed, because it is rare and large.
pub(crate) type Parse<T> = Result<T, Box<Failure>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_counts_lines_and_characters() {
        let text = "a\nbé\u{1f600}c";
        let offset = text.find('c').unwrap();
        assert_eq!(Position::of(text, offset), Position { offset, line: 2, column: 4 });
        assert_eq!(Position::of("", 0), Position { offset: 0, line: 1, column: 1 });
    }
}
