//! A device or module that sends a request.

use std::fmt;
use std::sync::Arc;

use ferrohub_model::{HubError, IdentityId};

use super::CALLER_NOT_ALLOWED;
use crate::auth::{AuthorizationError, Credential};
use crate::hub::Hub;
use crate::operations::Operation;
use crate::registry::Identity;

/// A device or module that proved who it is with a token or certificate. It acts for itself: its operations take no id.
pub struct DeviceCaller {
    hub: Arc<Hub>,
    identity: Identity,
    credential: Credential,
    /// For a module: its device.
    device: Option<Identity>,
}

impl DeviceCaller {
    pub(super) fn new(
        hub: Arc<Hub>,
        identity: Identity,
        credential: Credential,
        device: Option<Identity>,
    ) -> Self {
        Self { hub, identity, credential, device }
    }

    /// Returns the id of the device or module.
    #[must_use]
    pub fn id(&self) -> &IdentityId {
        &self.identity.id
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(crate) fn credential(&self) -> &Credential {
        &self.credential
    }

    /// Returns the device: the caller itself, or the device of the module.
    pub(crate) fn device(&self) -> &Identity {
        self.device.as_ref().unwrap_or(&self.identity)
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
        if operation.identities().include(self.id()) {
            return Ok(&self.hub);
        }
        Err(self.refuse(operation))
    }

    /// Counts and logs a refusal, and returns its error.
    pub(crate) fn refuse(&self, operation: Operation) -> HubError {
        self.hub.refuse_identity(AuthorizationError::new(CALLER_NOT_ALLOWED), self.id(), None, operation)
    }
}

impl fmt::Debug for DeviceCaller {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("DeviceCaller")
            .field("id", self.id())
            .field("credential", &self.credential)
            .finish_non_exhaustive()
    }
}
