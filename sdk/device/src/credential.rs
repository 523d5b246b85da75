//! How the device authenticates: with tokens that it signs, with tokens of the application, or with a certificate.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use ferrohub_model::sas::{self, SasToken};
use ferrohub_model::{SharedAccessKey, Timestamp};
use tokio::time::timeout;

use crate::error::{BoxError, Error, ErrorKind};

/// A token, and when it expires.
#[derive(Clone)]
#[non_exhaustive]
pub struct AccessToken {
    /// The token, as it is sent to the hub.
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

    /// A SAS token, `SharedAccessSignature sr=…&sig=…&se=…`, which contains its expiry.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] if the text is not a SAS token. The error does not repeat the text.
    pub fn from_sas_token(token: impl Into<String>) -> Result<Self, Error> {
        let token = token.into();
        let expiry = SasToken::parse(&token)
            .map_err(|error| Error::invalid_input("the text is not a SAS token").with_source(error))?
            .expiry();
        Ok(Self { token, expiry })
    }
}

/// Without the token.
impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessToken").field("expiry", &self.expiry).finish_non_exhaustive()
    }
}

/// A source of tokens, such as a security module. [`token_fn`] makes one of a closure.
///
/// The client asks for a token for each connection and before a token expires. It waits for it up to
/// [`connect_timeout`](crate::Builder::connect_timeout).
#[async_trait]
pub trait TokenCredential: Send + Sync {
    /// Returns a token for all of `scopes`. The device SDK asks with one scope: the resource that the token must cover,
    /// `{host}/devices/{device}` or `{host}/devices/{device}/modules/{module}`.
    ///
    /// # Errors
    /// Any error. Its text must not contain a secret. The first connect reports it as [`ErrorKind::Credential`], or a
    /// token that takes longer than the time limit as [`ErrorKind::Timeout`]; after that the client tries again.
    async fn token(&self, scopes: &[&str]) -> Result<AccessToken, BoxError>;
}

/// Makes a [`TokenCredential`] of a function that returns a token.
///
/// ```
/// # use ferrohub_device::{AccessToken, BoxError, DeviceClient, token_fn};
/// # async fn token_from_vault() -> Result<String, std::io::Error> { unimplemented!() }
/// let credential =
///     token_fn(|| async { Ok::<_, BoxError>(AccessToken::from_sas_token(token_from_vault().await?)?) });
/// let builder = DeviceClient::builder("hub.example.com", "pump-1").token_credential(credential);
/// ```
pub fn token_fn<F, Fut, E>(function: F) -> impl TokenCredential
where
    F: Fn() -> Fut + Send + Sync,
    Fut: Future<Output = Result<AccessToken, E>> + Send,
    E: Into<BoxError>,
{
    TokenFn(function)
}

struct TokenFn<F>(F);

#[async_trait]
impl<F, Fut, E> TokenCredential for TokenFn<F>
where
    F: Fn() -> Fut + Send + Sync,
    Fut: Future<Output = Result<AccessToken, E>> + Send,
    E: Into<BoxError>,
{
    async fn token(&self, _scopes: &[&str]) -> Result<AccessToken, BoxError> {
        (self.0)().await.map_err(Into::into)
    }
}

#[derive(Clone)]
pub(crate) enum Credential {
    /// Signs a token for each connection.
    Key { key: SharedAccessKey, ttl: Duration },
    /// A fixed token, which cannot be renewed.
    Token(String),
    /// Is asked for a token for each connection.
    Custom(Arc<dyn TokenCredential>),
    /// The certificate is part of the TLS handshake; there is no token.
    Certificate,
}

/// A token and its remaining lifetime.
#[derive(Clone)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) lifetime: Duration,
}

impl Credential {
    /// Returns the token for a new connection; `None` with a certificate. `resource` is `{host}/devices/{id}…`.
    pub(crate) async fn token(&self, resource: &str, time_limit: Duration) -> Result<Option<Token>, Error> {
        let now = Timestamp::from(SystemTime::now());
        let token = match self {
            Self::Certificate => return Ok(None),
            Self::Key { key, ttl } => {
                let expiry = now.plus_millis(i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX));
                // A SAS token expires at a whole second, so its own expiry counts.
                AccessToken::from_sas_token(sas::sign(resource, key, None, expiry))?
            }
            Self::Token(text) => AccessToken::from_sas_token(text)?,
            Self::Custom(credential) => timeout(time_limit, credential.token(&[resource]))
                .await
                .map_err(|_| {
                    let message = format!("the credential gave no token within {time_limit:?}");
                    Error::new(ErrorKind::Timeout, message)
                })?
                .map_err(|error| {
                    let message = format!("the credential gave no token: {error}");
                    Error::new(ErrorKind::Credential, message).with_source(error)
                })?,
        };
        Token::new(token, Timestamp::from(SystemTime::now())).map(Some)
    }

    /// Returns whether a new token can be obtained before the old one expires.
    pub(crate) fn is_renewable(&self) -> bool {
        matches!(self, Self::Key { .. } | Self::Custom(_))
    }
}

impl Token {
    fn new(token: AccessToken, now: Timestamp) -> Result<Self, Error> {
        let lifetime = token.expiry.unix_millis().saturating_sub(now.unix_millis());
        let lifetime = Duration::from_millis(u64::try_from(lifetime).unwrap_or(0));
        if lifetime.is_zero() {
            return Err(Error::new(ErrorKind::Unauthorized, "the token has expired"));
        }
        Ok(Self { text: token.token, lifetime })
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key { .. } => "Key",
            Self::Token(_) => "Token",
            Self::Custom(_) => "Custom",
            Self::Certificate => "Certificate",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn key() -> SharedAccessKey {
        SharedAccessKey::from_bytes(&[7; 32]).unwrap()
    }

    fn credential<Fut>(function: impl Fn() -> Fut + Send + Sync + 'static) -> Credential
    where
        Fut: Future<Output = Result<AccessToken, &'static str>> + Send + 'static,
    {
        Credential::Custom(Arc::new(token_fn(function)))
    }

    #[tokio::test]
    async fn a_key_signs_for_the_device_with_the_configured_lifetime() {
        let credential = Credential::Key { key: key(), ttl: Duration::from_secs(60) };
        let before = Timestamp::from(SystemTime::now());
        let token = credential.token("hub/devices/d", SECOND).await.unwrap().unwrap();
        let parsed = SasToken::parse(&token.text).unwrap();
        assert!(
            parsed.is_signed_by(&key()) && parsed.resource().unwrap().identity().unwrap().as_str() == "d"
        );
        assert!((58..=60).contains(&token.lifetime.as_secs()), "{:?}", token.lifetime);
        // The expiry in the token is a whole second: the lifetime must not be longer.
        let until_expiry = parsed.expiry().unix_millis() - before.unix_millis();
        assert!(i64::try_from(token.lifetime.as_millis()).unwrap() <= until_expiry);
    }

    #[tokio::test]
    async fn an_expired_token_is_not_sent() {
        let expired = sas::sign("hub/devices/d", &key(), None, Timestamp::from_unix_seconds(1));
        let error = Credential::Token(expired).token("hub/devices/d", SECOND).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Unauthorized);
        let error = Credential::Token("x".into()).token("hub/devices/d", SECOND).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let old = credential(async || Ok(AccessToken::new("t", Timestamp::from_unix_seconds(1))));
        assert_eq!(old.token("r", SECOND).await.err().unwrap().kind(), ErrorKind::Unauthorized);
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_credential_may_fail_but_not_hang() {
        let fails = credential(async || Err("no vault"));
        let error = fails.token("r", SECOND).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Credential);
        assert_eq!(error.to_string(), "the credential gave no token: no vault");
        let hangs = credential(std::future::pending);
        assert_eq!(hangs.token("r", SECOND).await.err().unwrap().kind(), ErrorKind::Timeout);
    }
}
