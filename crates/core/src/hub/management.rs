//! Managing the hub itself: policies and certificate authorities. Azure does this through its own
//! resource manager; here owners of the hub do.

use std::sync::Arc;

use ferrohub_model::{ErrorCode, HubError, SharedAccessKey};
use ring::rand::{SecureRandom, SystemRandom};
use tracing::info;

use super::{Hub, store_failed};
use crate::auth::{Authority, CertificateError, Policy, PolicySource};
use crate::connections::{CloseReason, Credential};
use crate::store::{StoredAuthority, StoredPolicy};

/// Which of the two keys of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhichKey {
    /// The first.
    Primary,
    /// The second.
    Secondary,
}

fn unknown(what: &str, name: &str, code: ErrorCode) -> HubError {
    HubError::new(code, format!("There is no {what} {name}."))
}

/// 160 random bits: nobody can have a certificate for it ready.
fn random_code() -> String {
    let mut bytes = [0u8; 20];
    let _ = SystemRandom::new().fill(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

fn refused(error: CertificateError) -> HubError {
    HubError::new(ErrorCode::ArgumentInvalid, format!("The certificate is not accepted: {error}."))
}

impl Hub {
    /// All policies, keys included.
    #[must_use]
    pub fn policies(&self) -> Vec<Arc<Policy>> {
        self.policies.all()
    }

    /// One policy, keys included.
    pub fn policy(&self, name: &str) -> Result<Arc<Policy>, HubError> {
        self.policies.get(name).ok_or_else(|| unknown("policy", name, ErrorCode::GenericNotFound))
    }

    /// Gives a policy a new key in place of one of its two. Devices that connected with a token of the
    /// policy are disconnected: theirs may have been signed by the old key.
    pub async fn regenerate_key(&self, name: &str, which: WhichKey) -> Result<Arc<Policy>, HubError> {
        let _one_at_a_time = self.management.lock().await;
        let old = self.policy(name)?;
        if old.source == PolicySource::Configuration {
            return Err(HubError::new(
                ErrorCode::GenericConflict,
                format!("The keys of policy {name} are set in the configuration; change them there."),
            ));
        }
        let mut new = (*old).clone();
        match which {
            WhichKey::Primary => new.primary_key = SharedAccessKey::generate(),
            WhichKey::Secondary => new.secondary_key = SharedAccessKey::generate(),
        }
        let stored = StoredPolicy {
            name: new.name.to_string(),
            rights: new.rights,
            primary_key: new.primary_key.clone(),
            secondary_key: new.secondary_key.clone(),
        };
        self.store.save_policy(&stored).await.map_err(store_failed)?;
        self.policies.insert(new);
        info!(policy = name, key = ?which, "key regenerated");
        self.close_where(
            CloseReason::CredentialChanged,
            |c| matches!(&c.credential, Credential::Policy { name: used } if **used == *name),
        );
        self.policy(name)
    }

    /// All certificate authorities.
    #[must_use]
    pub fn authorities(&self) -> Vec<Arc<Authority>> {
        self.authorities.all()
    }

    /// One certificate authority.
    pub fn authority(&self, name: &str) -> Result<Arc<Authority>, HubError> {
        self.authorities
            .get(name)
            .ok_or_else(|| unknown("certificate authority", name, ErrorCode::CertificateNotFound))
    }

    /// Adds a certificate authority. It counts only once it is verified.
    pub async fn add_authority(&self, name: &str, certificate: Vec<u8>) -> Result<Arc<Authority>, HubError> {
        let _one_at_a_time = self.management.lock().await;
        if ferrohub_model::DeviceId::new(name).is_err() {
            return Err(HubError::new(
                ErrorCode::ArgumentInvalid,
                "The name of an authority follows the rules of a device id.",
            ));
        }
        if self.authorities.get(name).is_some() {
            return Err(HubError::new(
                ErrorCode::GenericConflict,
                format!("There is a certificate authority {name} already."),
            ));
        }
        if self.authorities.all().len() >= self.limits.certificate_authorities {
            return Err(HubError::new(
                ErrorCode::GenericConflict,
                "The hub holds as many certificate authorities as it may.",
            ));
        }
        let authority = Authority::new(name, certificate, false, false).map_err(refused)?;
        self.save_authority(authority).await
    }

    /// Makes a new code that the proof of possession must carry as its common name.
    pub async fn challenge_authority(&self, name: &str) -> Result<String, HubError> {
        let _one_at_a_time = self.management.lock().await;
        let mut authority = (*self.changeable_authority(name)?).clone();
        let code = random_code();
        authority.verification_code = Some(code.clone());
        self.save_authority(authority).await?;
        Ok(code)
    }

    /// Takes a certificate that the authority issued to the code as proof that its owner holds its key.
    pub async fn verify_authority(&self, name: &str, proof: &[u8]) -> Result<Arc<Authority>, HubError> {
        let _one_at_a_time = self.management.lock().await;
        let mut authority = (*self.changeable_authority(name)?).clone();
        if authority.verification_code.is_none() {
            return Err(HubError::new(ErrorCode::GenericConflict, "Ask for a verification code first."));
        }
        if !authority.verify_proof_of_possession(proof, self.clock.now()).map_err(refused)? {
            return Err(refused(CertificateError::CommonName));
        }
        authority.verified = true;
        authority.verification_code = None;
        info!(authority = name, "certificate authority verified");
        self.save_authority(authority).await
    }

    /// Removes a certificate authority and disconnects the devices it vouched for.
    pub async fn remove_authority(&self, name: &str) -> Result<(), HubError> {
        let _one_at_a_time = self.management.lock().await;
        self.changeable_authority(name)?;
        self.store.delete_authority(name).await.map_err(store_failed)?;
        self.authorities.remove(name);
        info!(authority = name, "certificate authority removed");
        self.close_where(
            CloseReason::CredentialChanged,
            |c| matches!(&c.credential, Credential::Authority { name: used } if **used == *name),
        );
        Ok(())
    }

    fn changeable_authority(&self, name: &str) -> Result<Arc<Authority>, HubError> {
        let authority = self.authority(name)?;
        if authority.configured {
            return Err(HubError::new(
                ErrorCode::GenericConflict,
                format!("Certificate authority {name} is set in the configuration; change it there."),
            ));
        }
        Ok(authority)
    }

    async fn save_authority(&self, authority: Authority) -> Result<Arc<Authority>, HubError> {
        let stored = StoredAuthority {
            name: authority.name.to_string(),
            certificate: authority.certificate.to_vec(),
            verified: authority.verified,
            verification_code: authority.verification_code.clone(),
        };
        self.store.save_authority(&stored).await.map_err(store_failed)?;
        let name = authority.name.clone();
        self.authorities.insert(authority);
        self.authority(&name)
    }
}
