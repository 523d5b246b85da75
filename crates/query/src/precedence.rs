//! How strongly operators bind.

/// How strongly an operator binds, from the weakest.
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
    Sign,
    /// Constants, paths, calls and parentheses.
    Primary,
}

impl Precedence {
    /// Returns the next tighter precedence.
    pub(crate) fn tighter(self) -> Self {
        match self {
            Self::Or => Self::And,
            Self::And => Self::Not,
            Self::Not => Self::Compare,
            Self::Compare => Self::Add,
            Self::Add => Self::Multiply,
            Self::Multiply => Self::Sign,
            Self::Sign | Self::Primary => Self::Primary,
        }
    }
}
