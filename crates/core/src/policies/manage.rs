//! Management of shared access policies. Azure does this in its resource manager; here it is part of the hub's API.

use std::sync::Arc;

use ferrohub_model::{ErrorCode, HubError, SharedAccessKey};
use tracing::info;

use crate::callers::ServiceCaller;
use crate::close_reason::CloseReason;
use crate::hub::Hub;
use crate::node::{Selector, What};
use crate::operations::Operation;
use crate::policies::{Policy, PolicySource, StoredPolicy};
use crate::store::store_failed;
use crate::uncancelled::run_uncancelled;

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
        let permitted = self.permit(Operation::RegeneratePolicyKey)?;
        let (hub, name) = (permitted.clone(), name.to_owned());
        run_uncancelled(
            &permitted.metrics.panics,
            async move { hub.regenerate_policy_key(&name, which).await },
        )
        .await
    }
}

impl Hub {
    async fn regenerate_policy_key(&self, name: &str, which: PolicyKey) -> Result<Arc<Policy>, HubError> {
        let management_lock = self.management.lock().await;
        let old = self.policy(name)?;
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
        self.store.save_policy(&stored).await.map_err(store_failed)?;
        self.policies.insert(new);
        info!(policy = name, key = ?which, "key regenerated");
        // The other nodes need their own lock to reload, so waiting for them with this one could wait for ever.
        drop(management_lock);
        self.bus.invalidate(What::Policies).await;
        let selector = Selector::Policy { name: name.to_owned() };
        self.bus.disconnect(&selector, CloseReason::CredentialChanged).await;
        self.policy(name)
    }

    fn policy(&self, name: &str) -> Result<Arc<Policy>, HubError> {
        self.policies
            .get(name)
            .ok_or_else(|| HubError::new(ErrorCode::GenericNotFound, format!("There is no policy {name}.")))
    }
}
