//! What Entra tokens need of the network: the keys of issuers, and an issuer inside the hub for development.

mod development;
mod discovery;

pub use development::{DevelopmentCredentials, DevelopmentIssuer};
pub use discovery::{Discovery, DiscoveryError};
