//! The part of the store port that keeps certificate authorities.

use async_trait::async_trait;

use crate::store_error::StoreError;

/// A certificate authority (CA) for devices as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAuthority {
    /// The name that the operator gave it.
    pub name: String,
    /// The CA certificate, DER.
    pub certificate: Vec<u8>,
    /// Whether its owner proved possession of the private key. An unverified CA is not trusted.
    pub verified: bool,
    /// The verification code that the pending proof of possession must contain.
    pub verification_code: Option<String>,
}

/// The outcome of deleting a certificate authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeleteAuthorityOutcome {
    /// It is deleted.
    Deleted,
    /// It does not exist.
    NotFound,
}

/// Certificate authorities of devices.
#[async_trait]
pub trait AuthorityStore: Send + Sync + 'static {
    /// Returns all certificate authorities, sorted by name.
    async fn authorities(&self) -> Result<Vec<StoredAuthority>, StoreError>;

    /// Adds or replaces a certificate authority.
    async fn save_authority(&self, authority: &StoredAuthority) -> Result<(), StoreError>;

    /// Deletes a certificate authority.
    async fn delete_authority(&self, name: &str) -> Result<DeleteAuthorityOutcome, StoreError>;
}
