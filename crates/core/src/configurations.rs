//! Configurations (automatic device management): desired properties for all devices or modules that match a condition, and
//! deployments of modules to edge devices.
//!
//! * [`Content`] and [`TargetCondition`]: what a configuration sets, and for whom. Both are parsed once.
//! * `layers`: the rule that makes the desired properties of a twin from the configurations that it matches.
//! * `plan`: what all configurations mean for one device and its modules. It is a function of their twins.
//! * [`Configurations`]: the parsed configurations of this node, and the devices that must be evaluated.
//! * `evaluate`, `sweep`: the background task that evaluates devices whose twin changed, and all devices after a
//!   configuration changed and from time to time.
//! * `manage`, `apply_content`, `test_queries`, `metric_results`: the operations.
//! * [`ConfigurationStore`]: the port.
//!
//! What configurations have done to a twin is part of the twin ([`Configured`](crate::twins::Configured)): it is persisted
//! with the change itself, so a crash cannot separate the two.

mod apply_content;
mod condition;
mod content;
mod diff;
mod evaluate;
mod id;
mod layers;
mod limits;
mod manage;
mod metric_results;
mod path;
mod pending;
mod plan;
mod queries;
mod reads;
mod set;
mod store;
mod sweep;
mod test_queries;
mod transfer;
mod write;

pub use condition::TargetCondition;
pub use content::{Content, Setting};
pub use id::ConfigurationId;
pub use limits::ConfigurationLimits;
pub use path::SettingPath;
pub use pending::Configurations;
pub use plan::{DevicePlan, PlanLimits, TwinPlan, plan_device};
pub use set::{ConfigurationSet, ParsedConfiguration};
pub use store::{
    ConfigurationStore, CreateConfigurationOutcome, DeviceTwins, DeviceTwinsRequest, StoredConfiguration,
    WriteConfigurationOutcome,
};

use ferrohub_model::{ErrorCode, HubError};

fn not_found(id: &ConfigurationId) -> HubError {
    HubError::new(ErrorCode::ConfigurationNotFound, format!("There is no configuration {id}."))
}

fn invalid_content(text: impl Into<std::borrow::Cow<'static, str>>) -> HubError {
    HubError::new(ErrorCode::InvalidConfigurationContent, text)
}
