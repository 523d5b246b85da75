//! Network part of Entra authentication: discovery of issuer keys, and a development issuer inside the hub.

mod development;
mod discovery;

pub use development::{DevelopmentCredentials, DevelopmentIssuer};
pub use discovery::{DiscoveryError, OidcDiscovery};
