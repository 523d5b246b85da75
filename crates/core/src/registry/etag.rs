//! Etags, and what callers say about them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom, SystemRandom};

/// The `If-Match` of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IfMatch {
    /// Whatever the etag is, but the identity must be there.
    Any,
    /// Only this etag.
    Etag(String),
}

impl IfMatch {
    /// Reads the header in all its spellings: `*`, `"*"`, `"etag"`, `etag`, `W/"etag"`.
    #[must_use]
    pub fn parse(header: &str) -> Self {
        let text = header.trim();
        let text = text.strip_prefix("W/").unwrap_or(text);
        let bare = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
        if bare == "*" { Self::Any } else { Self::Etag(bare.to_owned()) }
    }

    /// Whether an identity of this etag is meant.
    #[must_use]
    pub fn matches(&self, etag: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Etag(wanted) => wanted == etag,
        }
    }
}

/// A new etag: base64 of random digits, as opaque as Azure's.
pub(crate) fn fresh_etag() -> String {
    let mut bytes = [0u8; 9];
    let _ = SystemRandom::new().fill(&mut bytes);
    STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn if_match_comes_in_many_spellings() {
        for text in ["*", "\"*\"", " * "] {
            assert_eq!(IfMatch::parse(text), IfMatch::Any);
        }
        for text in ["abc", "\"abc\"", "W/\"abc\""] {
            assert!(IfMatch::parse(text).matches("abc"));
            assert!(!IfMatch::parse(text).matches("abd"));
        }
    }
}
