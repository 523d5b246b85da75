//! The value of the `Authorization` header.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use ferrohub_model::{SharedAccessKey, Timestamp, sas};
use http::HeaderValue;
use tokio::time::timeout;

use crate::{Error, ErrorKind, TokenCredential};

/// The scope of tokens for any IoT hub.
const SCOPE: &str = "https://iothubs.azure.net/.default";
/// The lifetime of a signed token.
const TOKEN_TTL: Duration = Duration::from_secs(3600);
/// The age at which a signed token is replaced: three quarters of its lifetime.
const RENEW_AFTER: Duration = Duration::from_secs(2700);

/// How the client authenticates.
pub(crate) enum Authorization {
    /// With the key of a shared access policy.
    SharedAccess(SharedAccess),
    /// With tokens of a credential.
    Token(Arc<dyn TokenCredential>),
}

pub(crate) struct SharedAccess {
    resource: String,
    policy: String,
    key: SharedAccessKey,
    cached: Mutex<Option<(SystemTime, HeaderValue)>>,
}

impl Authorization {
    /// Signs tokens for the hub `host` (without port) with the key of a policy.
    pub(crate) fn shared_access(host: String, policy: String, key: SharedAccessKey) -> Self {
        Self::SharedAccess(SharedAccess { resource: host, policy, key, cached: Mutex::default() })
    }

    /// Returns the header value for a request that is sent now. A credential must return a token within `time_limit`.
    pub(crate) async fn header(&self, time_limit: Duration) -> Result<HeaderValue, Error> {
        match self {
            Self::SharedAccess(shared_access) => shared_access.header(SystemTime::now()),
            Self::Token(credential) => {
                let token = timeout(time_limit, credential.token(&[SCOPE]))
                    .await
                    .map_err(|_| {
                        let message = format!("the credential gave no token within {time_limit:?}");
                        Error::new(ErrorKind::Timeout, message)
                    })?
                    .map_err(|error| {
                        let message = format!("the credential gave no token: {error}");
                        Error::new(ErrorKind::Credential, message).with_source(error)
                    })?;
                sensitive_header(&format!("Bearer {}", token.token))
            }
        }
    }
}

#[cfg(test)]
impl Authorization {
    pub(crate) fn resource(&self) -> Option<&str> {
        match self {
            Self::SharedAccess(shared_access) => Some(&shared_access.resource),
            Self::Token(_) => None,
        }
    }
}

impl SharedAccess {
    fn header(&self, now: SystemTime) -> Result<HeaderValue, Error> {
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, value)) = &*cached
            // If the clock was set back, a new token is signed, too.
            && now.duration_since(*at).is_ok_and(|age| age < RENEW_AFTER)
        {
            return Ok(value.clone());
        }
        let expiry = Timestamp::from_unix_seconds(Timestamp::from(now + TOKEN_TTL).unix_seconds());
        let token = sas::sign(&self.resource, &self.key, Some(&self.policy), expiry);
        let value = sensitive_header(&token)?;
        *cached = Some((now, value.clone()));
        Ok(value)
    }
}

fn sensitive_header(text: &str) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::from_str(text).map_err(|_| {
        Error::new(ErrorKind::Credential, "the token contains characters that an HTTP header cannot carry")
    })?;
    value.set_sensitive(true);
    Ok(value)
}

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SharedAccess(shared_access) => {
                f.debug_tuple("SharedAccess").field(&shared_access.policy).finish()
            }
            Self::Token(_) => f.write_str("Token"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use async_trait::async_trait;
    use ferrohub_model::sas::SasToken;

    use super::*;
    use crate::{AccessToken, BoxError};

    #[test]
    fn a_signed_token_is_reused_for_three_quarters_of_its_lifetime() {
        let key = SharedAccessKey::from_bytes(&[7; 32]).unwrap();
        let Authorization::SharedAccess(shared_access) =
            Authorization::shared_access("hub.example".to_owned(), "service".to_owned(), key.clone())
        else {
            unreachable!()
        };
        let start = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let first = shared_access.header(start).unwrap();
        assert!(first.is_sensitive());
        let token = SasToken::parse(first.to_str().unwrap()).unwrap();
        assert!(token.is_signed_by(&key));
        assert_eq!(token.policy(), Some("service"));
        assert_eq!(token.expiry(), Timestamp::from_unix_millis(1_800_003_600_000));
        assert!(token.resource().unwrap().is_hub() && token.resource().unwrap().is_on_host("hub.example"));
        assert_eq!(shared_access.header(start + Duration::from_secs(2699)).unwrap(), first);
        assert_ne!(shared_access.header(start + RENEW_AFTER).unwrap(), first);
        assert_eq!(shared_access.header(start).unwrap(), first, "the clock was set back");
    }

    /// Fails, or never returns.
    struct Broken(bool);

    #[async_trait]
    impl TokenCredential for Broken {
        async fn token(&self, _: &[&str]) -> Result<AccessToken, BoxError> {
            if self.0 { Err("no vault".into()) } else { std::future::pending().await }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_credential_may_fail_but_not_hang() {
        let header = async |fails| {
            let authorization = Authorization::Token(Arc::new(Broken(fails)));
            authorization.header(Duration::from_secs(1)).await.unwrap_err()
        };
        let failed = header(true).await;
        assert_eq!(failed.kind(), ErrorKind::Credential);
        assert_eq!(failed.to_string(), "the credential gave no token: no vault");
        assert_eq!(header(false).await.kind(), ErrorKind::Timeout);
    }
}
