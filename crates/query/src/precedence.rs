//! The precedence of operators.

/// The precedence of an operator, in ascending order: `Ord` follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Precedence {
    Or,
    And,
    Not,
    /// Comparisons and `IN`; they cannot be chained.
    Compare,
    Add,
    Multiply,
    /// The minus before a value.
    Negate,
    /// Constants, paths, calls and parentheses.
    Primary,
}

impl Precedence {
    /// Returns the next higher precedence. `Primary` is the highest and returns itself.
    pub(crate) fn next_higher(self) -> Self {
        match self {
            Self::Or => Self::And,
            Self::And => Self::Not,
            Self::Not => Self::Compare,
            Self::Compare => Self::Add,
            Self::Add => Self::Multiply,
            Self::Multiply => Self::Negate,
            Self::Negate | Self::Primary => Self::Primary,
        }
    }
}
