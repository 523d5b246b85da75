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

/// Maximum number of keys read from one set; the others are ignored. An issuer usually publishes fewer than ten.
const MAX_KEYS: usize = 64;

/// The text is not a JSON Web Key Set.
#[derive(Debug, thiserror::Error)]
#[error(
    "not a JSON Web Key Set: {0}; check the URL of the issuer's keys, jwks_uri in its \
     .well-known/openid-configuration"
)]
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
    /// Parses a key set. Skips a key that cannot sign tokens: its `use` is not `sig`, or the hub does not support its
    /// type or algorithm. The hub supports RSA with RS256, and EC on the curve P-256 with ES256.
    ///
    /// # Errors
    /// If the text is not a JSON object with an array `keys`.
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
                // `ring` reads a point in the uncompressed form of SEC 1: the byte 4, then both coordinates, with
                // leading zeros. 32 bytes is the full length for P-256.
                (x.len() == 32 && y.len() == 32)
                    .then(|| Self::P256 { point: [&[4], &x[..], &y[..]].concat() })
            }
            _ => None,
        }
    }

    /// Verifies the signature of a token. `message` is the signed part of the token, and `algorithm` is the one that
    /// the token names. The sender chooses that name, so it must be the algorithm of this key: RS256 for an RSA key,
    /// ES256 for a P-256 key.
    ///
    /// # Errors
    /// `Algorithm` if the algorithm is not that of the key, `Signature` if the signature does not match.
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
