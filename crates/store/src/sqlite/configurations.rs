//! Configurations.

use async_trait::async_trait;
use ferrohub_core::configurations::{
    ConfigurationId, ConfigurationStore, CreateConfigurationOutcome, DeviceTwins, DeviceTwinsRequest,
    StoredConfiguration, WriteConfigurationOutcome,
};
use ferrohub_core::store::StoreError;
use ferrohub_model::DeviceId;
use ferrohub_model::configuration::Configuration;

use super::SqliteStore;
use crate::statements;

#[async_trait]
impl ConfigurationStore for SqliteStore {
    async fn configurations(&self) -> Result<Vec<StoredConfiguration>, StoreError> {
        self.readers.read(statements::configurations).await
    }

    async fn create_configuration(
        &self,
        id: &ConfigurationId,
        configuration: &Configuration,
        limit: usize,
    ) -> Result<CreateConfigurationOutcome, StoreError> {
        let (id, configuration) = (id.clone(), configuration.clone());
        self.writer.write(move |db| statements::create_configuration(db, &id, &configuration, limit)).await
    }

    async fn update_configuration(
        &self,
        id: &ConfigurationId,
        revision: u64,
        configuration: &Configuration,
    ) -> Result<WriteConfigurationOutcome, StoreError> {
        let (id, configuration) = (id.clone(), configuration.clone());
        self.writer.write(move |db| statements::update_configuration(db, &id, revision, &configuration)).await
    }

    async fn delete_configuration(
        &self,
        id: &ConfigurationId,
        revision: Option<u64>,
    ) -> Result<WriteConfigurationOutcome, StoreError> {
        let id = id.clone();
        self.writer.write(move |db| statements::delete_configuration(db, &id, revision)).await
    }

    async fn device_twins(&self, device: &DeviceId) -> Result<DeviceTwins, StoreError> {
        let device = device.clone();
        self.readers.read_inline(move |db| statements::device_twins(db, &device)).await
    }

    async fn twins_of_devices(&self, request: &DeviceTwinsRequest) -> Result<Vec<DeviceTwins>, StoreError> {
        let request = request.clone();
        // Like a query, it reads many rows: other reads do not wait for it.
        self.query_readers.read(move |db| statements::twins_of_devices(db, &request)).await
    }

    async fn sweep_position(&self) -> Result<Option<DeviceId>, StoreError> {
        self.readers.read(statements::sweep_position).await
    }

    async fn save_sweep_position(&self, after: Option<&DeviceId>) -> Result<(), StoreError> {
        let after = after.cloned();
        self.writer.write(move |db| statements::save_sweep_position(db, after.as_ref())).await
    }
}
