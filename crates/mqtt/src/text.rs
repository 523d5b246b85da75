//! MQTT strings (MQTT 3.1.1, section 1.5.3): UTF-8 without U+0000, at most 65 535 bytes.

use std::{fmt, ops::Deref};

use bytes::Bytes;
use thiserror::Error;

/// An MQTT string that shares the buffer it was decoded from.
///
/// Cloning is cheap. The constructors check the bytes; [`Utf8::as_str`] has to check them again, because the standard
/// library offers no other safe way (some nanoseconds for a topic). In loops, keep the `&str`.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Utf8(Bytes);

/// The bytes are not a valid MQTT string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Utf8Error {
    /// Not well-formed UTF-8 (MQTT-1.5.3-1).
    #[error("string is not valid UTF-8")]
    Invalid,
    /// Contains U+0000 (MQTT-1.5.3-2).
    #[error("string contains U+0000")]
    Nul,
    /// Longer than a two-byte length can encode.
    #[error("string is longer than 65535 bytes")]
    TooLong,
}

impl Utf8 {
    /// The maximum length of a string in bytes.
    pub const MAX_LEN: usize = u16::MAX as usize;

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        // Every constructor checks the bytes, so the default is never used.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Returns the bytes of the text, without another check.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Converts the string into its bytes.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }

    /// Wraps bytes that [`Utf8::check`] has accepted.
    pub(crate) fn new_unchecked(bytes: Bytes) -> Self {
        Self(bytes)
    }

    pub(crate) fn has_wildcard(bytes: &[u8]) -> bool {
        bytes.iter().fold(false, |found, &byte| found | (byte == b'+') | (byte == b'#'))
    }

    pub(crate) fn check(bytes: &[u8]) -> Result<(), Utf8Error> {
        if bytes.len() > Self::MAX_LEN {
            return Err(Utf8Error::TooLong);
        }
        std::str::from_utf8(bytes).map_err(|_| Utf8Error::Invalid)?;
        // No early exit, so that the compiler vectorises the loop; the same in `has_wildcard`.
        if bytes.iter().fold(false, |found, &byte| found | (byte == 0)) {
            return Err(Utf8Error::Nul);
        }
        Ok(())
    }
}

impl TryFrom<Bytes> for Utf8 {
    type Error = Utf8Error;

    fn try_from(bytes: Bytes) -> Result<Self, Utf8Error> {
        Self::check(&bytes)?;
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Utf8 {
    type Error = Utf8Error;

    fn try_from(text: String) -> Result<Self, Utf8Error> {
        Self::try_from(Bytes::from(text))
    }
}

impl TryFrom<&str> for Utf8 {
    type Error = Utf8Error;

    fn try_from(text: &str) -> Result<Self, Utf8Error> {
        Self::check(text.as_bytes())?;
        Ok(Self(Bytes::copy_from_slice(text.as_bytes())))
    }
}

impl Deref for Utf8 {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for Utf8 {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq<str> for Utf8 {
    fn eq(&self, other: &str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl PartialEq<&str> for Utf8 {
    fn eq(&self, other: &&str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl fmt::Display for Utf8 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Utf8 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_mqtt_strings_are_refused() {
        assert_eq!(Utf8::try_from("a\0b"), Err(Utf8Error::Nul));
        assert_eq!(Utf8::try_from(Bytes::from_static(b"\xed\xa0\x80")), Err(Utf8Error::Invalid));
        assert_eq!(Utf8::try_from("a".repeat(65_536)), Err(Utf8Error::TooLong));
        assert_eq!(Utf8::try_from("a".repeat(65_535)).unwrap().len(), 65_535);
    }

    #[test]
    fn a_byte_order_mark_is_kept() {
        // MQTT-1.5.3-3: 0xEF 0xBB 0xBF is a character like any other.
        assert_eq!(Utf8::try_from("\u{feff}x").unwrap().as_bytes(), b"\xef\xbb\xbfx");
    }
}
