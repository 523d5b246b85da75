//! A back-end application.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ferrohub_model::{HubError, Timestamp};

use crate::auth::{AuthorizationError, Principal};
use crate::hub::Hub;
use crate::operations::Operation;

/// A service: a back-end application that proved who it is with a token.
#[derive(Clone)]
pub struct ServiceCaller {
    hub: Arc<Hub>,
    principal: Principal,
    expires: Timestamp,
}

impl ServiceCaller {
    pub(super) fn new(hub: Arc<Hub>, principal: Principal, expires: Timestamp) -> Self {
        Self { hub, principal, expires }
    }

    /// Returns the policy or Entra principal.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.principal
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
        if self.principal.may(operation) {
            return Ok(&self.hub);
        }
        let (policy, subject) = match &self.principal {
            Principal::Policy(policy) => (Some(&*policy.name), None),
            Principal::Entra { subject, .. } => (None, Some(subject.as_str())),
        };
        Err(self.hub.refuse_service(AuthorizationError::new("no_right"), policy, subject, operation))
    }

    /// Returns once the caller may no longer act: its token has expired or its policy was changed. A long-lived reader
    /// ends then. Cancel-safe.
    pub async fn revoked(&self) {
        let left = self.expires.unix_millis().saturating_sub(self.hub.now().unix_millis());
        let expired = tokio::time::sleep(Duration::from_millis(u64::try_from(left).unwrap_or(0)));
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
        let Self { hub: _, principal, expires } = self;
        formatter
            .debug_struct("ServiceCaller")
            .field("principal", principal)
            .field("expires", expires)
            .finish_non_exhaustive()
    }
}
