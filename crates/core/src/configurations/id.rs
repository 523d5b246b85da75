//! The id of a configuration.

use std::fmt;

use ferrohub_model::{ErrorCode, HubError};

/// Maximum length of an id, in characters.
const MAX_LENGTH: usize = 128;
/// Characters beside lower-case ASCII letters and digits.
const OTHERS: &str = "-:+%_#*?!(),=@;$'.";

/// The id of a configuration: 1 to 128 lower-case ASCII letters, digits and some other characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConfigurationId(String);

impl ConfigurationId {
    /// Parses an id.
    ///
    /// # Errors
    /// `ArgumentInvalid`; its message names what is wrong.
    pub fn parse(text: &str) -> Result<Self, HubError> {
        let invalid = |reason: String| {
            let text = format!("The id of the configuration is not valid: {reason}.");
            Err(HubError::new(ErrorCode::ArgumentInvalid, text))
        };
        if text.is_empty() || text.len() > MAX_LENGTH {
            return invalid(format!("it must have 1 to {MAX_LENGTH} characters"));
        }
        let is_allowed = |c: &char| c.is_ascii_lowercase() || c.is_ascii_digit() || OTHERS.contains(*c);
        match text.chars().find(|c| !is_allowed(c)) {
            Some(c) if c.is_ascii_uppercase() => invalid(format!("it contains {c:?}; use lower case")),
            Some(c) => invalid(format!(
                "it contains {c:?}; allowed are lower-case ASCII letters, digits and - : + % _ # * ? ! ( ) , = @ ; $ ' ."
            )),
            None => Ok(Self(text.to_owned())),
        }
    }

    /// Returns the id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ConfigurationId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_in_lower_case_and_has_no_brackets() {
        for valid in ["a", "chillersettings-1", "a:b+c%d_e#f*g?h!i(j)k,l=m@n;o$p'q.r", &"a".repeat(128)] {
            assert_eq!(ConfigurationId::parse(valid).unwrap().as_str(), valid);
        }
        for invalid in ["", "A", "a b", "a]", "a[", "a&b", "a/b", "ä", "a\"b", &"a".repeat(129)] {
            assert_eq!(ConfigurationId::parse(invalid).unwrap_err().code, ErrorCode::ArgumentInvalid);
        }
    }
}
