//! Bearer tokens of Microsoft Entra, or of another OpenID Connect issuer that the operator trusts.
//!
//! A token is a JSON Web Token. Its issuer must be a trusted one, and its signature must verify with a key of that
//! issuer before any other claim is used. Then audience, validity period and tenant are checked, and the roles are
//! mapped to the data actions that the bearer may perform.

mod jwk;
mod jwt;
mod key_cache;
mod roles;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use ferrohub_model::Timestamp;
use serde::Deserialize;

pub use jwk::{InvalidKeySet, KeySet};
use jwt::UnverifiedToken;
use key_cache::KeyCache;
pub(crate) use roles::grants;
pub use roles::{Role, UnknownRole};

/// The audience of tokens for any IoT hub.
pub const AUDIENCE: &str = "https://iothubs.azure.net";

/// A source of issuers' signing keys. The hub caches the keys and fetches them rarely.
#[async_trait]
pub trait KeySource: Send + Sync + std::fmt::Debug + 'static {
    /// Fetches the current signing keys of `issuer`.
    async fn keys(&self, issuer: &str) -> Result<KeySet, KeySourceError>;
}

/// Why the keys of an issuer could not be fetched.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct KeySourceError(pub String);

/// A trusted token issuer.
#[derive(Debug, Clone)]
pub struct Issuer {
    /// The exact value of the claim `iss`.
    pub issuer: String,
    /// The required value of the claim `tid`; `None` accepts any tenant.
    pub tenant: Option<String>,
}

/// Settings for Entra tokens.
#[derive(Debug, Clone, Default)]
pub struct EntraSettings {
    /// The trusted issuers.
    pub issuers: Vec<Issuer>,
    /// Accepted audiences besides [`AUDIENCE`].
    pub audiences: Vec<String>,
    /// Role assignments in addition to the roles in tokens: the principal's `oid`, `appid`, `azp` or `sub`, and the
    /// role.
    pub assignments: Vec<(String, Role)>,
}

/// Verifies Entra tokens.
#[derive(Debug)]
pub struct EntraTokenVerifier {
    issuers: Vec<(Issuer, KeyCache)>,
    audiences: Vec<String>,
    assignments: Vec<(String, Role)>,
}

/// Why a token is not accepted. The messages never contain text from the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EntraError {
    /// The token cannot be parsed.
    #[error("the token is malformed")]
    Malformed,
    /// The algorithm is not RS256 or ES256, or does not fit the key.
    #[error("the token's signature algorithm is not accepted")]
    Algorithm,
    /// The issuer is not a trusted one.
    #[error("the token's issuer is not trusted")]
    Issuer,
    /// The key id is not among the known keys of the issuer.
    #[error("the token's signing key is unknown")]
    UnknownKey,
    /// The signing keys of the issuer cannot be fetched.
    #[error("the signing keys of the issuer cannot be fetched")]
    KeysUnavailable,
    /// The signature does not verify with the key that the token names.
    #[error("the token's signature does not match")]
    Signature,
    /// The audience is not this hub.
    #[error("the token is for another audience")]
    Audience,
    /// The token has expired.
    #[error("the token has expired")]
    Expired,
    /// The token is not valid yet (`nbf`).
    #[error("the token is not valid yet")]
    NotYetValid,
    /// The token belongs to another tenant.
    #[error("the token belongs to another tenant")]
    Tenant,
}

impl EntraError {
    /// Returns a fixed word for metrics.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Algorithm => "jwt_algorithm",
            Self::Issuer => "jwt_issuer",
            Self::UnknownKey => "jwt_unknown_key",
            Self::KeysUnavailable => "jwt_keys_unavailable",
            Self::Signature => "jwt_signature",
            Self::Audience => "jwt_audience",
            Self::Expired => "expired",
            Self::NotYetValid => "jwt_not_yet_valid",
            Self::Tenant => "jwt_tenant",
        }
    }
}

/// The principal of a verified token, and its data action patterns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EntraPrincipal {
    pub(crate) subject: String,
    pub(crate) actions: Vec<&'static str>,
    /// The expiry of the token.
    pub(crate) expires: Timestamp,
}

/// The claims that the hub uses. Numbers are seconds since 1970; some issuers write fractions.
#[derive(Deserialize)]
struct Claims {
    aud: Audiences,
    exp: f64,
    #[serde(default)]
    nbf: f64,
    #[serde(default)]
    tid: Option<String>,
    #[serde(default)]
    oid: Option<String>,
    #[serde(default)]
    sub: Option<String>,
    #[serde(default)]
    appid: Option<String>,
    #[serde(default)]
    azp: Option<String>,
    #[serde(default)]
    roles: Vec<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audiences {
    One(String),
    Many(Vec<String>),
}

impl EntraTokenVerifier {
    /// Creates a verifier for these settings that fetches the issuers' keys from `source`.
    pub fn new(settings: EntraSettings, source: Arc<dyn KeySource>) -> Self {
        let mut audiences = settings.audiences;
        audiences.push(AUDIENCE.to_owned());
        let keys = |issuer: Issuer| {
            let keys = KeyCache::new(issuer.issuer.clone(), source.clone());
            (issuer, keys)
        };
        Self {
            issuers: settings.issuers.into_iter().map(keys).collect(),
            audiences,
            assignments: settings.assignments,
        }
    }

    /// Verifies a token and returns its principal.
    pub(crate) async fn verify(&self, token: &str, now: Timestamp) -> Result<EntraPrincipal, EntraError> {
        let unverified = UnverifiedToken::parse(token)?;
        let (issuer, keys) = self
            .issuers
            .iter()
            .find(|(issuer, _)| issuer.issuer == unverified.issuer())
            .ok_or(EntraError::Issuer)?;
        let key = keys.get(unverified.key_id()).await?;
        let claims: Claims = unverified.verify(&key)?;
        self.check(issuer, &claims, now)?;
        Ok(self.principal(claims))
    }

    fn check(&self, issuer: &Issuer, claims: &Claims, now: Timestamp) -> Result<(), EntraError> {
        let is_accepted = |audience: &String| {
            let audience = audience.strip_suffix('/').unwrap_or(audience);
            self.audiences.iter().any(|known| known.strip_suffix('/').unwrap_or(known) == audience)
        };
        let audience_accepted = match &claims.aud {
            Audiences::One(audience) => is_accepted(audience),
            Audiences::Many(audiences) => audiences.iter().any(is_accepted),
        };
        if !audience_accepted {
            return Err(EntraError::Audience);
        }
        let now = now.unix_millis() as f64 / 1000.0;
        if claims.exp <= now {
            return Err(EntraError::Expired);
        }
        if claims.nbf > now {
            return Err(EntraError::NotYetValid);
        }
        if issuer.tenant.is_some() && issuer.tenant != claims.tid {
            return Err(EntraError::Tenant);
        }
        Ok(())
    }

    fn principal(&self, claims: Claims) -> EntraPrincipal {
        let names = [&claims.oid, &claims.appid, &claims.azp, &claims.sub];
        let assigned = self
            .assignments
            .iter()
            .filter(|(principal, _)| names.into_iter().flatten().any(|name| name == principal))
            .map(|(_, role)| *role);
        let claimed = claims.roles.iter().filter_map(|name| name.parse().ok());
        let mut actions: Vec<&'static str> =
            claimed.chain(assigned).flat_map(|role: Role| role.data_actions().iter().copied()).collect();
        actions.sort_unstable();
        actions.dedup();
        let subject = claims.oid.or(claims.sub).or(claims.appid).unwrap_or_default();
        // A float that is out of range becomes the largest or smallest integer.
        let expires = Timestamp::from_unix_millis((claims.exp * 1000.0) as i64);
        EntraPrincipal { subject, actions, expires }
    }
}
