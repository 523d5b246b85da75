//! Patterns for ids and paths.

/// Parts between slashes, each with `*` for any characters in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    segments: Vec<String>,
    /// Whether anything may follow, or nothing at all be left to follow.
    matches_rest: bool,
}

impl Pattern {
    /// `a/*b*` matches as many parts as it has; `a/**` also those that follow `a`.
    pub(super) fn new(text: &str) -> Self {
        let mut segments: Vec<String> = text.split('/').map(str::to_owned).collect();
        let matches_rest = segments.last().is_some_and(|last| last == "**");
        if matches_rest {
            segments.pop();
        }
        Self { segments, matches_rest }
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        let mut segments = text.split('/');
        let first_match =
            self.segments.iter().all(|pattern| segments.next().is_some_and(|segment| glob(pattern, segment)));
        first_match && (self.matches_rest || segments.next().is_none())
    }
}

/// Whether `text` is what `pattern` says. Looks at each character a bounded number of times for each `*` behind it.
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
    fn stars_stand_for_characters_between_slashes() {
        for (pattern, yes, no) in [
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
            for text in yes {
                assert!(Pattern::new(pattern).matches(text), "{pattern} {text}");
            }
            for text in no {
                assert!(!Pattern::new(pattern).matches(text), "{pattern} {text}");
            }
        }
    }
}
