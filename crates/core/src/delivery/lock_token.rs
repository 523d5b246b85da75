//! Lock tokens: a receiver without a connection settles what it received with one.

use std::fmt;

use ferrohub_model::Guid;

/// A random, unguessable number, written as a GUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LockToken(Guid);

impl LockToken {
    /// Generates a token.
    pub(crate) fn generate() -> Self {
        Self(Guid::random())
    }

    /// Returns the GUID.
    #[must_use]
    pub fn guid(self) -> Guid {
        self.0
    }

    /// Parses a token, with or without quotes and hyphens.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Guid::parse(text.trim_matches('"')).map(Self)
    }
}

impl fmt::Display for LockToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_may_be_in_quotes() {
        let token = LockToken::generate();
        assert_eq!(LockToken::parse(&token.to_string()), Some(token));
        assert_eq!(LockToken::parse(&format!("\"{token}\"")), Some(token));
        assert_ne!(LockToken::generate(), token);
        assert_eq!(LockToken::parse("*"), None);
    }
}
