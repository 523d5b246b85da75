//! The registry: devices and modules, and the rules for creating and changing them.

mod authentication;
mod bulk;
mod change_key;
mod check_parent;
mod device;
mod edge;
mod etag;
mod identity;
mod manage_devices;
mod manage_modules;
mod module;
mod statistics;
mod store;
mod write_identity;

pub(crate) use authentication::{export_authentication, rotate_key, thumbprints};
pub(crate) use bulk::{CommitGroups, Item as RegistryChange, Settle, Settled};
pub use device::{apply_device, to_device};
pub(crate) use edge::{
    MAX_EDGE_LEVELS, device_of_scope, edge_module, invalid_scope, is_system_module, system_module_ids,
    system_modules,
};
pub use etag::IfMatch;
pub(crate) use etag::fresh_etag;
pub(crate) use identity::close_reason_for_update;
pub use identity::{Authentication, Identity, Thumbprint};
pub use manage_devices::DevicePage;
pub(crate) use module::{apply_module, to_module};
pub use store::{DeviceCounts, DeviceFilter, RegistryStore};
pub(crate) use write_identity::{
    CloseConnections, already_exists, log_created, not_found, system_module_error, wrong_etag,
};
