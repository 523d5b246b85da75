//! Messages to devices, and feedback on them.

pub(super) mod device;
pub(super) mod service;
