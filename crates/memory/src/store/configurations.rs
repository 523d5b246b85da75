//! Configurations, and the twins that they are applied to.

use async_trait::async_trait;
use ferrohub_core::configurations::{
    ConfigurationId, ConfigurationStore, CreateConfigurationOutcome, DeviceTwins, DeviceTwinsRequest,
    StoredConfiguration, WriteConfigurationOutcome,
};
use ferrohub_core::store::StoreError;
use ferrohub_model::DeviceId;
use ferrohub_model::configuration::Configuration;

use super::MemoryStore;
use super::state::State;

/// Configurations, the last number or revision, and where the sweep over all devices is.
#[derive(Debug, Clone, Default)]
pub(super) struct StoredConfigurations {
    by_id: std::collections::BTreeMap<ConfigurationId, StoredConfiguration>,
    counter: u64,
    sweep_position: Option<DeviceId>,
}

impl StoredConfigurations {
    fn next(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }
}

impl State {
    fn device_twins(&self, device: &str) -> DeviceTwins {
        let mut twins: DeviceTwins = self
            .identities
            .values()
            .filter(|stored| stored.identity.id.device_str() == device)
            .map(|stored| (self.counted(&stored.identity), stored.twin.clone()))
            .collect();
        twins.sort_by(|(left, _), (right, _)| left.id.module_str().cmp(&right.id.module_str()));
        twins
    }
}

#[async_trait]
impl ConfigurationStore for MemoryStore {
    async fn configurations(&self) -> Result<Vec<StoredConfiguration>, StoreError> {
        self.read(|state| state.configurations.by_id.values().cloned().collect()).await
    }

    async fn create_configuration(
        &self,
        id: &ConfigurationId,
        configuration: &Configuration,
        limit: usize,
    ) -> Result<CreateConfigurationOutcome, StoreError> {
        self.write(|state| {
            let stored = &mut state.configurations;
            if stored.by_id.contains_key(id) {
                return CreateConfigurationOutcome::Exists;
            }
            if stored.by_id.len() >= limit {
                return CreateConfigurationOutcome::Full;
            }
            let number = stored.next();
            let (id, configuration) = (id.clone(), configuration.clone());
            let new = StoredConfiguration { id: id.clone(), number, revision: number, configuration };
            stored.by_id.insert(id, new.clone());
            CreateConfigurationOutcome::Created(Box::new(new))
        })
        .await
    }

    async fn update_configuration(
        &self,
        id: &ConfigurationId,
        revision: u64,
        configuration: &Configuration,
    ) -> Result<WriteConfigurationOutcome, StoreError> {
        self.write(|state| {
            let next = state.configurations.counter + 1;
            let outcome = match state.configurations.by_id.get_mut(id) {
                None => return WriteConfigurationOutcome::NotFound,
                Some(stored) if stored.revision != revision => return WriteConfigurationOutcome::Changed,
                Some(stored) => {
                    (stored.revision, stored.configuration) = (next, configuration.clone());
                    WriteConfigurationOutcome::Written(Box::new(stored.clone()))
                }
            };
            state.configurations.counter = next;
            outcome
        })
        .await
    }

    async fn delete_configuration(
        &self,
        id: &ConfigurationId,
        revision: Option<u64>,
    ) -> Result<WriteConfigurationOutcome, StoreError> {
        self.write(|state| {
            let all = &mut state.configurations.by_id;
            match all.get(id) {
                None => WriteConfigurationOutcome::NotFound,
                Some(stored) if revision.is_some_and(|revision| revision != stored.revision) => {
                    WriteConfigurationOutcome::Changed
                }
                Some(_) => match all.remove(id) {
                    Some(removed) => WriteConfigurationOutcome::Written(Box::new(removed)),
                    None => WriteConfigurationOutcome::NotFound,
                },
            }
        })
        .await
    }

    async fn device_twins(&self, device: &DeviceId) -> Result<DeviceTwins, StoreError> {
        self.read(|state| state.device_twins(device.as_str())).await
    }

    async fn twins_of_devices(&self, request: &DeviceTwinsRequest) -> Result<Vec<DeviceTwins>, StoreError> {
        self.read(|state| {
            let is_after = |device: &str| request.after.as_ref().is_none_or(|after| device > after.as_str());
            let devices: std::collections::BTreeSet<&str> = state
                .identities
                .values()
                .filter(|stored| match request.only_configured {
                    true => !stored.twin.configured.is_empty(),
                    false => stored.identity.id.module_str().is_none(),
                })
                .map(|stored| stored.identity.id.device_str())
                .filter(|device| is_after(device))
                .collect();
            devices.into_iter().take(request.devices).map(|device| state.device_twins(device)).collect()
        })
        .await
    }

    async fn sweep_position(&self) -> Result<Option<DeviceId>, StoreError> {
        self.read(|state| state.configurations.sweep_position.clone()).await
    }

    async fn save_sweep_position(&self, after: Option<&DeviceId>) -> Result<(), StoreError> {
        self.write(|state| state.configurations.sweep_position = after.cloned()).await
    }
}
