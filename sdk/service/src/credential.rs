//! Token credentials, such as those of Microsoft Entra.

mod client_secret;

use std::fmt;

use async_trait::async_trait;
use ferrohub_model::Timestamp;

use crate::BoxError;

pub use client_secret::ClientSecretCredential;

/// A token, and when it expires.
#[derive(Clone)]
#[non_exhaustive]
pub struct AccessToken {
    /// The token, which is sent as `Bearer`.
    pub token: String,
    /// When it expires.
    pub expiry: Timestamp,
}

impl AccessToken {
    /// A token with this expiry.
    #[must_use]
    pub fn new(token: impl Into<String>, expiry: impl Into<Timestamp>) -> Self {
        Self { token: token.into(), expiry: expiry.into() }
    }
}

/// Without the token.
impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessToken").field("expiry", &self.expiry).finish_non_exhaustive()
    }
}

/// A source of tokens. Implement it for a credential of your own. The device SDK has its own trait of this name.
///
/// The client asks before each request, so an implementation should cache a token until it expires. The client waits
/// for it up to [`connect_timeout`](crate::Builder::connect_timeout).
#[async_trait]
pub trait TokenCredential: Send + Sync {
    /// Returns a token for all of `scopes`. The service SDK asks with one scope: `https://iothubs.azure.net/.default`.
    ///
    /// # Errors
    /// Any error. Its text must not contain a secret. The request fails with
    /// [`ErrorKind::Credential`](crate::ErrorKind::Credential). A token that takes longer than the connect time-out is
    /// [`ErrorKind::Timeout`](crate::ErrorKind::Timeout).
    async fn token(&self, scopes: &[&str]) -> Result<AccessToken, BoxError>;
}
