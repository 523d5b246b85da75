//! Devices and modules.

pub(super) mod bulk;
pub(super) mod devices;
pub(super) mod keys;
pub(super) mod modules;
pub(super) mod statistics;
