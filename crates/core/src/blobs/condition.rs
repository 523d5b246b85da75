//! Conditions of a request on a blob: `If-Match` and its siblings (RFC 9110, 13).

use ferrohub_model::Timestamp;

use super::Blob;

/// Which etags a condition means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EtagMatch {
    /// `*`: any blob.
    Any,
    /// One of these, no quotes.
    OneOf(Vec<String>),
}

impl EtagMatch {
    /// Reads the value of `If-Match` or `If-None-Match`. Quotes and the mark of weak etags do not count.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let one = |text: &str| {
            let text = text.trim();
            text.strip_prefix("W/").unwrap_or(text).trim_matches('"').to_owned()
        };
        let etags: Vec<String> = text.split(',').map(one).collect();
        if etags.iter().any(|etag| etag == "*") { Self::Any } else { Self::OneOf(etags) }
    }

    fn matches(&self, blob: &Blob) -> bool {
        match self {
            Self::Any => true,
            Self::OneOf(etags) => etags.contains(&blob.etag),
        }
    }
}

/// When a request may have its way.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Condition {
    /// The blob is there and has such an etag.
    pub if_match: Option<EtagMatch>,
    /// No blob with such an etag is there.
    pub if_none_match: Option<EtagMatch>,
    /// It was written after that second.
    pub if_modified_since: Option<Timestamp>,
    /// It was not written after that second.
    pub if_unmodified_since: Option<Timestamp>,
    /// No blob is there: all that whoever may create and not write may do.
    pub create_only: bool,
}

/// Why it may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConditionFailed {
    /// There is a blob, and there should be none.
    #[error("the blob is there already")]
    AlreadyExists,
    /// There is a blob, and its writer may only make new ones.
    #[error("the blob is there already, and the signature does not allow to replace it")]
    OverwriteForbidden,
    /// It is another one than the condition says.
    #[error("the condition of the request does not hold")]
    NotMet,
    /// It is as whoever asks knows it.
    #[error("the blob has not changed")]
    NotModified,
}

impl Condition {
    /// Holds it against the blob that is there.
    pub fn check(&self, blob: Option<&Blob>) -> Result<(), ConditionFailed> {
        if self.create_only && blob.is_some() {
            return Err(ConditionFailed::OverwriteForbidden);
        }
        let Some(blob) = blob else {
            // Nothing there is nothing that matches, and nothing that changed.
            return if self.if_match.is_some() { Err(ConditionFailed::NotMet) } else { Ok(()) };
        };
        if self.if_match.as_ref().is_some_and(|etags| !etags.matches(blob)) {
            return Err(ConditionFailed::NotMet);
        }
        match &self.if_none_match {
            Some(EtagMatch::Any) => return Err(ConditionFailed::AlreadyExists),
            Some(etags) if etags.matches(blob) => return Err(ConditionFailed::NotModified),
            _ => {}
        }
        // HTTP dates have whole seconds.
        let written = Timestamp::from_unix_seconds(blob.modified.unix_seconds());
        if self.if_unmodified_since.is_some_and(|since| written > since) {
            return Err(ConditionFailed::NotMet);
        }
        if self.if_modified_since.is_some_and(|since| written <= since) {
            return Err(ConditionFailed::NotModified);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use ferrohub_model::file::BlobName;

    use super::*;

    #[test]
    fn conditions_are_held_against_what_is_there() {
        use ConditionFailed as F;
        let blob = Blob {
            name: BlobName::parse("d/f").unwrap(),
            bytes: 1,
            etag: "0xA".to_owned(),
            modified: Timestamp::from_unix_millis(10_500),
            properties: std::collections::BTreeMap::new(),
        };
        let second = |second| Some(Timestamp::from_unix_seconds(second));
        let etags = |text| Some(EtagMatch::parse(text));
        let none = Condition::default;
        for (condition, there, absent) in [
            (none(), Ok(()), Ok(())),
            (Condition { if_match: etags("*"), ..none() }, Ok(()), Err(F::NotMet)),
            (Condition { if_match: etags("\"0xB\", \"0xA\""), ..none() }, Ok(()), Err(F::NotMet)),
            (Condition { if_match: etags("\"0xB\""), ..none() }, Err(F::NotMet), Err(F::NotMet)),
            (Condition { if_none_match: etags("*"), ..none() }, Err(F::AlreadyExists), Ok(())),
            (Condition { if_none_match: etags("W/\"0xA\""), ..none() }, Err(F::NotModified), Ok(())),
            (Condition { if_none_match: etags("0xB"), ..none() }, Ok(()), Ok(())),
            (Condition { if_unmodified_since: second(10), ..none() }, Ok(()), Ok(())),
            (Condition { if_unmodified_since: second(9), ..none() }, Err(F::NotMet), Ok(())),
            (Condition { if_modified_since: second(10), ..none() }, Err(F::NotModified), Ok(())),
            (Condition { if_modified_since: second(9), ..none() }, Ok(()), Ok(())),
            (Condition { create_only: true, ..none() }, Err(F::OverwriteForbidden), Ok(())),
        ] {
            assert_eq!(condition.check(Some(&blob)), there, "{condition:?}");
            assert_eq!(condition.check(None), absent, "{condition:?}");
        }
    }
}
