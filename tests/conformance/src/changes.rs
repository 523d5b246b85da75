//! Changes of identities and twins, one at a time.

use ferrohub_core::registry::Identity;
use ferrohub_core::store::{Applied, Change, ChangeGroup, Refusal, Refused, Store, StoreError};
use ferrohub_core::twins::{TwinChangeFn, TwinDocument};
use ferrohub_model::IdentityId;

/// Applies a group of changes, and returns why it was refused.
pub async fn apply(store: &dyn Store, changes: Vec<Change>) -> Result<Applied, Refusal> {
    let outcome = store.apply_group(ChangeGroup(changes)).await.unwrap();
    outcome.map_err(|Refused { reason, .. }| reason)
}

pub async fn try_create(store: &dyn Store, identity: &Identity, limit: u64) -> Result<(), StoreError> {
    let create = Change::Create { identity: identity.clone(), limit };
    store.apply_group(create.into()).await.map(|outcome| assert_eq!(outcome, Ok(Applied::default())))
}

pub async fn create(store: &dyn Store, identity: &Identity, limit: u64) -> Result<(), Refusal> {
    apply(store, vec![Change::Create { identity: identity.clone(), limit }]).await.map(drop)
}

pub async fn update(store: &dyn Store, identity: &Identity, etag: &str) -> Result<(), Refusal> {
    let change = Change::Update { identity: identity.clone(), expected_etag: etag.to_owned() };
    apply(store, vec![change]).await.map(drop)
}

pub async fn delete(store: &dyn Store, id: &IdentityId, etag: Option<&str>) -> Result<(), Refusal> {
    let change = Change::Delete { id: id.clone(), expected_etag: etag.map(str::to_owned) };
    apply(store, vec![change]).await.map(drop)
}

pub async fn change_twin(
    store: &dyn Store,
    id: &IdentityId,
    change: TwinChangeFn,
) -> Result<(Identity, TwinDocument), Refusal> {
    let mut applied = apply(store, vec![Change::Twin { id: id.clone(), change }]).await?;
    assert_eq!(applied.twins.len(), 1);
    Ok(applied.twins.remove(0))
}
