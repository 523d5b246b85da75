//! Writes the items of a bulk request, and does what follows: connections, notifications, events.

use async_trait::async_trait;
use ferrohub_model::bulk::{BulkError, ImportMode};
use ferrohub_model::{HubError, IdentityId};
use futures_util::future::join_all;
use tracing::info;

use super::bulk_error;
use super::item::{Intent, Item};
use crate::hub::Hub;
use crate::registry::write_identity::{
    connections_to_close, log_created, log_deleted, system_module_changes,
};
use crate::registry::{Identity, IfMatch, not_found};
use crate::store::{Applied, Change, ChangeGroup, Outcomes, Refusal, Refused, Store, store_failed};
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

impl Outcome {
    fn log(&self, id: &IdentityId) {
        match self {
            Self::Created(identity) => log_created(identity),
            Self::Updated(identities, _) => {
                info!(device = %id, status = identities.1.status.name(), "identity changed");
            }
            Self::Deleted(_) => log_deleted(id),
            Self::TwinUpdated(_) => {}
        }
    }
}

/// Items of a page that are done or failed: their numbers, and the errors of those that failed.
#[derive(Debug, Default)]
pub(crate) struct Settled {
    pub(crate) numbers: Vec<usize>,
    pub(crate) errors: Vec<BulkError>,
}

impl Settled {
    pub(crate) fn push_failed(&mut self, number: usize, error: BulkError) {
        self.numbers.push(number);
        self.errors.push(error);
    }
}

/// Returns what a commit has settled, by the outcomes of its groups.
pub(crate) type Settle = Box<dyn FnOnce(&[Result<Applied, Refused>]) -> Settled + Send>;

/// How the groups of a page are written.
#[async_trait]
pub(crate) trait CommitGroups: Send {
    /// Writes the groups in one commit, together with what `settle` returns if the writer keeps a record.
    async fn commit(&mut self, groups: Vec<ChangeGroup>, settle: Settle) -> Result<Outcomes, HubError>;

    /// Returns whether a commit also records the items that it refuses.
    fn records_refusals(&self) -> bool;

    /// Returns whether each item is logged.
    fn logs_items(&self) -> bool;
}

/// Writes the groups alone.
struct PlainCommit<'a>(&'a dyn Store);

#[async_trait]
impl CommitGroups for PlainCommit<'_> {
    async fn commit(&mut self, groups: Vec<ChangeGroup>, _: Settle) -> Result<Outcomes, HubError> {
        self.0.apply(groups).await.map_err(store_failed)
    }

    fn records_refusals(&self) -> bool {
        false
    }

    fn logs_items(&self) -> bool {
        true
    }
}

impl Hub {
    /// Applies items, devices before modules. Returns the errors of those that failed.
    pub(super) async fn apply_items(&self, items: Vec<Item>) -> Vec<BulkError> {
        let (devices, modules) = items.into_iter().partition(|item| item.id.module_str().is_none());
        let mut commit = PlainCommit(&*self.store);
        let mut errors = self.apply_together(devices, &mut commit).await.errors;
        errors.extend(self.apply_together(modules, &mut commit).await.errors);
        errors
    }

    /// Applies items in one commit. Tries those again whose identity was changed by somebody else meanwhile. Returns the items
    /// that failed, without those that a commit has recorded.
    pub(crate) async fn apply_together(
        &self,
        mut items: Vec<Item>,
        commit: &mut dyn CommitGroups,
    ) -> Settled {
        let mut settled = Settled::default();
        let ids: Vec<IdentityId> = items.iter().map(|item| item.id.clone()).collect();
        // Keeps the order of notifications and events, as for a single change.
        let _order_locks = self.identity_locks.lock_all(ids.iter()).await;
        for tries_left in (0..MAX_TRIES).rev() {
            let (mut outcomes, mut groups) = (Vec::new(), Vec::new());
            for item in std::mem::take(&mut items) {
                let number = item.number;
                match self.prepare(item).await {
                    Ok(Prepared { item, changes, outcome }) => {
                        groups.push(ChangeGroup(changes));
                        outcomes.push((item, outcome));
                    }
                    Err(error) => settled.push_failed(number, error),
                }
            }
            if groups.is_empty() {
                break;
            }
            let labels: Vec<Label> = outcomes.iter().map(|(item, _)| Label::of(item)).collect();
            let settle = {
                let labels = labels.clone();
                Box::new(move |outcomes: &[Result<Applied, Refused>]| settle(&labels, outcomes, tries_left))
            };
            let written = match commit.commit(groups, settle).await {
                Ok(written) => written,
                Err(error) => {
                    for label in &labels {
                        settled.push_failed(label.number, label.failed(&error));
                    }
                    break;
                }
            };
            // Together, so that their events share commits.
            let mut finished = Vec::new();
            for (((item, outcome), label), written) in outcomes.into_iter().zip(labels).zip(written) {
                match written {
                    Ok(applied) => {
                        if commit.logs_items() {
                            outcome.log(&item.id);
                        }
                        finished.push(self.finish(item.id, outcome, applied));
                    }
                    Err(refused) if tries_left > 0 && label.is_outdated(&refused) => items.push(item),
                    Err(_) if commit.records_refusals() => {}
                    Err(refused) => settled.push_failed(label.number, label.failed(&refused.into())),
                }
            }
            join_all(finished).await;
        }
        settled
    }

    async fn prepare(&self, item: Item) -> Result<Prepared, BulkError> {
        match self.prepare_changes(&item).await {
            Ok((changes, outcome)) => Ok(Prepared { item, changes, outcome }),
            Err(error) => Err(Label::of(&item).failed(&error)),
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
                self.configurations.identity_changed(&new.id);
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

/// What an item is called in errors and records.
#[derive(Debug, Clone)]
struct Label {
    number: usize,
    id: IdentityId,
    mode: ImportMode,
    is_unconditional: bool,
}

impl Label {
    fn of(item: &Item) -> Self {
        let Item { number, id, mode, .. } = item;
        Self { number: *number, id: id.clone(), mode: *mode, is_unconditional: item.is_unconditional() }
    }

    /// Returns whether the item was refused because its identity changed after it was read.
    fn is_outdated(&self, refused: &Refused) -> bool {
        self.is_unconditional
            && matches!(refused.reason, Refusal::WrongEtag | Refusal::Exists | Refusal::NotFound)
    }

    fn failed(&self, error: &HubError) -> BulkError {
        bulk_error(&self.id, self.mode.name(), error)
    }
}

/// Returns the items of a commit that are done or failed, and need no other try.
fn settle(labels: &[Label], outcomes: &[Result<Applied, Refused>], tries_left: usize) -> Settled {
    let mut settled = Settled::default();
    for (label, outcome) in labels.iter().zip(outcomes) {
        match outcome {
            Ok(_) => settled.numbers.push(label.number),
            Err(refused) if tries_left > 0 && label.is_outdated(refused) => {}
            Err(refused) => settled.push_failed(label.number, label.failed(&refused.clone().into())),
        }
    }
    settled
}
