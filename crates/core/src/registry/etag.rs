//! Etags and `If-Match`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ferrohub_model::random::random_bytes;

/// The `If-Match` header of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IfMatch {
    /// `*`: any etag, but the identity must exist.
    Any,
    /// Exactly this etag.
    Etag(String),
}

impl IfMatch {
    /// Parses the header in all accepted forms: `*`, `"*"`, `"etag"`, `etag`, `W/"etag"`.
    #[must_use]
    pub fn parse(header: &str) -> Self {
        let text = header.trim();
        let text = text.strip_prefix("W/").unwrap_or(text);
        let bare = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
        if bare == "*" { Self::Any } else { Self::Etag(bare.to_owned()) }
    }

    /// Returns whether an identity with this etag matches.
    #[must_use]
    pub fn matches(&self, etag: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Etag(wanted) => wanted == etag,
        }
    }
}

/// Returns a new etag: base64 of 9 random bytes. Clients must treat it as opaque, as they do Azure's.
pub(crate) fn fresh_etag() -> String {
    STANDARD.encode(random_bytes::<9>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_if_match_parses() {
        for text in ["*", "\"*\"", " * "] {
            assert_eq!(IfMatch::parse(text), IfMatch::Any);
        }
        for text in ["abc", "\"abc\"", "W/\"abc\""] {
            assert!(IfMatch::parse(text).matches("abc"));
            assert!(!IfMatch::parse(text).matches("abd"));
        }
    }
}
