//! Authentication and authorization of services (back-end applications) by their `Authorization` header.
//!
//! A service sends a shared access signature (SAS) token, which is signed with a key of a shared access policy, or a
//! bearer token of Microsoft Entra. Some readers of events send the key of a policy itself.

use std::sync::Arc;

use ferrohub_model::sas::SasToken;
use ferrohub_model::{ErrorCode, HubError, SharedAccessKey, Timestamp};

use super::{EntraTokenVerifier, TokenScope};
use crate::operations::Operation;
use crate::policies::{Policies, Policy, TokenDigest};

/// The authenticated sender of a service request.
#[derive(Debug, Clone)]
pub enum Principal {
    /// A shared access policy: a named pair of keys with rights.
    Policy(Arc<Policy>),
    /// An application or user of Microsoft Entra.
    Entra {
        /// The claim `oid` of the token; `sub` or `appid` if it has none.
        subject: String,
        /// The permissions (Azure: data actions) that its roles grant, as patterns.
        actions: Vec<&'static str>,
    },
}

/// A failed authentication or authorization. The error text is the same for every cause, so that the caller does not
/// learn the reason. The reason goes to the log and the metrics.
pub(crate) struct AuthorizationError {
    /// A fixed word for logs and metrics.
    pub(crate) reason: &'static str,
    /// The response to the caller.
    pub(crate) error: HubError,
}

/// The `reason` if the token names no policy, so it is the token of a device or module. The hub then checks whether the
/// operation is open to devices or modules.
pub(crate) const NO_POLICY: &str = "no_policy";

impl AuthorizationError {
    pub(crate) fn new(reason: &'static str) -> Self {
        let error = HubError::new(ErrorCode::IotHubUnauthorizedAccess, "Unauthorized");
        Self { reason, error }
    }
}

/// What a service has proved.
#[derive(Debug, Clone)]
pub(crate) struct VerifiedService {
    /// Who it is.
    pub(crate) principal: Principal,
    /// What of the hub the token is for.
    pub(crate) scope: TokenScope,
    /// When the token expires; `None` for a key.
    pub(crate) expires: Option<Timestamp>,
}

impl VerifiedService {
    fn policy(policy: Arc<Policy>, scope: TokenScope, expires: Timestamp) -> Self {
        Self { principal: Principal::Policy(policy), scope, expires: Some(expires) }
    }
}

/// Verifies the `Authorization` header of a service.
pub(crate) async fn authenticate_service(
    header: Option<&str>,
    host: &str,
    policies: &Policies,
    entra: Option<&EntraTokenVerifier>,
    now: Timestamp,
) -> Result<VerifiedService, AuthorizationError> {
    let header = header.ok_or_else(|| AuthorizationError::new("no_token"))?;
    match header.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("Bearer") => {
            let entra = entra.ok_or_else(|| AuthorizationError::new("entra_disabled"))?;
            // Boxed: a request with a SAS token needs no memory for the verification of Entra tokens.
            let principal = Box::pin(entra.verify(token.trim(), now))
                .await
                .map_err(|error| AuthorizationError::new(error.reason()))?;
            let expires = Some(principal.expires);
            let principal = Principal::Entra { subject: principal.subject, actions: principal.actions };
            Ok(VerifiedService { principal, scope: TokenScope::Hub, expires })
        }
        // Everything else must be a SAS token.
        _ => {
            let digest = digest(header);
            if let Some((policy, expires)) = policies.cached_policy(&digest, now) {
                return Ok(VerifiedService::policy(policy, TokenScope::Hub, expires));
            }
            let (policy, scope, expires) = verify_sas_token(header, host, policies, now)?;
            // Other tokens come once for each link, not with each request.
            if scope == TokenScope::Hub {
                policies.cache_token(digest, &policy, expires, now);
            }
            Ok(VerifiedService::policy(policy, scope, expires))
        }
    }
}

/// Verifies the key of a policy, which readers of events send instead of a token. It covers events only.
pub(crate) fn authenticate_policy_key(
    policy: &str,
    key: &str,
    policies: &Policies,
) -> Result<VerifiedService, AuthorizationError> {
    let policy = policies.get(policy).ok_or_else(|| AuthorizationError::new("unknown_policy"))?;
    let key = SharedAccessKey::from_base64(key).map_err(|_| AuthorizationError::new("malformed"))?;
    // Signatures of the same text are compared in constant time.
    let proof = key.sign(PROOF);
    if !policy.primary_key.verify(PROOF, &proof) && !policy.secondary_key.verify(PROOF, &proof) {
        return Err(AuthorizationError::new("bad_signature"));
    }
    let scope = TokenScope::Events(Vec::new());
    Ok(VerifiedService { principal: Principal::Policy(policy), scope, expires: None })
}

/// A text that is no `sr` of a token.
const PROOF: &[u8] = b"\0key";

impl Principal {
    /// Returns whether the principal has the right to perform `operation`.
    #[must_use]
    pub fn may(&self, operation: Operation) -> bool {
        match self {
            // All rights of one set are enough.
            Self::Policy(policy) => {
                operation.rights().iter().any(|set| set.iter().all(|right| policy.rights.contains(*right)))
            }
            // An operation without a data action is for policies only. Otherwise all of its actions are needed.
            Self::Entra { actions, .. } => {
                let needed = operation.data_actions();
                let is_granted = |action| actions.iter().any(|pattern| super::entra::grants(pattern, action));
                !needed.is_empty() && needed.iter().all(|action| is_granted(action))
            }
        }
    }
}

fn digest(header: &str) -> TokenDigest {
    let mut digest = TokenDigest::default();
    digest.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, header.as_bytes()).as_ref());
    digest
}

/// Verifies a SAS token and returns its policy, scope and expiry.
fn verify_sas_token(
    header: &str,
    host: &str,
    policies: &Policies,
    now: Timestamp,
) -> Result<(Arc<Policy>, TokenScope, Timestamp), AuthorizationError> {
    let token = SasToken::parse(header).map_err(|_| AuthorizationError::new("malformed"))?;
    // A token without a policy belongs to a device or module, which has no rights of a service.
    let policy_name = token.policy().ok_or_else(|| AuthorizationError::new(NO_POLICY))?;
    let policy = policies.get(policy_name).ok_or_else(|| AuthorizationError::new("unknown_policy"))?;
    let scope = token.resource().and_then(|resource| TokenScope::of(&resource, host));
    // Clients of event hubs sign with the text of the key.
    let is_for_events = matches!(scope, Some(TokenScope::Events(_)));
    let signed = |key| token.is_signed_by(key) || (is_for_events && token.is_signed_by_text_of(key));
    if !signed(&policy.primary_key) && !signed(&policy.secondary_key) {
        return Err(AuthorizationError::new("bad_signature"));
    }
    if token.expiry() <= now {
        return Err(AuthorizationError::new("expired"));
    }
    let scope = scope.ok_or_else(|| AuthorizationError::new("wrong_resource"))?;
    Ok((policy, scope, token.expiry()))
}

#[cfg(test)]
mod tests;
