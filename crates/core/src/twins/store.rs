//! The part of the store port that reads twins. They change in [groups](crate::store::ChangeGroup).

use async_trait::async_trait;
use ferrohub_model::{HubError, IdentityId};

use super::TwinDocument;
use crate::registry::Identity;
use crate::store_error::StoreError;

/// Computes the new twin from the stored one, or returns why the change is refused. It may be called more than once.
pub type TwinChangeFn = Box<dyn Fn(&TwinDocument) -> Result<TwinDocument, HubError> + Send>;

/// Twins.
#[async_trait]
pub trait TwinStore: Send + Sync + 'static {
    /// Returns an identity and its twin. A twin that was never changed is the default.
    async fn twin(&self, id: &IdentityId) -> Result<Option<(Identity, TwinDocument)>, StoreError>;
}
