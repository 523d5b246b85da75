//! A back-end application.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ferrohub_model::{HubError, Timestamp};

use crate::auth::{AuthorizationError, Principal, TokenScope, VerifiedService};
use crate::hub::Hub;
use crate::operations::Operation;

/// A service: a back-end application that proved who it is with a token.
#[derive(Clone)]
pub struct ServiceCaller {
    hub: Arc<Hub>,
    principal: Principal,
    scope: TokenScope,
    expires: Option<Timestamp>,
}

impl ServiceCaller {
    pub(super) fn new(hub: Arc<Hub>, verified: VerifiedService) -> Self {
        let VerifiedService { principal, scope, expires } = verified;
        Self { hub, principal, scope, expires }
    }

    /// Returns the policy or Entra principal.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// Returns what of the hub the token is for.
    #[must_use]
    pub fn scope(&self) -> &TokenScope {
        &self.scope
    }

    /// Returns whether the caller has the right to an operation, and its token covers a part of what it is about.
    #[must_use]
    pub fn may(&self, operation: Operation) -> bool {
        self.scope.contains(operation) && self.principal.may(operation)
    }

    /// Checks the right to an operation before its request is read. The operation checks it again.
    ///
    /// # Errors
    ///
    /// `IotHubUnauthorizedAccess`; the refusal is counted and logged.
    pub fn check(&self, operation: Operation) -> Result<(), HubError> {
        self.permit(operation).map(drop)
    }

    /// Returns the hub if the caller has the right to the operation.
    pub(crate) fn permit(&self, operation: Operation) -> Result<&Arc<Hub>, HubError> {
        if self.may(operation) {
            return Ok(&self.hub);
        }
        let reason = if self.principal.may(operation) { "wrong_resource" } else { "no_right" };
        Err(self.refuse(operation, reason))
    }

    /// Checks that the token covers the events of a consumer group in a partition, or in all.
    ///
    /// # Errors
    ///
    /// `IotHubUnauthorizedAccess`; the refusal is counted and logged.
    pub fn check_events(&self, group: &str, partition: Option<u16>) -> Result<(), HubError> {
        if self.scope.contains_events(group, partition) {
            return Ok(());
        }
        Err(self.refuse(Operation::ReadEvents, "wrong_resource"))
    }

    /// Counts and logs a refusal.
    fn refuse(&self, operation: Operation, reason: &'static str) -> HubError {
        let (policy, subject) = match &self.principal {
            Principal::Policy(policy) => (Some(&*policy.name), None),
            Principal::Entra { subject, .. } => (None, Some(subject.as_str())),
        };
        self.hub.refuse_service(AuthorizationError::new(reason), policy, subject, operation)
    }

    /// Returns once the caller may no longer act: its token has expired or its policy was changed. A long-lived reader
    /// ends then. Cancel-safe.
    pub async fn revoked(&self) {
        let expires = self.expires;
        let expired = async {
            let Some(expires) = expires else { return std::future::pending().await };
            let left = expires.unix_millis().saturating_sub(self.hub.now().unix_millis());
            tokio::time::sleep(Duration::from_millis(u64::try_from(left).unwrap_or(0))).await;
        };
        match &self.principal {
            Principal::Policy(policy) => tokio::select! {
                () = expired => {}
                () = self.hub.policies.replaced(policy) => {}
            },
            Principal::Entra { .. } => expired.await,
        }
    }
}

impl fmt::Debug for ServiceCaller {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { hub: _, principal, scope, expires } = self;
        formatter
            .debug_struct("ServiceCaller")
            .field("principal", principal)
            .field("scope", scope)
            .field("expires", expires)
            .finish_non_exhaustive()
    }
}
