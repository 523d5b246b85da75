//! The registry: devices and modules, and the rules for creating and changing them.

mod identity;
mod rules;

pub use identity::{Authentication, Identity, Thumbprint};
pub(crate) use rules::ends_connections;
pub use rules::{IfMatch, apply, fresh_etag, to_device};
