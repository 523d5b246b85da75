//! A JSON Web Token in compact form: header, claims and signature in base64url, separated by dots.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::EntraError;
use super::jwk::PublicKey;

/// Maximum token length in bytes. Real tokens have 1 to 4 KiB.
const MAX_LENGTH: usize = 16 * 1024;

/// The accepted algorithms. `none` and symmetric algorithms are not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    Rs256,
    Es256,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: String,
    /// Critical extensions. The hub supports none, so a token with this header is refused.
    crit: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct IssuerClaim {
    iss: String,
}

/// A parsed token whose signature is not verified yet.
pub(super) struct UnverifiedToken<'a> {
    /// The signed part: header and claims as sent.
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

    /// Returns the claimed issuer. Unverified: use it only to find the key.
    pub(super) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Returns the id of the key that the token claims to be signed with.
    pub(super) fn key_id(&self) -> &str {
        &self.key_id
    }

    /// Verifies the signature with `key` and returns the claims.
    pub(super) fn verify<T: DeserializeOwned>(self, key: &PublicKey) -> Result<T, EntraError> {
        key.verify(self.algorithm, self.message.as_bytes(), &self.signature)?;
        serde_json::from_slice(&self.claims).map_err(|_| EntraError::Malformed)
    }
}
