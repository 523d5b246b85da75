//! Management of certificate authorities, whose certificates authenticate devices. Azure does this in its resource
//! manager; here it is part of the hub's API.

mod store;

pub use store::{AuthorityStore, DeleteAuthorityOutcome, StoredAuthority};

use std::sync::Arc;

use data_encoding::HEXUPPER;
use ferrohub_model::random::random_bytes;
use ferrohub_model::{ErrorCode, HubError};
use tokio::sync::MutexGuard;
use tracing::{error, info};

use crate::auth::{Authority, CertificateError};
use crate::callers::ServiceCaller;
use crate::close_reason::CloseReason;
use crate::hub::Hub;
use crate::node::{Selector, What};
use crate::operations::Operation;
use crate::store::{StoreError, store_failed};
use crate::uncancelled::run_uncancelled;

/// Returns 160 random bits in hexadecimal, so that a certificate for the code cannot be prepared in advance.
fn random_code() -> String {
    HEXUPPER.encode(&random_bytes::<20>())
}

fn refused(error: CertificateError) -> HubError {
    HubError::new(ErrorCode::ArgumentInvalid, format!("The certificate was rejected: {error}."))
}

impl ServiceCaller {
    /// Returns all certificate authorities.
    pub fn list_authorities(&self) -> Result<Vec<Arc<Authority>>, HubError> {
        let hub = self.permit(Operation::ListAuthorities)?;
        Ok(hub.authorities.all())
    }

    /// Returns a certificate authority.
    pub fn get_authority(&self, name: &str) -> Result<Arc<Authority>, HubError> {
        let hub = self.permit(Operation::GetAuthority)?;
        hub.authority(name)
    }

    /// Adds a certificate authority. Device certificates that it issued are accepted once it is verified.
    pub async fn add_authority(&self, name: &str, certificate: Vec<u8>) -> Result<Arc<Authority>, HubError> {
        let hub = self.permit(Operation::PutAuthority)?;
        let management_lock = hub.management.lock().await;
        if ferrohub_model::DeviceId::new(name).is_err() {
            return Err(HubError::new(
                ErrorCode::ArgumentInvalid,
                "The name of a certificate authority must be 1 to 128 of the characters that a device id may have.",
            ));
        }
        if hub.authorities.get(name).is_some() {
            return Err(HubError::new(
                ErrorCode::GenericConflict,
                format!("The certificate authority {name} already exists."),
            ));
        }
        if hub.authorities.all().len() >= hub.limits.certificate_authorities {
            return Err(HubError::new(
                ErrorCode::GenericConflict,
                "The hub has reached its maximum of certificate authorities (limits.certificate_authorities).",
            ));
        }
        let authority = Authority::new(name, certificate, false, false).map_err(refused)?;
        hub.save_authority(authority, management_lock).await
    }

    /// Creates a verification code, which replaces an earlier one. The proof-of-possession certificate must have it as
    /// its common name.
    pub async fn challenge_authority(&self, name: &str) -> Result<String, HubError> {
        let hub = self.permit(Operation::CreateVerificationCode)?;
        let management_lock = hub.management.lock().await;
        let mut authority = (*hub.changeable_authority(name)?).clone();
        let code = random_code();
        authority.verification_code = Some(code.clone());
        hub.save_authority(authority, management_lock).await?;
        Ok(code)
    }

    /// Verifies a certificate authority: `proof` is a certificate that the authority issued for the verification code,
    /// and proves possession of the authority's private key.
    pub async fn verify_authority(&self, name: &str, proof: &[u8]) -> Result<Arc<Authority>, HubError> {
        let hub = self.permit(Operation::VerifyAuthority)?;
        let management_lock = hub.management.lock().await;
        let mut authority = (*hub.changeable_authority(name)?).clone();
        if authority.verification_code.is_none() {
            return Err(HubError::new(
                ErrorCode::GenericConflict,
                format!("No verification code was requested for {name}; request one first."),
            ));
        }
        authority.verify_proof_of_possession(proof, hub.clock.now()).map_err(refused)?;
        authority.verified = true;
        authority.verification_code = None;
        info!(authority = name, "certificate authority verified");
        hub.save_authority(authority, management_lock).await
    }

    /// Removes a certificate authority, and disconnects the devices that authenticated with a certificate it issued.
    pub async fn remove_authority(&self, name: &str) -> Result<(), HubError> {
        let permitted = self.permit(Operation::DeleteAuthority)?;
        let (hub, name) = (permitted.clone(), name.to_owned());
        run_uncancelled(&permitted.metrics.panics, async move { hub.remove_authority(name).await }).await
    }
}

impl Hub {
    async fn remove_authority(&self, name: String) -> Result<(), HubError> {
        let management_lock = self.management.lock().await;
        self.changeable_authority(&name)?;
        self.store.delete_authority(&name).await.map_err(store_failed)?;
        self.authorities.remove(&name);
        info!(authority = name, "certificate authority removed");
        // The other nodes need their own lock to reload, so waiting for them with this one could wait for ever.
        drop(management_lock);
        self.bus.invalidate(What::Authorities).await;
        self.bus.disconnect(&Selector::Authority { name }, CloseReason::CredentialChanged).await;
        Ok(())
    }

    /// Replaces the certificate authorities of the configuration. Disconnects the devices that authenticated with a
    /// certificate of an authority that is no longer there, or is another one now. After an error the previous ones stay.
    /// For the program, which reads the configuration; no head calls it.
    pub async fn replace_configured_authorities(&self, configured: Vec<Authority>) -> Result<(), HubError> {
        let _management_lock = self.management.lock().await;
        self.replace_authorities(configured).await.map_err(store_failed)
    }

    /// Loads the stored certificate authorities again. Disconnects the devices that authenticated with a certificate of an
    /// authority that is no longer there, or is another one now.
    pub(crate) async fn reload_authorities(&self) -> Result<(), StoreError> {
        let _management_lock = self.management.lock().await;
        let current = self.authorities.all();
        let configured = current.iter().filter(|authority| authority.configured);
        self.replace_authorities(configured.map(|authority| (**authority).clone()).collect()).await
    }

    /// Only for this node: each node reads its own configuration, and closes its own connections when it reloads.
    async fn replace_authorities(&self, configured: Vec<Authority>) -> Result<(), StoreError> {
        let before = self.authorities.all();
        let authorities = self.read_authorities(configured).await?;
        self.authorities.replace(authorities);
        for old in before {
            let new = self.authorities.get(&old.name);
            if old.verified && new.is_none_or(|new| !new.verified || new.certificate != old.certificate) {
                info!(authority = %old.name, subject = old.subject, "certificate authority removed");
                let selector = Selector::Authority { name: old.name.to_string() };
                self.connections.disconnect(&selector, CloseReason::CredentialChanged);
            }
        }
        Ok(())
    }

    fn authority(&self, name: &str) -> Result<Arc<Authority>, HubError> {
        self.authorities.get(name).ok_or_else(|| {
            HubError::new(
                ErrorCode::CertificateNotFound,
                format!("There is no certificate authority {name}."),
            )
        })
    }

    fn changeable_authority(&self, name: &str) -> Result<Arc<Authority>, HubError> {
        let authority = self.authority(name)?;
        if authority.configured {
            return Err(HubError::new(
                ErrorCode::GenericConflict,
                format!("The certificate authority {name} is set in the configuration; change it there."),
            ));
        }
        Ok(authority)
    }

    async fn save_authority(
        &self,
        authority: Authority,
        management_lock: MutexGuard<'_, ()>,
    ) -> Result<Arc<Authority>, HubError> {
        let stored = StoredAuthority {
            name: authority.name.to_string(),
            certificate: authority.certificate.to_vec(),
            verified: authority.verified,
            verification_code: authority.verification_code.clone(),
        };
        self.store.save_authority(&stored).await.map_err(store_failed)?;
        let name = authority.name.clone();
        self.authorities.insert(authority);
        // The other nodes need their own lock to reload, so waiting for them with this one could wait for ever.
        drop(management_lock);
        self.bus.invalidate(What::Authorities).await;
        self.authority(&name)
    }

    /// Returns the certificate authorities of the store and of the configuration, which override stored ones.
    pub(crate) async fn read_authorities(
        &self,
        configured: Vec<Authority>,
    ) -> Result<Vec<Authority>, StoreError> {
        let mut authorities = Vec::new();
        for stored in self.store.authorities().await? {
            match Authority::new(&stored.name, stored.certificate, stored.verified, false) {
                Ok(mut authority) => {
                    authority.verification_code = stored.verification_code;
                    authorities.push(authority);
                }
                Err(error) => {
                    error!(name = stored.name, %error, "cannot use a stored certificate authority")
                }
            }
        }
        authorities.extend(configured);
        Ok(authorities)
    }
}
