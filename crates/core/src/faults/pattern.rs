//! Patterns that match identity ids and request paths.

use ferrohub_model::{ErrorCode, HubError};

/// A pattern of segments separated by slashes. In a segment, `*` matches any number of characters, also none. The last
/// segment may be `**`, which matches any number of segments, also none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    segments: Vec<String>,
    /// The pattern ended with `**`. It is not in `segments`.
    matches_rest: bool,
}

/// The longest pattern, in characters: long enough for two ids and a slash.
const MAX_LENGTH: usize = 512;

impl Pattern {
    /// Checks the length of a pattern that a client sent.
    ///
    /// # Errors
    ///
    /// `ArgumentInvalid` if it has more than 512 characters.
    pub fn check_length(text: &str) -> Result<(), HubError> {
        if text.chars().count() <= MAX_LENGTH {
            return Ok(());
        }
        let text = format!("a pattern must have at most {MAX_LENGTH} characters");
        Err(HubError::new(ErrorCode::ArgumentInvalid, text))
    }

    /// Parses a pattern. `a/*b*` matches texts of two segments, such as `a/xby`. `a/**` matches `a`, `a/x` and `a/x/y`.
    /// `**` matches everything. Before the last segment, `**` is the same as `*`.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let mut segments: Vec<String> = text.split('/').map(str::to_owned).collect();
        let matches_rest = segments.last().is_some_and(|last| last == "**");
        if matches_rest {
            segments.pop();
        }
        Self { segments, matches_rest }
    }

    /// Returns whether the pattern matches the whole text.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        // Each pattern segment takes one segment of the text. What is then left needs the `**`.
        let mut segments = text.split('/');
        let beginning_matches =
            self.segments.iter().all(|pattern| segments.next().is_some_and(|segment| glob(pattern, segment)));
        beginning_matches && (self.matches_rest || segments.next().is_none())
    }
}

/// Returns whether `text` matches `pattern`, in which `*` matches any characters.
///
/// The text must begin with the piece before the first `*` and end with the piece after the last one. Each piece
/// between them is taken where it occurs first, which leaves the most text for the others. So there is no backtracking:
/// the work is at most the length of `text` for each `*`.
fn glob(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let Some(mut rest) = pieces.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let mut pieces: Vec<&str> = pieces.collect();
    let Some(last) = pieces.pop() else { return rest.is_empty() };
    for piece in pieces {
        match rest.split_once(piece) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_matches_characters_within_a_segment() {
        for (pattern, matching, not_matching) in [
            ("dev1", &["dev1"][..], &["dev", "dev11", "dev1/m", ""][..]),
            ("*", &["dev1", ""], &["dev1/m"]),
            ("dev*", &["dev", "dev1"], &["de", "adev", "dev/m"]),
            ("*1", &["dev1", "1", "11"], &["dev"]),
            ("a*b*c", &["abc", "axbxc", "abbcc"], &["abcd", "acb", "ac"]),
            ("dev1/*", &["dev1/m"], &["dev1", "dev2/m", "dev1/m/n"]),
            ("**", &["dev1", "dev1/m"], &[]),
            ("/twins/*/methods", &["/twins/a/methods"], &["/twins/a", "/twins/a/modules/m/methods"]),
            ("/twins/**", &["/twins/a", "/twins/a/methods", "/twins"], &["/twin", "/devices/a"]),
        ] {
            for text in matching {
                assert!(Pattern::new(pattern).matches(text), "{pattern} {text}");
            }
            for text in not_matching {
                assert!(!Pattern::new(pattern).matches(text), "{pattern} {text}");
            }
        }
    }
}
