//! Lock tokens: a client settles what it received over HTTPS with one.

use std::fmt;

use ferrohub_model::random::random_bytes;

/// A random, unguessable number, written as a GUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LockToken(u128);

impl LockToken {
    /// Generates a token.
    pub(crate) fn generate() -> Self {
        Self(u128::from_le_bytes(random_bytes()))
    }

    /// Parses a token, with or without quotes and hyphens.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits: String = text.trim_matches('"').chars().filter(|c| *c != '-').collect();
        (digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
            .then(|| u128::from_str_radix(&digits, 16).ok().map(Self))
            .flatten()
    }
}

impl fmt::Display for LockToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |from: u32, digits: u32| self.0 >> from & ((1 << (4 * digits)) - 1);
        write!(
            f,
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            part(96, 8),
            part(80, 4),
            part(64, 4),
            part(48, 4),
            part(0, 12)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_a_guid() {
        let token = LockToken(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
        assert_eq!(token.to_string(), "01234567-89ab-cdef-0123-456789abcdef");
        assert_eq!(LockToken::parse(&token.to_string()), Some(token));
        assert_eq!(LockToken::parse(&format!("\"{token}\"")), Some(token));
        assert_ne!(LockToken::generate(), LockToken::generate());
        for text in
            ["", "*", "0123", "+1234567-89ab-cdef-0123-456789abcdef", "é1234567-89ab-cdef-0123-456789abcde"]
        {
            assert_eq!(LockToken::parse(text), None, "{text}");
        }
    }
}
