//! Renewal of the credential of a living connection.

use ferrohub_model::{HubError, Timestamp};

use crate::auth::{DeviceAuthError, VerifiedCredential};
use crate::callers::{ConnectedDevice, Credentials};
use crate::close_reason::CloseReason;
use crate::store::store_failed;

/// Why a credential was not renewed.
#[derive(Debug, thiserror::Error)]
pub enum RenewalError {
    /// The new credential is not valid. The connection keeps the one that it has.
    #[error(transparent)]
    NotAuthorized(#[from] DeviceAuthError),
    /// The store failed. The connection keeps the credential that it has.
    #[error("the hub cannot verify the credential: {0}")]
    Unavailable(HubError),
    /// The new credential was revoked during the renewal, so the connection is closed.
    #[error("the credential was revoked during its renewal")]
    Revoked,
}

/// The connection authenticates itself again, so this needs no right.
impl ConnectedDevice {
    /// Replaces the credential of the connection by a new one of the same device or module, such as a newer token. Returns
    /// its expiry, at which the head ends the connection. From now on, only a revocation of the new credential ends it.
    pub async fn renew(&self, credentials: Credentials<'_>) -> Result<Timestamp, RenewalError> {
        let (hub, connection) = (self.hub(), self.connection());
        let revocations = hub.connections.revocations();
        let verified = self.verify(credentials).await?;
        connection.set_credential(verified.clone());
        // As at a connect: a revocation that came after the verification and before the change did not find the new
        // credential in the table.
        if hub.connections.revocations() != revocations
            && self.verify(credentials).await.ok() != Some(verified.clone())
        {
            connection.close(CloseReason::CredentialChanged);
            return Err(RenewalError::Revoked);
        }
        Ok(verified.expires)
    }

    async fn verify(&self, credentials: Credentials<'_>) -> Result<VerifiedCredential, RenewalError> {
        let (hub, id) = (self.hub(), self.id());
        let identity =
            hub.store.identity(id).await.map_err(store_failed).map_err(RenewalError::Unavailable)?;
        // An identity that has the same id now is another one.
        let identity = identity
            .filter(|identity| identity.generation_id == self.connection().generation_id)
            .ok_or(DeviceAuthError::UnknownIdentity)?;
        let device = match id.module_str() {
            Some(_) => hub.device_of(id).await.map_err(RenewalError::Unavailable)?,
            None => None,
        };
        let Credentials { token, certificate } = credentials;
        Ok(hub.authenticate(&identity, device.as_ref(), token, certificate).await?)
    }
}
