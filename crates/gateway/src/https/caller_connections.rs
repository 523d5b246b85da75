//! Limits the open HTTPS connections of each caller, so that one policy, principal or device cannot take all of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::{HeaderMap, HeaderValue, Uri, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ferrohub_model::sas::SasToken;
use ferrohub_model::{ErrorCode, HubError};
use serde::Deserialize;

use super::blobs::CONTAINER;
use super::error::registry_error;
use super::request::authorization;

/// Seconds after which a refused caller may retry.
const RETRY_AFTER: u64 = 5;

/// Counts the connections of each caller.
pub(super) struct CallerConnections {
    limit: usize,
    /// Contains only callers with open connections.
    open: Mutex<HashMap<String, usize>>,
}

/// Counts one connection until it is dropped.
pub(super) struct CallerPermit {
    connections: Arc<CallerConnections>,
    caller: String,
}

impl CallerConnections {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit: limit.max(1), open: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether the caller has the maximum number of connections.
    pub(super) fn is_full(&self, caller: &str) -> bool {
        self.lock().get(caller).is_some_and(|count| *count >= self.limit)
    }

    /// Counts a connection. `None` if the caller has the maximum number.
    pub(super) fn acquire(self: &Arc<Self>, caller: String) -> Option<CallerPermit> {
        let mut open = self.lock();
        let count = open.entry(caller.clone()).or_default();
        if *count >= self.limit {
            return None;
        }
        *count += 1;
        drop(open);
        Some(CallerPermit { connections: self.clone(), caller })
    }

    /// Returns the response for a caller that has the maximum number of connections.
    pub(super) fn refusal(&self) -> Response {
        let text = format!(
            "The caller has {} open HTTPS connections, the maximum (limits.https_connections_per_caller): use \
             connections again, or close idle ones.",
            self.limit
        );
        let error = registry_error(HubError::new(ErrorCode::ThrottlingException, text));
        let headers = [
            (header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER)),
            (header::CONNECTION, HeaderValue::from_static("close")),
        ];
        (headers, error).into_response()
    }
}

impl Drop for CallerPermit {
    fn drop(&mut self) {
        let mut open = self.connections.lock();
        if let Some(count) = open.get_mut(&self.caller) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.caller);
            }
        }
    }
}

/// The claims of an Entra token that name its principal.
#[derive(Deserialize)]
struct Claims {
    oid: Option<String>,
    sub: Option<String>,
}

/// Returns who sends the request: the policy or the principal of its token, or the device that its path names. Nothing
/// is verified here, so use it as the sender only if the request succeeds.
pub(super) fn claimed_caller(headers: &HeaderMap, uri: &Uri) -> Option<String> {
    let device = || device_in_path(uri.path()).map(|device| format!("device {device}"));
    let Some(authorization) = authorization(headers) else { return device() };
    if let Ok(token) = SasToken::parse(authorization) {
        if let Some(policy) = token.policy().filter(|policy| !policy.is_empty()) {
            return Some(format!("policy {policy}"));
        }
        let identity = token.resource().and_then(|resource| resource.identity());
        return identity.map(|identity| format!("device {}", identity.device_str())).or_else(device);
    }
    let (scheme, token) = authorization.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("Bearer") {
        return device();
    }
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Claims = serde_json::from_slice(&payload).ok()?;
    claims.oid.or(claims.sub).map(|principal| format!("principal {principal}"))
}

/// Returns the device in a path below `/devices/` or the blob endpoint, as it is encoded.
fn device_in_path(path: &str) -> Option<&str> {
    let path = path.strip_prefix('/')?;
    let rest = path.strip_prefix("devices/").or_else(|| path.strip_prefix(CONTAINER)?.strip_prefix('/'))?;
    rest.split('/').next().filter(|device| !device.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_has_a_limited_number_of_connections_and_leaves_no_entry() {
        let connections = CallerConnections::new(2);
        let acquire = |caller: &str| connections.acquire(caller.to_owned());
        let (first, second) = (acquire("a"), acquire("a"));
        assert!(first.is_some() && second.is_some() && connections.is_full("a"));
        assert!(acquire("a").is_none());
        let other = acquire("b");
        assert!(other.is_some() && !connections.is_full("b"));
        drop(first);
        assert!(!connections.is_full("a"));
        drop((second, other));
        assert!(connections.lock().is_empty());
    }

    #[test]
    fn the_caller_is_the_policy_the_principal_or_the_device() {
        let caller = |authorization: Option<&str>, path: &str| {
            let headers = authorization
                .map(|text| (header::AUTHORIZATION, HeaderValue::from_str(text).unwrap()))
                .into_iter()
                .collect();
            claimed_caller(&headers, &path.parse().unwrap())
        };
        let sas = |rest: &str| format!("SharedAccessSignature sig=AAAA&se=1&{rest}");
        let bearer = format!("Bearer h.{}.s", URL_SAFE_NO_PAD.encode(r#"{"oid":"o","sub":"s"}"#));
        for (authorization, path, expected) in [
            (Some(sas("sr=hub&skn=owner")), "/devices/d", Some("policy owner")),
            (Some(sas("sr=hub%2Fdevices%2Fd")), "/devices/d/messages/events", Some("device d")),
            (Some(sas("sr=hub%2Fdevices%2Fd&skn=")), "/devices/d/files", Some("device d")),
            (Some(sas("sr=hub%2Fdevices%2Fd%2Fmodules%2Fm")), "/twins/e/methods", Some("device d")),
            (Some(sas("sr=hub")), "/devices/d/files", Some("device d")),
            (Some(bearer), "/devices", Some("principal o")),
            (None, "/devices/d/files", Some("device d")),
            (None, "/ferrohub-uploads/d/f?sig=x", Some("device d")),
            (None, "/healthz", None),
            (Some("Basic x".to_owned()), "/devices", None),
            (Some("Bearer x".to_owned()), "/devices", None),
        ] {
            assert_eq!(caller(authorization.as_deref(), path).as_deref(), expected, "{path}");
        }
    }
}
