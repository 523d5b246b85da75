//! Bearer tokens of Microsoft Entra, or of another OpenID Connect issuer that the operator trusts.
//!
//! A token is a JSON Web Token. Nothing in it is believed before its signature is verified with a key of the
//! issuer it names, and that issuer must be one of ours. Then audience, times and tenant are held against what
//! is expected, and its roles become the data actions that its bearer may do.

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

/// Where the keys of issuers come from. The hub asks rarely and keeps what it gets.
#[async_trait]
pub trait KeySource: Send + Sync + std::fmt::Debug + 'static {
    /// The keys that `issuer` signs with now.
    async fn keys(&self, issuer: &str) -> Result<KeySet, KeySourceError>;
}

/// Why the keys of an issuer could not be had.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct KeySourceError(pub String);

/// Somebody whose tokens are accepted.
#[derive(Debug, Clone)]
pub struct Issuer {
    /// The claim `iss`, exactly.
    pub issuer: String,
    /// What the claim `tid` must be, if anything.
    pub tenant: Option<String>,
}

/// What the operator trusts.
#[derive(Debug, Clone, Default)]
pub struct EntraSettings {
    /// Whose tokens are accepted.
    pub issuers: Vec<Issuer>,
    /// For whom they may be made out, besides [`AUDIENCE`].
    pub audiences: Vec<String>,
    /// Roles of principals whose tokens do not name any: `oid`, `appid`, `azp` or `sub`, and the role.
    pub assignments: Vec<(String, Role)>,
}

/// Verifies tokens.
#[derive(Debug)]
pub struct Entra {
    issuers: Vec<(Issuer, KeyCache)>,
    audiences: Vec<String>,
    assignments: Vec<(String, Role)>,
}

/// Why a token is not accepted. Never repeats what the token says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EntraError {
    /// It is not a token that this hub can read.
    #[error("the token is malformed")]
    Malformed,
    /// Its algorithm is not RS256 or ES256.
    #[error("the token's algorithm is not accepted")]
    Algorithm,
    /// Nobody we trust issued it.
    #[error("the token's issuer is not trusted")]
    Issuer,
    /// Its key is not one of the issuer's, as far as is known.
    #[error("the token's key is not known")]
    UnknownKey,
    /// The issuer's keys cannot be had.
    #[error("the issuer's keys cannot be had")]
    KeysUnavailable,
    /// It was not signed with the key it names, or was changed.
    #[error("the token's signature is wrong")]
    Signature,
    /// It is made out for somebody else.
    #[error("the token is for another audience")]
    Audience,
    /// It has ended.
    #[error("the token has expired")]
    Expired,
    /// It is not good yet.
    #[error("the token is not good yet")]
    NotYetValid,
    /// It is of another tenant.
    #[error("the token is of another tenant")]
    Tenant,
}

impl EntraError {
    /// A fixed word for metrics.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Algorithm => "jwt_algorithm",
            Self::Issuer => "jwt_issuer",
            Self::UnknownKey => "jwt_unknown_key",
            Self::KeysUnavailable => "jwt_keys_unavailable",
            Self::Signature => "bad_signature",
            Self::Audience => "jwt_audience",
            Self::Expired => "expired",
            Self::NotYetValid => "jwt_not_yet_valid",
            Self::Tenant => "jwt_tenant",
        }
    }
}

/// Who a token is for and what its bearer may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EntraPrincipal {
    pub(crate) subject: String,
    pub(crate) actions: Vec<&'static str>,
}

/// The claims that count. Numbers are seconds since 1970; some issuers write fractions.
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

impl Entra {
    /// Accepts the tokens of these issuers, with keys from `source`.
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

    /// Verifies a token and finds what its bearer may do.
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
        let good = |audience: &String| {
            let audience = audience.strip_suffix('/').unwrap_or(audience);
            self.audiences.iter().any(|known| known.strip_suffix('/').unwrap_or(known) == audience)
        };
        let for_us = match &claims.aud {
            Audiences::One(audience) => good(audience),
            Audiences::Many(audiences) => audiences.iter().any(good),
        };
        if !for_us {
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
        EntraPrincipal { subject, actions }
    }
}
