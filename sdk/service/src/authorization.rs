//! What goes into the `Authorization` header.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ferrohub_model::{SharedAccessKey, Timestamp, sas};
use http::HeaderValue;

use crate::{Error, ErrorKind, TokenCredential};

/// The scope of tokens for any IoT hub.
const SCOPE: &str = "https://iothubs.azure.net/.default";
/// How long a signature of ours is good.
const TOKEN_TTL: Duration = Duration::from_secs(3600);
/// It is made anew after three quarters of that.
const RENEW_AFTER: Duration = Duration::from_secs(2700);

/// How the client proves who it is.
pub(crate) enum Authorization {
    /// With the key of a shared access policy.
    SharedAccess(SharedAccess),
    /// With tokens that somebody else issues.
    Token(Arc<dyn TokenCredential>),
}

pub(crate) struct SharedAccess {
    resource: String,
    policy: String,
    key: SharedAccessKey,
    cached: Mutex<Option<(SystemTime, HeaderValue)>>,
}

impl Authorization {
    /// Signs for the hub `host` (no port) with a policy's key.
    pub(crate) fn shared_access(host: &str, policy: String, key: SharedAccessKey) -> Self {
        Self::SharedAccess(SharedAccess { resource: host.to_owned(), policy, key, cached: Mutex::default() })
    }

    /// The header's value for a request that is sent now.
    pub(crate) async fn header(&self) -> Result<HeaderValue, Error> {
        match self {
            Self::SharedAccess(shared_access) => shared_access.header(SystemTime::now()),
            Self::Token(credential) => {
                let token = credential.token(&[SCOPE]).await?;
                sensitive_header(&format!("Bearer {}", token.token))
            }
        }
    }
}

impl SharedAccess {
    fn header(&self, now: SystemTime) -> Result<HeaderValue, Error> {
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, value)) = &*cached
            // A clock that went back makes a new one, too.
            && now.duration_since(*at).is_ok_and(|age| age < RENEW_AFTER)
        {
            return Ok(value.clone());
        }
        let ends = (now + TOKEN_TTL).duration_since(UNIX_EPOCH).unwrap_or_default();
        let expiry =
            Timestamp::from_unix_millis(i64::try_from(ends.as_secs()).unwrap_or(i64::MAX / 1000) * 1000);
        let token = sas::sign(&self.resource, &self.key, Some(&self.policy), expiry);
        let value = sensitive_header(&token)?;
        *cached = Some((now, value.clone()));
        Ok(value)
    }
}

fn sensitive_header(text: &str) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| Error::new(ErrorKind::Credential, "the token cannot stand in a header"))?;
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
    use super::*;
    use ferrohub_model::sas::SasToken;

    #[test]
    fn a_signature_is_kept_for_three_quarters_of_its_life() {
        let key = SharedAccessKey::from_bytes(&[7; 32]).unwrap();
        let Authorization::SharedAccess(shared_access) =
            Authorization::shared_access("hub.example", "service".to_owned(), key.clone())
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
        assert_eq!(shared_access.header(start).unwrap(), first, "the clock went back");
    }
}
