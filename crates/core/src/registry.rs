//! The registry: devices and modules, and the rules for creating and changing them.

mod authentication;
mod device;
mod etag;
mod identity;
mod module;

pub(crate) use authentication::thumbprints;
pub use device::{apply_device, to_device};
pub use etag::IfMatch;
pub(crate) use identity::ends_connections;
pub use identity::{Authentication, Identity, Thumbprint};
pub(crate) use module::{apply_module, to_module};
