//! Loads the policies when the hub starts, and again when another node has changed them.

use ferrohub_model::SharedAccessKey;
use futures_util::future::try_join_all;
use tracing::info;

use super::{DEFAULT_POLICIES, Policy, PolicySource};
use crate::close_reason::CloseReason;
use crate::hub::Hub;
use crate::node::Selector;
use crate::policies::StoredPolicy;
use crate::store::StoreError;

impl Hub {
    /// Loads the stored policies, and the `configured` ones, which override them. Creates the default policies if the
    /// store has none.
    pub(crate) async fn load_policies(&self, configured: Vec<Policy>) -> Result<(), StoreError> {
        let mut stored = self.store.policies().await?;
        if stored.is_empty() {
            stored.extend(DEFAULT_POLICIES.map(|(name, rights)| StoredPolicy {
                name: name.to_owned(),
                rights,
                primary_key: SharedAccessKey::generate(),
                secondary_key: SharedAccessKey::generate(),
            }));
            // Concurrently, so that they share a commit.
            try_join_all(stored.iter().map(|policy| self.store.save_policy(policy))).await?;
            info!("created the default shared access policies with new keys");
        }
        self.policies.replace(stored.into_iter().map(of_store).chain(configured).collect());
        Ok(())
    }

    /// Loads the stored policies again. Closes the connections that authenticated with a token of a policy that has other
    /// keys or rights now.
    pub(crate) async fn reload_policies(&self) -> Result<(), StoreError> {
        let _management_lock = self.management.lock().await;
        let mut policies: Vec<_> = self.store.policies().await?.into_iter().map(of_store).collect();
        let current = self.policies.all();
        policies.extend(
            current
                .iter()
                .filter(|policy| policy.source == PolicySource::Configuration)
                .map(|policy| (**policy).clone()),
        );
        for name in self.policies.replace(policies) {
            let selector = Selector::Policy { name: name.to_string() };
            self.connections.disconnect(&selector, CloseReason::CredentialChanged);
        }
        Ok(())
    }
}

fn of_store(policy: StoredPolicy) -> Policy {
    Policy {
        name: policy.name.into(),
        rights: policy.rights,
        primary_key: policy.primary_key,
        secondary_key: policy.secondary_key,
        source: PolicySource::Store,
    }
}
