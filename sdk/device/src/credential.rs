//! How the device proves itself: tokens it signs, tokens it is given, or its certificate.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ferrohub_model::sas::{self, SasToken};
use ferrohub_model::{SharedAccessKey, Timestamp};
use tokio::time::timeout;

use crate::error::{BoxError, Error, ErrorKind};

type TokenFuture = Pin<Box<dyn Future<Output = Result<String, BoxError>> + Send>>;
pub(crate) type TokenProvider = Arc<dyn Fn() -> TokenFuture + Send + Sync>;

#[derive(Clone)]
pub(crate) enum Credential {
    /// Signs a token for every connection.
    Key { key: SharedAccessKey, ttl: Duration },
    /// A token that somebody signed once; when it runs out, that is the end.
    Token(String),
    /// Asked for a token for every connection.
    Provider(TokenProvider),
    /// The certificate is in the TLS handshake; there is no token.
    Certificate,
}

/// A token, and for how long it is good.
#[derive(Clone)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) lifetime: Duration,
}

impl Credential {
    /// The token for a connection that begins now; none where the certificate speaks. `resource` is
    /// `{host}/devices/{id}…`.
    pub(crate) async fn token(&self, resource: &str, patience: Duration) -> Result<Option<Token>, Error> {
        let text = match self {
            Self::Certificate => return Ok(None),
            Self::Key { key, ttl } => {
                let millis = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
                sas::sign(resource, key, None, now().plus_millis(millis))
            }
            Self::Token(text) => text.clone(),
            Self::Provider(provider) => timeout(patience, provider())
                .await
                .map_err(|_| Error::new(ErrorKind::Timeout, "the token provider gave no token in time"))?
                .map_err(|error| {
                    Error::caused(ErrorKind::TokenProvider, "the token provider failed", error)
                })?,
        };
        Token::new(text, now()).map(Some)
    }

    /// Whether another token can be had before the first runs out.
    pub(crate) fn is_renewable(&self) -> bool {
        matches!(self, Self::Key { .. } | Self::Provider(_))
    }
}

impl Token {
    fn new(text: String, now: Timestamp) -> Result<Self, Error> {
        let token = SasToken::parse(&text).map_err(|error| {
            Error::caused(ErrorKind::InvalidArgument, "the SAS token cannot be read", error)
        })?;
        let lifetime = token.expiry().unix_millis().saturating_sub(now.unix_millis());
        let lifetime = Duration::from_millis(u64::try_from(lifetime).unwrap_or(0));
        if lifetime.is_zero() {
            return Err(Error::new(ErrorKind::Unauthorized, "the SAS token has expired"));
        }
        Ok(Self { text, lifetime })
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key { .. } => "Key",
            Self::Token(_) => "Token",
            Self::Provider(_) => "Provider",
            Self::Certificate => "Certificate",
        })
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn key() -> SharedAccessKey {
        SharedAccessKey::from_bytes(&[7; 32]).unwrap()
    }

    #[tokio::test]
    async fn a_key_signs_for_the_device_and_the_time_it_was_told() {
        let credential = Credential::Key { key: key(), ttl: Duration::from_secs(60) };
        let token = credential.token("hub/devices/d", SECOND).await.unwrap().unwrap();
        let parsed = SasToken::parse(&token.text).unwrap();
        assert!(parsed.is_signed_by(&key()) && parsed.resource().unwrap().identity().unwrap().as_str() == "d");
        assert!((58..=60).contains(&token.lifetime.as_secs()), "{:?}", token.lifetime);
    }

    #[tokio::test]
    async fn an_expired_token_is_not_even_sent() {
        let expired = sas::sign("hub/devices/d", &key(), None, Timestamp::from_unix_seconds(1));
        let error = Credential::Token(expired).token("hub/devices/d", SECOND).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Unauthorized);
        let error = Credential::Token("x".into()).token("hub/devices/d", SECOND).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    }

    #[tokio::test(start_paused = true)]
    async fn a_provider_may_fail_and_may_not_hang() {
        let fails = Credential::Provider(Arc::new(|| Box::pin(async { Err("no vault".into()) })));
        assert_eq!(fails.token("r", SECOND).await.err().unwrap().kind(), ErrorKind::TokenProvider);
        let hangs = Credential::Provider(Arc::new(|| Box::pin(std::future::pending())));
        assert_eq!(hangs.token("r", SECOND).await.err().unwrap().kind(), ErrorKind::Timeout);
    }
}
