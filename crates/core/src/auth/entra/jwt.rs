//! A JSON Web Token in its compact form: header, claims and signature in base64url, dots between them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::EntraError;
use super::jwk::PublicKey;

/// Longest token that is looked at. Real ones are one to four KiB.
const MAX_LENGTH: usize = 16 * 1024;

/// The algorithms that are accepted. There is no `none` and nothing symmetric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    Rs256,
    Es256,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: String,
    /// Extensions that must be understood. None are.
    crit: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct IssuerClaim {
    iss: String,
}

/// A token that was read and not believed.
pub(super) struct UnverifiedToken<'a> {
    /// What is signed.
    message: &'a str,
    algorithm: Algorithm,
    key_id: String,
    issuer: String,
    claims: Vec<u8>,
    signature: Vec<u8>,
}

impl<'a> UnverifiedToken<'a> {
    pub(super) fn parse(token: &'a str) -> Result<Self, EntraError> {
        if token.len() > MAX_LENGTH {
            return Err(EntraError::Malformed);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(EntraError::Malformed)?;
        let (header, claims) = message.split_once('.').ok_or(EntraError::Malformed)?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| EntraError::Malformed);
        let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| EntraError::Malformed)?;
        let algorithm = match header.alg.as_str() {
            "RS256" => Algorithm::Rs256,
            "ES256" => Algorithm::Es256,
            _ => return Err(EntraError::Algorithm),
        };
        if header.crit.is_some() {
            return Err(EntraError::Malformed);
        }
        let claims = decode(claims)?;
        let IssuerClaim { iss } = serde_json::from_slice(&claims).map_err(|_| EntraError::Malformed)?;
        let signature = decode(signature)?;
        Ok(Self { message, algorithm, key_id: header.kid, issuer: iss, claims, signature })
    }

    /// Who it says issued it: to find the key with, and for nothing else.
    pub(super) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The key it says it was signed with.
    pub(super) fn key_id(&self) -> &str {
        &self.key_id
    }

    /// The claims, once the signature is found to be by `key`.
    pub(super) fn verify<T: DeserializeOwned>(self, key: &PublicKey) -> Result<T, EntraError> {
        key.verify(self.algorithm, self.message.as_bytes(), &self.signature)?;
        serde_json::from_slice(&self.claims).map_err(|_| EntraError::Malformed)
    }
}
