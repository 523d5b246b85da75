//! Limits on the text of a query.

use std::fmt;

/// Limits on the text of a query. A text that exceeds one is refused with an error that names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Maximum length of the text, in characters.
    pub characters: usize,
    /// Maximum nesting of parentheses, function calls, `NOT` and signs; each `+`, `-`, `*`, `/` or `%` of a chain counts
    /// as one more.
    pub depth: usize,
    /// Maximum number of elements in a list such as `['a', 'b']`.
    pub list_elements: usize,
    /// Maximum number of columns after `SELECT`.
    pub columns: usize,
    /// Maximum number of members and indexes in one path.
    pub path_members: usize,
}

impl Limits {
    /// The limits of queries and target conditions. Azure documents the length.
    pub const QUERY: Self =
        Self { characters: 8192, depth: 64, list_elements: 1000, columns: 100, path_members: 32 };

    /// The limits of the condition of a job. It may list the ids of some thousand devices.
    pub const JOB_CONDITION: Self = Self { characters: 256 * 1024, list_elements: 20_000, ..Self::QUERY };
}

impl Default for Limits {
    fn default() -> Self {
        Self::QUERY
    }
}

/// Names one of the [`Limits`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitName {
    /// [`Limits::characters`].
    Characters,
    /// [`Limits::depth`].
    Depth,
    /// [`Limits::list_elements`].
    ListElements,
    /// [`Limits::columns`].
    Columns,
    /// [`Limits::path_members`].
    PathMembers,
}

impl fmt::Display for LimitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Characters => "characters",
            Self::Depth => "nested levels",
            Self::ListElements => "elements in a list",
            Self::Columns => "columns",
            Self::PathMembers => "members in a path",
        })
    }
}
