//! Writes the items of a bulk request, and does what follows: connections, notifications, events.

use ferrohub_model::bulk::{BulkError, ImportMode};
use ferrohub_model::{HubError, IdentityId};
use futures_util::future::join_all;
use tracing::info;

use super::bulk_error;
use super::item::{Intent, Item};
use crate::hub::Hub;
use crate::registry::write_identity::{connections_to_close, system_module_changes};
use crate::registry::{Identity, IfMatch, not_found};
use crate::store::{Applied, Change, ChangeGroup, Refusal, Refused, store_failed};
use crate::twins::{ServiceUpdate, TwinDocument, UpdateMode};

/// The maximum number of attempts of an item without a condition when concurrent writes conflict with it.
const MAX_TRIES: usize = 16;

/// The changes of an item, and what follows once they are persisted.
struct Prepared {
    item: Item,
    changes: Vec<Change>,
    outcome: Outcome,
}

/// What an item has done.
enum Outcome {
    Created(Box<Identity>),
    Updated(Box<(Identity, Identity)>, Option<ServiceUpdate>),
    /// The last state, if an event is emitted.
    Deleted(Option<Box<(Identity, TwinDocument)>>),
    TwinUpdated(ServiceUpdate),
}

impl Hub {
    /// Applies items, devices before modules. Returns the errors of those that failed.
    pub(super) async fn apply_items(&self, items: Vec<Item>) -> Vec<BulkError> {
        let (devices, modules) = items.into_iter().partition(|item| item.id.module_str().is_none());
        let mut errors = self.apply_together(devices).await;
        errors.extend(self.apply_together(modules).await);
        errors
    }

    /// Applies items in one commit. Tries those again whose identity was changed by somebody else meanwhile.
    async fn apply_together(&self, mut items: Vec<Item>) -> Vec<BulkError> {
        let mut errors = Vec::new();
        let ids: Vec<IdentityId> = items.iter().map(|item| item.id.clone()).collect();
        // Keeps the order of notifications and events, as for a single change.
        let _order_locks = self.identity_locks.lock_all(ids.iter()).await;
        for tries_left in (0..MAX_TRIES).rev() {
            let (mut outcomes, mut groups) = (Vec::new(), Vec::new());
            for item in std::mem::take(&mut items) {
                match self.prepare(item).await {
                    Ok(Prepared { item, changes, outcome }) => {
                        groups.push(ChangeGroup(changes));
                        outcomes.push((item, outcome));
                    }
                    Err(error) => errors.push(error),
                }
            }
            if groups.is_empty() {
                break;
            }
            let written = match self.store.apply(groups).await.map_err(store_failed) {
                Ok(written) => written,
                Err(error) => {
                    errors.extend(outcomes.iter().map(|(item, _)| failed(item, &error)));
                    break;
                }
            };
            // Together, so that their events share commits.
            let mut finished = Vec::new();
            for ((item, outcome), written) in outcomes.into_iter().zip(written) {
                match written {
                    Ok(applied) => finished.push(self.finish(item.id, outcome, applied)),
                    Err(refused) if tries_left > 0 && is_outdated(&item, &refused) => items.push(item),
                    Err(refused) => errors.push(failed(&item, &refused.into())),
                }
            }
            join_all(finished).await;
        }
        errors
    }

    async fn prepare(&self, item: Item) -> Result<Prepared, BulkError> {
        match self.prepare_changes(&item).await {
            Ok((changes, outcome)) => Ok(Prepared { item, changes, outcome }),
            Err(error) => Err(failed(&item, &error)),
        }
    }

    async fn prepare_changes(&self, item: &Item) -> Result<(Vec<Change>, Outcome), HubError> {
        let (id, now) = (&item.id, self.clock.now());
        let old = self.store.identity(id).await.map_err(store_failed)?;
        let twin_update = |change, if_match| {
            let update = ServiceUpdate::new(update_mode(item.mode), change);
            let change = update.change_fn(if_match, now, self.limits.twins.clone());
            (Change::Twin { id: id.clone(), change }, update)
        };
        let with_twin = |changes: &mut Vec<Change>, change: Option<_>| {
            change.map(|change| {
                let (change, update) = twin_update(change, IfMatch::Any);
                changes.push(change);
                update
            })
        };
        match item.intent(old.as_ref(), now)? {
            Intent::Create(identity, twin) => {
                self.check_parent(&identity, None).await?;
                let mut changes =
                    vec![Change::Create { identity: identity.clone(), limit: self.limit_of(id) }];
                changes.extend(system_module_changes(None, &identity, now));
                with_twin(&mut changes, twin);
                Ok((changes, Outcome::Created(Box::new(identity))))
            }
            Intent::Update(identity, twin) => {
                let old = old.ok_or_else(|| not_found(id))?;
                self.check_parent(&identity, Some(&old)).await?;
                let expected_etag = old.etag.clone();
                let mut changes = vec![Change::Update { identity: identity.clone(), expected_etag }];
                changes.extend(system_module_changes(Some(&old), &identity, now));
                let update = with_twin(&mut changes, twin);
                Ok((changes, Outcome::Updated(Box::new((old, identity)), update)))
            }
            Intent::Delete(expected_etag) => {
                let last_state = self.last_state(id).await?.map(Box::new);
                Ok((vec![Change::Delete { id: id.clone(), expected_etag }], Outcome::Deleted(last_state)))
            }
            Intent::Twin(change, if_match) => {
                let (change, update) = twin_update(change, if_match);
                Ok((vec![change], Outcome::TwinUpdated(update)))
            }
        }
    }

    async fn finish(&self, id: IdentityId, outcome: Outcome, mut applied: Applied) {
        let twin = applied.twins.pop();
        match outcome {
            Outcome::Created(identity) => {
                let twin = twin.map(|(_, twin)| twin).unwrap_or_default();
                self.identity_created(&identity, &twin).await;
            }
            Outcome::Updated(identities, update) => {
                let (old, new) = *identities;
                info!(device = %id, status = new.status.name(), "identity changed");
                self.close_connections(&new.id, connections_to_close(&old, &new)).await;
                if let (Some(update), Some((identity, twin))) = (update, twin) {
                    self.updated_by_service(&update, &identity, &twin).await;
                }
            }
            Outcome::Deleted(last_state) => self.identity_deleted(&id, last_state.map(|state| *state)).await,
            Outcome::TwinUpdated(update) => {
                if let Some((identity, twin)) = twin {
                    self.updated_by_service(&update, &identity, &twin).await;
                }
            }
        }
    }
}

/// Returns how an item of this mode changes the twin: one with the settings of an identity replaces the sections that it has.
fn update_mode(mode: ImportMode) -> UpdateMode {
    match mode {
        ImportMode::UpdateTwin | ImportMode::UpdateTwinIfMatchEtag => UpdateMode::Merge,
        _ => UpdateMode::Replace,
    }
}

/// Returns whether the item was refused because its identity changed after it was read.
fn is_outdated(item: &Item, refused: &Refused) -> bool {
    item.is_unconditional()
        && matches!(refused.reason, Refusal::WrongEtag | Refusal::Exists | Refusal::NotFound)
}

fn failed(item: &Item, error: &HubError) -> BulkError {
    bulk_error(&item.id, item.mode.name(), error)
}
