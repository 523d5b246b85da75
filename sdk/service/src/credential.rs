//! Tokens of Microsoft Entra, or of whoever issues them for the hub.

mod client_secret;

use std::fmt;
use std::time::SystemTime;

use async_trait::async_trait;

use crate::Error;

pub use client_secret::ClientSecretCredential;

/// A bearer token and when it ends.
#[derive(Clone)]
pub struct AccessToken {
    /// What goes behind `Bearer`.
    pub token: String,
    /// When it ends.
    pub expires: SystemTime,
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessToken").field("expires", &self.expires).finish_non_exhaustive()
    }
}

/// Something that gets tokens. Implement it to bring a credential of your own.
///
/// The client asks before each request, so keep a token as long as it is good.
#[async_trait]
pub trait TokenCredential: Send + Sync {
    /// A token that is good for all of `scopes`.
    ///
    /// # Errors
    /// [`Error::credential`], with a text that holds no secret.
    async fn token(&self, scopes: &[&str]) -> Result<AccessToken, Error>;
}
