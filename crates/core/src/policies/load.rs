//! Loads the policies when the hub starts.

use ferrohub_model::SharedAccessKey;
use futures_util::future::try_join_all;
use tracing::info;

use super::{DEFAULT_POLICIES, Policy, PolicySource};
use crate::hub::Hub;
use crate::store::{StoreError, StoredPolicy};

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
        for policy in stored {
            self.policies.insert(Policy {
                name: policy.name.into(),
                rights: policy.rights,
                primary_key: policy.primary_key,
                secondary_key: policy.secondary_key,
                source: PolicySource::Store,
            });
        }
        configured.into_iter().for_each(|policy| self.policies.insert(policy));
        Ok(())
    }
}
