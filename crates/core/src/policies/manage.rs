//! Management of shared access policies. Azure does this in its resource manager; here it is part of the hub's API.

use std::sync::Arc;

use ferrohub_model::{ErrorCode, HubError, SharedAccessKey};
use tracing::info;

use crate::auth::Credential;
use crate::callers::ServiceCaller;
use crate::close_reason::CloseReason;
use crate::hub::Hub;
use crate::operations::Operation;
use crate::policies::{Policy, PolicySource};
use crate::store::StoredPolicy;
use crate::store::store_failed;

/// Selects one of the two keys of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyKey {
    /// The primary key.
    Primary,
    /// The secondary key.
    Secondary,
}

impl ServiceCaller {
    /// Returns all policies, including their keys.
    pub fn list_policies(&self) -> Result<Vec<Arc<Policy>>, HubError> {
        Ok(self.permit(Operation::ListPolicies)?.policies.all())
    }

    /// Returns a policy, including its keys.
    pub fn get_policy(&self, name: &str) -> Result<Arc<Policy>, HubError> {
        self.permit(Operation::GetPolicy)?.policy(name)
    }

    /// Replaces one of the two keys of a policy with a new key. Disconnects devices that authenticated with a token of
    /// the policy, because the token may have been signed with the old key.
    ///
    /// # Errors
    ///
    /// `GenericNotFound` for an unknown policy, `GenericConflict` if the policy is set in the configuration.
    pub async fn regenerate_policy_key(&self, name: &str, which: PolicyKey) -> Result<Arc<Policy>, HubError> {
        let hub = self.permit(Operation::RegeneratePolicyKey)?;
        let _management_lock = hub.management.lock().await;
        let old = hub.policy(name)?;
        if old.source == PolicySource::Configuration {
            return Err(HubError::new(
                ErrorCode::GenericConflict,
                format!("The keys of the policy {name} are set in the configuration; change them there."),
            ));
        }
        let mut new = (*old).clone();
        match which {
            PolicyKey::Primary => new.primary_key = SharedAccessKey::generate(),
            PolicyKey::Secondary => new.secondary_key = SharedAccessKey::generate(),
        }
        let stored = StoredPolicy {
            name: new.name.to_string(),
            rights: new.rights,
            primary_key: new.primary_key.clone(),
            secondary_key: new.secondary_key.clone(),
        };
        hub.store.save_policy(&stored).await.map_err(store_failed)?;
        hub.policies.insert(new);
        info!(policy = name, key = ?which, "key regenerated");
        hub.connections.close_where(CloseReason::CredentialChanged, |c| {
            c.authenticated_with(|used| matches!(used, Credential::Policy { name: used } if **used == *name))
        });
        hub.policy(name)
    }
}

impl Hub {
    fn policy(&self, name: &str) -> Result<Arc<Policy>, HubError> {
        self.policies
            .get(name)
            .ok_or_else(|| HubError::new(ErrorCode::GenericNotFound, format!("There is no policy {name}.")))
    }
}
