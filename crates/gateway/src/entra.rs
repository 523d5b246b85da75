//! The network part of Entra authentication: discovery of issuers' keys.

mod discovery;

pub use discovery::{DiscoveryError, OidcDiscovery};
