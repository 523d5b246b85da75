//! The signing keys of an issuer: a JSON Web Key Set.

use std::collections::HashMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde::Deserialize;

use super::EntraError;
use super::jwt::Algorithm;

/// Maximum number of keys read from one set. Issuers publish a handful.
const MAX_KEYS: usize = 64;

/// The text is not a JSON Web Key Set.
#[derive(Debug, thiserror::Error)]
#[error("not a JSON Web Key Set: {0}")]
pub struct InvalidKeySet(#[from] serde_json::Error);

/// The public keys of an issuer, by key id.
#[derive(Clone, Default)]
pub struct KeySet(HashMap<String, PublicKey>);

#[derive(Clone)]
pub(super) enum PublicKey {
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    P256 { point: Vec<u8> },
}

#[derive(Deserialize)]
struct JwkSet {
    keys: Vec<serde_json::Value>,
}

/// The fields of a key that the hub uses.
#[derive(Deserialize)]
struct Jwk {
    kid: String,
    kty: String,
    #[serde(rename = "use")]
    usage: Option<String>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl KeySet {
    /// Parses a key set. Keys for other uses or of unsupported types are skipped.
    ///
    /// # Errors
    /// If the text is not a key set.
    pub fn from_json(text: &[u8]) -> Result<Self, InvalidKeySet> {
        let set: JwkSet = serde_json::from_slice(text)?;
        let keys = set.keys.into_iter().take(MAX_KEYS);
        let read = keys.filter_map(|key| {
            let key: Jwk = serde_json::from_value(key).ok()?;
            let public = PublicKey::from_jwk(&key)?;
            Some((key.kid, public))
        });
        Ok(Self(read.collect()))
    }

    pub(super) fn get(&self, id: &str) -> Option<&PublicKey> {
        self.0.get(id)
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl PublicKey {
    fn from_jwk(key: &Jwk) -> Option<Self> {
        if key.usage.as_deref().is_some_and(|usage| usage != "sig") {
            return None;
        }
        let bytes = |field: &Option<String>| URL_SAFE_NO_PAD.decode(field.as_deref()?).ok();
        match (key.kty.as_str(), key.alg.as_deref()) {
            ("RSA", None | Some("RS256")) => {
                Some(Self::Rsa { modulus: bytes(&key.n)?, exponent: bytes(&key.e)? })
            }
            ("EC", None | Some("ES256")) if key.crv.as_deref() == Some("P-256") => {
                let (x, y) = (bytes(&key.x)?, bytes(&key.y)?);
                // Uncompressed point: the byte 4, then both coordinates at full length.
                (x.len() == 32 && y.len() == 32)
                    .then(|| Self::P256 { point: [&[4], &x[..], &y[..]].concat() })
            }
            _ => None,
        }
    }

    /// Verifies `signature` over `message` with this key. The token's algorithm must fit the key type, so that a key
    /// of one type never verifies as another.
    ///
    /// # Errors
    /// `Algorithm` or `Signature`.
    pub(super) fn verify(
        &self,
        algorithm: Algorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), EntraError> {
        let verified = match (self, algorithm) {
            (Self::Rsa { modulus, exponent }, Algorithm::Rs256) => {
                RsaPublicKeyComponents { n: modulus, e: exponent }.verify(
                    &RSA_PKCS1_2048_8192_SHA256,
                    message,
                    signature,
                )
            }
            (Self::P256 { point }, Algorithm::Es256) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature)
            }
            _ => return Err(EntraError::Algorithm),
        };
        verified.map_err(|_| EntraError::Signature)
    }
}
