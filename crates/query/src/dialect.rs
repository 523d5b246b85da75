//! The variants of the language.

/// A variant of the language: which functions exist, and what a missing value means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Dialect {
    /// Queries on twins, modules and jobs, target conditions and conditions of jobs. A missing value makes every
    /// comparison undefined.
    #[default]
    Twins,
}
