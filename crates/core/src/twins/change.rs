//! Reading and changing twins, for services.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex as StdMutex, MutexGuard, PoisonError};

use ferrohub_model::twin::{Twin, TwinChange};
use ferrohub_model::{HubError, IdentityId, Timestamp};
use tokio::sync::Mutex;
use tracing::debug;

use crate::callers::ServiceCaller;
use crate::hub::Hub;
use crate::metrics::count;
use crate::node::DesiredNotice;
use crate::operations::Operation;
use crate::registry::{Identity, IfMatch, not_found, wrong_etag};
use crate::store::{Change, Refusal, store_failed};
use crate::telemetry::HubEvent;
use crate::twins::{TwinChangeFn, TwinDocument, TwinLimits, UpdateMode};
use crate::uncancelled::run_uncancelled;

/// Enough that writers of different twins rarely wait for each other.
const LOCK_STRIPES: usize = 1024;

/// Locks by identity, in stripes. A writer of desired properties holds the lock until the device is notified, so that a
/// device receives changes in the order in which they were made.
#[derive(Debug)]
pub(crate) struct IdentityLocks(Box<[Mutex<()>]>);

impl Default for IdentityLocks {
    fn default() -> Self {
        Self((0..LOCK_STRIPES).map(|_| Mutex::new(())).collect())
    }
}

impl IdentityLocks {
    pub(crate) fn get(&self, id: &IdentityId) -> Option<&Mutex<()>> {
        self.0.get(stripe(id))
    }

    /// Locks several identities. In the order of the stripes, so that two callers cannot wait for each other.
    pub(crate) async fn lock_all<'a>(
        &self,
        ids: impl Iterator<Item = &'a IdentityId>,
    ) -> Vec<tokio::sync::MutexGuard<'_, ()>> {
        let stripes: BTreeSet<usize> = ids.map(stripe).collect();
        let mut locked = Vec::with_capacity(stripes.len());
        for stripe in stripes {
            if let Some(lock) = self.0.get(stripe) {
                locked.push(lock.lock().await);
            }
        }
        locked
    }
}

fn stripe(id: &IdentityId) -> usize {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish() as usize % LOCK_STRIPES
}

/// A service's change of the tags and desired properties of a twin.
#[derive(Debug)]
pub(crate) struct ServiceUpdate {
    mode: UpdateMode,
    change: ChangeSource,
    /// The change as it was applied, if it is known only inside the transaction: with the properties of cleared sections, or
    /// derived from the twin.
    applied: Arc<StdMutex<Option<TwinChange>>>,
}

type DeriveChangeFn = dyn Fn(&TwinDocument) -> Result<TwinChange, HubError> + Send + Sync;

/// Where the change of an update comes from.
#[derive(Clone)]
enum ChangeSource {
    /// The request.
    Request(Arc<TwinChange>),
    /// The request and the twin.
    Twin(Arc<DeriveChangeFn>),
}

impl std::fmt::Debug for ChangeSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Request(change) => change.fmt(f),
            Self::Twin(_) => f.write_str("derived from the twin"),
        }
    }
}

impl ChangeSource {
    /// Returns the change if it does not depend on the twin.
    fn given(&self) -> Option<&TwinChange> {
        match self {
            Self::Request(change) => Some(change),
            Self::Twin(_) => None,
        }
    }

    fn change_of(&self, twin: &TwinDocument) -> Result<Cow<'_, TwinChange>, HubError> {
        match self {
            Self::Request(change) => Ok(Cow::Borrowed(change)),
            Self::Twin(derive) => derive(twin).map(Cow::Owned),
        }
    }
}

impl ServiceUpdate {
    pub(crate) fn new(mode: UpdateMode, change: TwinChange) -> Self {
        Self { mode, change: ChangeSource::Request(Arc::new(change)), applied: Arc::default() }
    }

    /// Returns a merge of what `derive` makes of the twin, in the transaction of the change.
    pub(crate) fn derived(
        derive: impl Fn(&TwinDocument) -> Result<TwinChange, HubError> + Send + Sync + 'static,
    ) -> Self {
        let change = ChangeSource::Twin(Arc::new(derive));
        Self { mode: UpdateMode::Merge, change, applied: Arc::default() }
    }

    /// Returns the function that the store runs.
    pub(crate) fn change_fn(&self, if_match: IfMatch, now: Timestamp, limits: TwinLimits) -> TwinChangeFn {
        let (mode, change, applied) = (self.mode, self.change.clone(), self.applied.clone());
        Box::new(move |twin| {
            if !if_match.matches(&twin.etag()) {
                return Err(wrong_etag());
            }
            let change = change.change_of(twin)?;
            let new = twin.with_change(mode, &change, now, &limits)?;
            *lock(&applied) = match (twin.expanded(&change), &change) {
                (Cow::Owned(expanded), _) => Some(expanded),
                (Cow::Borrowed(_), Cow::Borrowed(_)) => None,
                (Cow::Borrowed(_), Cow::Owned(derived)) => Some(derived.clone()),
            };
            Ok(new)
        })
    }
}

fn lock<T>(mutex: &StdMutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ServiceCaller {
    /// Returns a twin.
    ///
    /// # Errors
    ///
    /// `DeviceNotFound` or `ModuleNotFound`.
    pub async fn get_twin(&self, id: &IdentityId) -> Result<Twin, HubError> {
        let hub = self.permit(Operation::GetTwin)?;
        let found = hub.store.twin(id).await.map_err(store_failed)?;
        let (identity, twin) = found.ok_or_else(|| not_found(id))?;
        count(&hub.metrics.twin_operations, "read_by_service");
        Ok(hub.present_twin(&identity, &twin))
    }

    /// Merges a change into a twin, and notifies the device if its desired properties change. Runs to completion even if
    /// the caller is cancelled.
    pub async fn patch_twin(
        &self,
        id: &IdentityId,
        change: TwinChange,
        if_match: IfMatch,
    ) -> Result<Twin, HubError> {
        let hub = self.permit(Operation::PatchTwin)?;
        hub.change_twin(id, ServiceUpdate::new(UpdateMode::Merge, change), if_match).await
    }

    /// Replaces the tags and desired properties of a twin, and notifies the device. Runs to completion even if the caller
    /// is cancelled.
    pub async fn put_twin(
        &self,
        id: &IdentityId,
        change: TwinChange,
        if_match: IfMatch,
    ) -> Result<Twin, HubError> {
        let hub = self.permit(Operation::PutTwin)?;
        hub.change_twin(id, ServiceUpdate::new(UpdateMode::Replace, change), if_match).await
    }
}

impl Hub {
    /// Changes a twin, and notifies the device if its desired properties change. Runs to completion even if the caller is
    /// cancelled.
    pub(crate) async fn change_twin(
        self: &Arc<Self>,
        id: &IdentityId,
        update: ServiceUpdate,
        if_match: IfMatch,
    ) -> Result<Twin, HubError> {
        let (hub, id) = (self.clone(), id.clone());
        run_uncancelled(&self.metrics.panics, async move { hub.change_and_emit(&id, update, if_match).await })
            .await
    }

    async fn change_and_emit(
        &self,
        id: &IdentityId,
        update: ServiceUpdate,
        if_match: IfMatch,
    ) -> Result<Twin, HubError> {
        let _order_lock = match self.identity_locks.get(id) {
            Some(lock) => Some(lock.lock().await),
            None => None,
        };
        let change = update.change_fn(if_match, self.clock.now(), self.limits.twins.clone());
        let (identity, twin) = self.change_document(id, change).await?;
        self.updated_by_service(&update, &identity, &twin).await;
        Ok(self.present_twin(&identity, &twin))
    }

    /// Notifies the device of an update that is persisted, and emits its event. The caller holds the lock of the identity.
    pub(crate) async fn updated_by_service(
        &self,
        update: &ServiceUpdate,
        identity: &Identity,
        twin: &TwinDocument,
    ) {
        let applied = lock(&update.applied).take();
        let Some(change) = applied.as_ref().or(update.change.given()) else { return };
        count(&self.metrics.twin_operations, "changed_by_service");
        self.twin_changed(update.mode, change, identity, twin).await;
        self.configurations.twin_changed(&identity.id, update.mode, change);
    }

    /// Notifies the device of a change that is persisted, and emits its event. `change` is expanded by the twin before the
    /// change. The caller holds the lock of the identity.
    pub(crate) async fn twin_changed(
        &self,
        mode: UpdateMode,
        change: &TwinChange,
        identity: &Identity,
        twin: &TwinDocument,
    ) {
        let id = &identity.id;
        debug!(device = %id, version = twin.version(), "twin changed");
        if let Some(patch) = twin.desired_notice(mode, change) {
            let patch = serde_json::to_vec(&patch).unwrap_or_default().into();
            self.bus.notify_desired(id, DesiredNotice { version: twin.desired.version, patch }).await;
        }
        match mode {
            UpdateMode::Merge => {
                self.emit(identity, HubEvent::TwinUpdated, || twin.change_event_body(change).into()).await;
            }
            UpdateMode::Replace => {
                self.emit(identity, HubEvent::TwinReplaced, || self.twin_body(identity, twin)).await;
            }
        }
    }

    /// Records the model id that a device sent, if it is not the recorded one.
    pub(crate) async fn record_model_id(&self, id: &IdentityId, model_id: &str) -> Result<(), HubError> {
        let found = self.store.twin(id).await.map_err(store_failed)?;
        if found.is_none_or(|(_, twin)| twin.model_id == model_id) {
            return Ok(());
        }
        let model_id = model_id.to_owned();
        let change =
            move |twin: &TwinDocument| Ok(TwinDocument { model_id: model_id.clone(), ..twin.clone() });
        self.change_document(id, Box::new(change)).await.map(drop)
    }

    pub(super) async fn change_document(
        &self,
        id: &IdentityId,
        change: TwinChangeFn,
    ) -> Result<(Identity, TwinDocument), HubError> {
        let change = Change::Twin { id: id.clone(), change };
        let refused = match self.store.apply_group(change.into()).await.map_err(store_failed)? {
            Ok(mut applied) => return applied.twins.pop().ok_or_else(|| not_found(id)),
            Err(refused) => refused,
        };
        let is_refused_by_rule = matches!(refused.reason, Refusal::Twin(_));
        let error = HubError::from(refused);
        if is_refused_by_rule {
            count(&self.metrics.twin_operations, "refused");
            debug!(device = %id, %error, "twin update rejected");
        }
        Err(error)
    }

    /// Returns the full twin as the body of an event.
    pub(crate) fn twin_body(&self, identity: &Identity, twin: &TwinDocument) -> serde_json::Value {
        serde_json::to_value(self.present_twin(identity, twin)).unwrap_or_default()
    }

    pub(crate) fn present_twin(&self, identity: &Identity, twin: &TwinDocument) -> Twin {
        let (identity, connected) = self.with_current_activity(identity);
        twin.for_service(&identity, connected)
    }
}
