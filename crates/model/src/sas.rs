//! Shared access signatures (SAS): the tokens that devices and services authenticate with.
//!
//! A token contains a resource (`sr`), an expiry time (`se`), optionally the name of the policy whose key signed it
//! (`skn`), and the HMAC-SHA256 of `sr`, a line feed and `se`. The signature covers `sr` exactly as it was transmitted:
//! clients encode it in many ways (`host%2Fdevices%2Fid`, `localhost%3A8443`, `localhost:8443`). The literal text is
//! therefore kept, and decoded only for comparisons.

mod resource;

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::key::SharedAccessKey;
use crate::percent;
use crate::timestamp::Timestamp;

pub use resource::Resource;

const PREFIX: &str = "SharedAccessSignature ";
/// Longest accepted token in bytes. Real tokens have a few hundred bytes.
pub const MAX_TOKEN_LENGTH: usize = 4096;

/// Why a text is not a shared access signature. Never contains the text, which may be a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SasError {
    /// The text does not begin with `SharedAccessSignature`.
    #[error("the token does not begin with SharedAccessSignature")]
    Prefix,
    /// Longer than [`MAX_TOKEN_LENGTH`].
    #[error("the token is longer than {MAX_TOKEN_LENGTH} bytes")]
    TooLong,
    /// A part is not `name=value`.
    #[error("a part of the token is not name=value")]
    Part,
    /// A field occurs twice.
    #[error("the token has the field {0} twice")]
    Duplicate(&'static str),
    /// A field is missing.
    #[error("the token lacks the field {0}")]
    Missing(&'static str),
    /// A field is malformed.
    #[error("the token's field {0} is not valid")]
    Malformed(&'static str),
}

/// A parsed token. Do not trust its fields before [`SasToken::is_signed_by`] has returned true.
#[derive(Clone, PartialEq, Eq)]
pub struct SasToken<'a> {
    resource: &'a str,
    expiry_text: &'a str,
    expiry: Timestamp,
    signature: Vec<u8>,
    policy: Option<String>,
}

impl<'a> SasToken<'a> {
    /// Parses `SharedAccessSignature sr=…&sig=…&se=…[&skn=…]`, with fields in any order; ignores unknown fields.
    pub fn parse(text: &'a str) -> Result<Self, SasError> {
        if text.len() > MAX_TOKEN_LENGTH {
            return Err(SasError::TooLong);
        }
        let fields = text.strip_prefix(PREFIX).ok_or(SasError::Prefix)?;
        let (mut sr, mut sig, mut se, mut skn) = (None, None, None, None);
        for part in fields.trim().split('&') {
            let (name, value) = part.split_once('=').ok_or(SasError::Part)?;
            let (slot, name) = match name {
                "sr" => (&mut sr, "sr"),
                "sig" => (&mut sig, "sig"),
                "se" => (&mut se, "se"),
                "skn" => (&mut skn, "skn"),
                _ => continue,
            };
            if slot.replace(value).is_some() {
                return Err(SasError::Duplicate(name));
            }
        }
        let resource = sr.filter(|sr| !sr.is_empty()).ok_or(SasError::Missing("sr"))?;
        let signature = sig.ok_or(SasError::Missing("sig"))?;
        let signature = percent::decode(signature).ok_or(SasError::Malformed("sig"))?;
        let signature = STANDARD.decode(signature).map_err(|_| SasError::Malformed("sig"))?;
        let expiry_text = se.ok_or(SasError::Missing("se"))?;
        if expiry_text.is_empty() || !expiry_text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(SasError::Malformed("se"));
        }
        let expiry =
            expiry_text.parse().map(Timestamp::from_unix_seconds).map_err(|_| SasError::Malformed("se"))?;
        let policy = match skn {
            None | Some("") => None,
            Some(name) => Some(percent::decode(name).ok_or(SasError::Malformed("skn"))?),
        };
        Ok(Self { resource, expiry_text, expiry, signature, policy })
    }

    /// Returns the expiry time.
    #[must_use]
    pub fn expiry(&self) -> Timestamp {
        self.expiry
    }

    /// Returns the name of the policy whose key signed the token; `None` for a device's own key.
    #[must_use]
    pub fn policy(&self) -> Option<&str> {
        self.policy.as_deref()
    }

    /// Returns whether `key` signed this token. Takes constant time for a given token.
    #[must_use]
    pub fn is_signed_by(&self, key: &SharedAccessKey) -> bool {
        key.verify(string_to_sign(self.resource, self.expiry_text).as_bytes(), &self.signature)
    }

    /// Returns whether the base64 text of `key` signed this token: clients of event hubs do not decode the key. Takes constant
    /// time for a given token.
    #[must_use]
    pub fn is_signed_by_text_of(&self, key: &SharedAccessKey) -> bool {
        key.verify_under_text(string_to_sign(self.resource, self.expiry_text).as_bytes(), &self.signature)
    }

    /// Returns the parsed resource; `None` if it has no host, or is longer than any that a token is for.
    #[must_use]
    pub fn resource(&self) -> Option<Resource> {
        Resource::parse(self.resource)
    }
}

impl fmt::Debug for SasToken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SasToken")
            .field("resource", &self.resource)
            .field("expiry", &self.expiry)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

fn string_to_sign(resource: &str, expiry: &str) -> String {
    [resource, "\n", expiry].concat()
}

/// Returns a signed token for `resource` (not percent-encoded, such as `hub/devices/d1`), valid until `expiry`.
#[must_use]
pub fn sign(resource: &str, key: &SharedAccessKey, policy: Option<&str>, expiry: Timestamp) -> String {
    let resource = percent::encode(resource);
    let expiry = expiry.unix_seconds().to_string();
    let signature = STANDARD.encode(key.sign(string_to_sign(&resource, &expiry).as_bytes()));
    let mut token = format!("{PREFIX}sr={resource}&sig={}&se={expiry}", percent::encode(&signature));
    if let Some(policy) = policy {
        token.push_str("&skn=");
        percent::encode_into(policy, &mut token);
    }
    token
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SharedAccessKey {
        SharedAccessKey::from_bytes(&(0..32).collect::<Vec<u8>>()).unwrap()
    }

    #[test]
    fn signed_tokens_match_known_signatures_and_verify() {
        // Signatures computed independently for key bytes 00..1f and se 1735689600.
        let expiry = Timestamp::from_unix_seconds(1_735_689_600);
        for (resource, policy, signature) in [
            (
                "myhub.azure-devices.net/devices/device1",
                None,
                "xH0%2F%2BRciNlrmGRmft%2FGaRUOWtxiP3dKxt1GTGUR2qrw%3D",
            ),
            (
                "myhub.azure-devices.net/devices/device1/modules/mod1",
                None,
                "BOaIZBamgpulGCmYcXHGviqGgquzgiiWyXoj%2F%2BoCwyU%3D",
            ),
            (
                "myhub.azure-devices.net",
                Some("service"),
                "jjnsvw73BKWt%2B2smudQxaqnIDmL236S7%2Bz%2BsYPHU6Zs%3D",
            ),
        ] {
            let token = sign(resource, &key(), policy, expiry);
            assert!(token.contains(&format!("&sig={signature}&")), "{token}");
            let parsed = SasToken::parse(&token).unwrap();
            assert!(parsed.is_signed_by(&key()));
            assert_eq!((parsed.expiry(), parsed.policy()), (expiry, policy));
        }
    }

    #[test]
    fn the_signature_covers_the_literal_resource_text() {
        for sr in ["localhost%3a8443", "localhost%3A8443", "localhost:8443"] {
            let signature = STANDARD.encode(key().sign(format!("{sr}\n99").as_bytes()));
            let text = format!("SharedAccessSignature se=99&sr={sr}&sig={signature}");
            let token = SasToken::parse(&text).unwrap();
            assert!(token.is_signed_by(&key()), "{sr}");
            assert!(token.resource().unwrap().is_on_host("LOCALHOST"));
        }
    }

    /// A token that `azure-eventhub` for Python has signed, with the base64 text of the key.
    #[test]
    fn a_token_of_a_client_of_event_hubs_verifies_under_the_text_of_the_key() {
        let text = "SharedAccessSignature sr=sb%3A%2F%2Fhub.lan%2Fhub&sig=p1OeY%2Bmf%2FJcNGqL57%2BQmVEpymYFPMHzZssgoslaHaag%3D&se=1900000000&skn=service";
        let key = key();
        let token = SasToken::parse(text).unwrap();
        assert!(token.is_signed_by_text_of(&key) && !token.is_signed_by(&key));
        let changed = text.replace("se=1900000000", "se=1900000001");
        assert!(!SasToken::parse(&changed).unwrap().is_signed_by_text_of(&key));
    }

    #[test]
    fn a_changed_token_does_not_verify() {
        let token = sign("h/devices/a", &key(), None, Timestamp::from_unix_seconds(99));
        for (from, to) in [
            ("se=99", "se=100"),
            ("devices%2Fa", "devices%2Fb"),
            ("%2F", "%2f"),
            ("devices%2Fa", "devices/a"),
        ] {
            let changed = token.replacen(from, to, 1);
            assert_ne!(changed, token);
            assert!(!SasToken::parse(&changed).unwrap().is_signed_by(&key()), "{changed}");
        }
    }

    #[test]
    fn each_defect_of_a_token_has_its_own_error() {
        use SasError::*;
        for (text, error) in [
            ("Bearer x", Prefix),
            ("SharedAccessSignature sr=a&sig=AA==", Missing("se")),
            ("SharedAccessSignature sr=a&se=1", Missing("sig")),
            ("SharedAccessSignature sig=AA==&se=1", Missing("sr")),
            ("SharedAccessSignature sr=a&sr=b&sig=AA==&se=1", Duplicate("sr")),
            ("SharedAccessSignature sr=a&sig=%%&se=1", Malformed("sig")),
            ("SharedAccessSignature sr=a&sig=AA==&se=-1", Malformed("se")),
            ("SharedAccessSignature sr=a&sig=AA==&se=99999999999999999999", Malformed("se")),
            ("SharedAccessSignature sr", Part),
        ] {
            assert_eq!(SasToken::parse(text), Err(error), "{text}");
        }
    }
}
