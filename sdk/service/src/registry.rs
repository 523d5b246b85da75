//! The identity registry: devices, modules and their numbers.

mod bulk;
mod devices;
mod modules;
mod statistics;

pub use devices::DeviceQuery;
