//! A device or module that is connected.

use std::fmt;
use std::sync::Arc;

use ferrohub_model::{HubError, IdentityId};

use super::CALLER_NOT_ALLOWED;
use crate::auth::AuthorizationError;
use crate::hub::Hub;
use crate::node::Connection;
use crate::operations::Operation;

/// A device or module with a connection in the connection table. It acts for itself: its operations take no id.
#[derive(Clone)]
pub struct ConnectedDevice {
    hub: Arc<Hub>,
    connection: Arc<Connection>,
}

impl ConnectedDevice {
    pub(crate) fn new(hub: Arc<Hub>, connection: Arc<Connection>) -> Self {
        Self { hub, connection }
    }

    /// Returns the hub.
    #[must_use]
    pub fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// Returns the connection, which tells the protocol head what to send.
    #[must_use]
    pub fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// Returns the id of the device or module.
    #[must_use]
    pub fn id(&self) -> &IdentityId {
        &self.connection.id
    }

    /// Returns the hub if the device or module has the right to the operation.
    pub(crate) fn permit(&self, operation: Operation) -> Result<&Arc<Hub>, HubError> {
        if operation.identities().include(self.id()) {
            return Ok(&self.hub);
        }
        let error = AuthorizationError::new(CALLER_NOT_ALLOWED);
        Err(self.hub.refuse_identity(error, self.id(), None, operation))
    }
}

impl fmt::Debug for ConnectedDevice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ConnectedDevice")
            .field("connection", &self.connection)
            .finish_non_exhaustive()
    }
}
