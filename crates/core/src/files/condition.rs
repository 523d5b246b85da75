//! Conditional requests on a blob: `If-Match` and the other preconditions of RFC 9110, section 13.

use ferrohub_model::Timestamp;

use super::Blob;

/// The etags that a condition matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EtagMatch {
    /// `*`: any blob.
    Any,
    /// One of these etags, without quotes.
    OneOf(Vec<String>),
}

impl EtagMatch {
    /// Parses the value of `If-Match` or `If-None-Match`. Quotes and the weak prefix `W/` are ignored.
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

/// The preconditions of a request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Condition {
    /// The blob exists and its etag matches.
    pub if_match: Option<EtagMatch>,
    /// No blob with a matching etag exists.
    pub if_none_match: Option<EtagMatch>,
    /// The blob was modified after this second.
    pub if_modified_since: Option<Timestamp>,
    /// The blob was not modified after this second.
    pub if_unmodified_since: Option<Timestamp>,
    /// No blob exists. Set when the signature grants create but not write.
    pub create_only: bool,
}

/// Why a precondition failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConditionFailed {
    /// The blob exists, and the condition requires that it does not.
    #[error("the blob already exists")]
    AlreadyExists,
    /// The blob exists, and the signature only permits creating new blobs.
    #[error("the blob already exists, and the signature does not permit overwriting it")]
    OverwriteForbidden,
    /// The blob does not match the condition.
    #[error("the condition of the request is not met")]
    NotMet,
    /// The blob is the version that the client already has.
    #[error("the blob has not changed")]
    NotModified,
}

impl Condition {
    /// Checks the condition against the existing blob, or `None` if there is no blob.
    ///
    /// # Errors
    /// The first precondition that is not met.
    pub fn check(&self, blob: Option<&Blob>) -> Result<(), ConditionFailed> {
        if self.create_only && blob.is_some() {
            return Err(ConditionFailed::OverwriteForbidden);
        }
        let Some(blob) = blob else {
            // Without a blob, only `If-Match` fails: the other preconditions are met.
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
    fn conditions_are_checked_against_the_existing_blob() {
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
        for (condition, existing, absent) in [
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
            assert_eq!(condition.check(Some(&blob)), existing, "{condition:?}");
            assert_eq!(condition.check(None), absent, "{condition:?}");
        }
    }
}
