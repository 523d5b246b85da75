//! Shared access keys: secrets that sign tokens.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::names::serde_by_name;
use crate::random::random_bytes;

/// Shortest key that a caller may set, in bytes.
pub const MIN_KEY_BYTES: usize = 16;
/// Longest key that a caller may set, in bytes.
pub const MAX_KEY_BYTES: usize = 64;
const GENERATED_KEY_BYTES: usize = 32;

/// Why a text is not a shared access key. Never contains the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// Not standard base64 with padding.
    #[error("the key is not valid base64")]
    Base64,
    /// Too short or too long once decoded.
    #[error("the key has {0} bytes; {MIN_KEY_BYTES} to {MAX_KEY_BYTES} are allowed")]
    Length(usize),
}

/// A change of the two keys of an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyChange {
    /// Replaces the primary key by a new random key.
    Primary,
    /// Replaces the secondary key by a new random key.
    Secondary,
    /// Replaces both keys by new random keys.
    Both,
    /// Swaps the two keys.
    Swap,
}

impl KeyChange {
    /// Returns the name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Secondary => "secondary",
            Self::Both => "both",
            Self::Swap => "swap",
        }
    }
}

serde_by_name!(KeyChange, &[Self::Primary, Self::Secondary, Self::Both, Self::Swap]);

/// Distinguishes keys without revealing them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyFingerprint(u64);

/// A secret of 16 to 64 bytes, written as base64. Its `Debug` output does not contain it.
#[derive(Clone, PartialEq, Eq)]
pub struct SharedAccessKey(Box<[u8]>);

impl SharedAccessKey {
    /// Decodes standard base64 and checks the length.
    pub fn from_base64(text: &str) -> Result<Self, InvalidKey> {
        let bytes = STANDARD.decode(text).map_err(|_| InvalidKey::Base64)?;
        Self::from_bytes(&bytes)
    }

    /// Copies raw bytes and checks the length.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidKey> {
        if !(MIN_KEY_BYTES..=MAX_KEY_BYTES).contains(&bytes.len()) {
            return Err(InvalidKey::Length(bytes.len()));
        }
        Ok(Self(bytes.into()))
    }

    /// Returns a new random key of 32 bytes.
    ///
    /// # Panics
    /// As [`random_bytes`].
    #[must_use]
    pub fn generate() -> Self {
        Self(Box::new(random_bytes::<GENERATED_KEY_BYTES>()))
    }

    /// Returns the key in base64, as in connection strings and registry JSON.
    #[must_use]
    pub fn to_base64(&self) -> String {
        STANDARD.encode(&self.0)
    }

    /// Returns a fingerprint that distinguishes the key from others.
    #[must_use]
    pub fn fingerprint(&self) -> KeyFingerprint {
        let mut first = [0; 8];
        first.copy_from_slice(self.sign(b"mark").split_at(8).0);
        KeyFingerprint(u64::from_le_bytes(first))
    }

    /// Returns the HMAC-SHA256 of `message` under this key.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 32] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.0);
        let mut signature = [0u8; 32];
        signature.copy_from_slice(hmac::sign(&key, message).as_ref());
        signature
    }

    /// Returns whether `signature` is the HMAC-SHA256 of `message` under the base64 text of this key, which is not decoded.
    /// Takes constant time.
    #[must_use]
    pub fn verify_under_text(&self, message: &[u8], signature: &[u8]) -> bool {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.to_base64().as_bytes());
        hmac::verify(&key, message, signature).is_ok()
    }

    /// Returns whether `signature` is the HMAC-SHA256 of `message` under this key. Takes constant time.
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.0);
        hmac::verify(&key, message, signature).is_ok()
    }
}

impl fmt::Debug for SharedAccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedAccessKey(***)")
    }
}

impl Serialize for SharedAccessKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_base64())
    }
}

impl<'de> Deserialize<'de> for SharedAccessKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::from_base64(&text).map_err(serde::de::Error::custom)
    }
}
