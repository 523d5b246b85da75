//! The part of the store port that keeps configurations, and reads the twins that they are applied to.

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ferrohub_model::DeviceId;
use ferrohub_model::configuration::Configuration;

use super::ConfigurationId;
use crate::registry::Identity;
use crate::store_error::StoreError;
use crate::twins::TwinDocument;

/// A configuration as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredConfiguration {
    /// The id.
    pub id: ConfigurationId,
    /// Larger than that of every configuration that was created before. It decides between equal priorities: times would
    /// not, because the clock can be set back.
    pub number: u64,
    /// New with each change, and never used again. The etag is derived from it.
    pub revision: u64,
    /// The configuration, with its times, and without results, system metrics and etag.
    pub configuration: Configuration,
}

impl StoredConfiguration {
    /// Returns the etag, without quotes.
    #[must_use]
    pub fn etag(&self) -> String {
        STANDARD.encode(self.revision.to_string())
    }
}

/// The outcome of the creation of a configuration.
#[derive(Debug, Clone, PartialEq)]
pub enum CreateConfigurationOutcome {
    /// It was created, and has this number and revision.
    Created(Box<StoredConfiguration>),
    /// There is one with this id.
    Exists,
    /// There are as many configurations as there may be.
    Full,
}

/// The outcome of a change or deletion of a configuration.
#[derive(Debug, Clone, PartialEq)]
pub enum WriteConfigurationOutcome {
    /// It was written. After a change, it has this revision.
    Written(Box<StoredConfiguration>),
    /// It has another revision.
    Changed,
    /// It does not exist.
    NotFound,
}

/// Which devices to read with their modules and twins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceTwinsRequest {
    /// Only devices whose id is after this one.
    pub after: Option<DeviceId>,
    /// Maximum number of devices.
    pub devices: usize,
    /// Only devices to whose twin, or to the twin of one of whose modules, configurations have done something.
    pub only_configured: bool,
}

/// A device and its modules with their twins; the device is the first.
pub type DeviceTwins = Vec<(Identity, TwinDocument)>;

/// Configurations.
#[async_trait]
pub trait ConfigurationStore: Send + Sync + 'static {
    /// Returns all configurations, sorted by id.
    async fn configurations(&self) -> Result<Vec<StoredConfiguration>, StoreError>;

    /// Adds a configuration, unless there are `limit`. The store sets its number and revision.
    async fn create_configuration(
        &self,
        id: &ConfigurationId,
        configuration: &Configuration,
        limit: usize,
    ) -> Result<CreateConfigurationOutcome, StoreError>;

    /// Replaces a configuration if it has this revision. The store sets the new revision; the number stays.
    async fn update_configuration(
        &self,
        id: &ConfigurationId,
        revision: u64,
        configuration: &Configuration,
    ) -> Result<WriteConfigurationOutcome, StoreError>;

    /// Deletes a configuration if it has this revision; `None`: any.
    async fn delete_configuration(
        &self,
        id: &ConfigurationId,
        revision: Option<u64>,
    ) -> Result<WriteConfigurationOutcome, StoreError>;

    /// Returns a device and its modules with their twins; empty if the device does not exist.
    async fn device_twins(&self, device: &DeviceId) -> Result<DeviceTwins, StoreError>;

    /// Returns devices in the order of their ids. There may be fewer than requested where twins are large; there are none
    /// only after the last device.
    async fn twins_of_devices(&self, request: &DeviceTwinsRequest) -> Result<Vec<DeviceTwins>, StoreError>;

    /// Returns where the last sweep over all devices stopped: after this device. `None` if it was complete.
    async fn sweep_position(&self) -> Result<Option<DeviceId>, StoreError>;

    /// Saves where the sweep over all devices is.
    async fn save_sweep_position(&self, after: Option<&DeviceId>) -> Result<(), StoreError>;
}
