//! The identity registry: devices and modules.

mod devices;
mod identity;
mod modules;
mod transfer;

pub(crate) use devices::DeviceCommand;
pub(super) use devices::device_identity;
pub(super) use identity::{KeyArg, KeyName, connection_state, connection_string, time_or_never};
pub(crate) use modules::ModuleCommand;
