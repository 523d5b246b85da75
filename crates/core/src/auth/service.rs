//! Authentication and authorization of services (back-end applications) by their `Authorization` header.
//!
//! A service sends a shared access signature (SAS) token, which is signed with a key of a shared access policy, or a
//! bearer token of Microsoft Entra.

use std::sync::Arc;

use ferrohub_model::sas::SasToken;
use ferrohub_model::{ErrorCode, HubError, Timestamp};

use super::EntraTokenVerifier;
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

/// Verifies the `Authorization` header of a service. Returns the principal and the expiry of its token.
pub(crate) async fn authenticate_service(
    header: Option<&str>,
    host: &str,
    policies: &Policies,
    entra: Option<&EntraTokenVerifier>,
    now: Timestamp,
) -> Result<(Principal, Timestamp), AuthorizationError> {
    let header = header.ok_or_else(|| AuthorizationError::new("no_token"))?;
    match header.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("Bearer") => {
            let entra = entra.ok_or_else(|| AuthorizationError::new("entra_disabled"))?;
            // Boxed: a request with a SAS token needs no memory for the verification of Entra tokens.
            let principal = Box::pin(entra.verify(token.trim(), now))
                .await
                .map_err(|error| AuthorizationError::new(error.reason()))?;
            let expires = principal.expires;
            Ok((Principal::Entra { subject: principal.subject, actions: principal.actions }, expires))
        }
        // Everything else must be a SAS token.
        _ => {
            let digest = digest(header);
            if let Some((policy, expires)) = policies.cached_policy(&digest, now) {
                return Ok((Principal::Policy(policy), expires));
            }
            let (policy, expires) = verify_sas_token(header, host, policies, now)?;
            policies.cache_token(digest, &policy, expires, now);
            Ok((Principal::Policy(policy), expires))
        }
    }
}

impl Principal {
    /// Returns whether the principal has the right to perform `operation`.
    #[must_use]
    pub fn may(&self, operation: Operation) -> bool {
        match self {
            // All rights of one set are enough.
            Self::Policy(policy) => {
                operation.rights().iter().any(|set| set.iter().all(|right| policy.rights.contains(*right)))
            }
            // An operation without a data action is for policies only.
            Self::Entra { actions, .. } => operation
                .data_action()
                .is_some_and(|action| actions.iter().any(|pattern| super::entra::grants(pattern, action))),
        }
    }
}

fn digest(header: &str) -> TokenDigest {
    let mut digest = TokenDigest::default();
    digest.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, header.as_bytes()).as_ref());
    digest
}

/// Verifies a SAS token and returns its policy and expiry.
fn verify_sas_token(
    header: &str,
    host: &str,
    policies: &Policies,
    now: Timestamp,
) -> Result<(Arc<Policy>, Timestamp), AuthorizationError> {
    let token = SasToken::parse(header).map_err(|_| AuthorizationError::new("malformed"))?;
    // A token without a policy belongs to a device or module, which has no rights of a service.
    let policy_name = token.policy().ok_or_else(|| AuthorizationError::new(NO_POLICY))?;
    let policy = policies.get(policy_name).ok_or_else(|| AuthorizationError::new("unknown_policy"))?;
    if !token.is_signed_by(&policy.primary_key) && !token.is_signed_by(&policy.secondary_key) {
        return Err(AuthorizationError::new("bad_signature"));
    }
    if token.expiry() <= now {
        return Err(AuthorizationError::new("expired"));
    }
    // The resource of a service token must be the whole hub.
    match token.resource() {
        Some(resource) if resource.is_hub() && resource.is_on_host(host) => Ok((policy, token.expiry())),
        _ => Err(AuthorizationError::new("wrong_resource")),
    }
}

#[cfg(test)]
mod tests;
