//! Identities, common to devices and modules: reading, creating, changing and deleting them.

use std::sync::Arc;

use ferrohub_model::{ErrorCode, HubError, IdentityId, KeyFingerprint, Timestamp};
use tracing::info;

use crate::close_reason::CloseReason;
use crate::hub::Hub;
use crate::node::Selector;
use crate::registry::{
    Identity, IfMatch, close_reason_for_update, is_system_module, system_module_ids, system_modules,
};
use crate::store::{Change, ChangeGroup, Refusal, Refused, store_failed};
use crate::telemetry::{EventSource, HubEvent};
use crate::twins::TwinDocument;
use crate::uncancelled::run_uncancelled;

/// The maximum number of attempts of an update with `If-Match: *` when concurrent writes conflict with it.
const MAX_TRIES: usize = 16;

/// Returns the error for a device or module that does not exist.
pub(crate) fn not_found(id: &IdentityId) -> HubError {
    let device = id.device_str();
    match id.module_str() {
        Some(module) => HubError::new(
            ErrorCode::ModuleNotFound,
            format!("There is no module {module} on device {device}."),
        ),
        None => HubError::new(ErrorCode::DeviceNotFound, format!("There is no device {device}.")),
    }
}

/// Returns the error for an identity that exists already.
pub(crate) fn already_exists(id: &IdentityId) -> HubError {
    let device = id.device_str();
    match id.module_str() {
        Some(module) => HubError::new(
            ErrorCode::ModuleAlreadyExistsOnDevice,
            format!("The module {module} already exists on device {device}."),
        ),
        None => HubError::new(ErrorCode::DeviceAlreadyExists, format!("The device {device} already exists.")),
    }
}

/// Returns the error for an `If-Match` header that does not match the current etag.
pub(crate) fn wrong_etag() -> HubError {
    HubError::new(ErrorCode::PreconditionFailed, "Precondition failed: Invalid ETag")
}

/// Returns the error for a system module that cannot be created, deleted or changed in this way.
pub(crate) fn system_module_error(id: &IdentityId) -> HubError {
    let text = format!(
        "{id} is a system module of an edge device; it cannot be created or deleted separately, and the device can \
         replace only its keys."
    );
    HubError::new(ErrorCode::SystemModuleModifyUnauthorizedAccess, text)
}

/// Connections to close after a change of an identity.
pub(crate) enum CloseConnections {
    /// All connections of an identity.
    OfIdentity(IdentityId, CloseReason),
    /// The connection of the changed identity, if it authenticated with this key.
    UsingKey(KeyFingerprint),
}

/// Returns the connections that an update must close.
pub(super) fn connections_to_close(old: &Identity, new: &Identity) -> Vec<CloseConnections> {
    let of_identity = close_reason_for_update(old, new);
    let mut to_close: Vec<CloseConnections> =
        of_identity.map(|reason| CloseConnections::OfIdentity(new.id.clone(), reason)).into_iter().collect();
    if old.iot_edge && !new.iot_edge {
        let of_module = |module| CloseConnections::OfIdentity(module, CloseReason::Deleted);
        to_close.extend(system_module_ids(&new.id).into_iter().map(of_module));
    }
    to_close
}

/// Returns the changes of the system modules that belong to the change of a device. `old` is `None` for a new device.
pub(super) fn system_module_changes(old: Option<&Identity>, new: &Identity, now: Timestamp) -> Vec<Change> {
    match (old.is_some_and(|old| old.iot_edge), new.iot_edge) {
        (false, true) => system_modules(&new.id, now).into_iter().map(Change::EnsureModule).collect(),
        (true, false) => system_module_ids(&new.id).into_iter().map(Change::EnsureNoModule).collect(),
        (true, true) | (false, false) => Vec::new(),
    }
}

impl Hub {
    pub(crate) async fn identity(&self, id: &IdentityId) -> Result<Identity, HubError> {
        self.store.identity(id).await.map_err(store_failed)?.ok_or_else(|| not_found(id))
    }

    /// Creates an identity (`if_match` is `None`) or updates an existing one. `apply` builds the new identity from the
    /// current one.
    pub(crate) async fn put_identity(
        self: &Arc<Self>,
        id: &IdentityId,
        if_match: Option<&IfMatch>,
        apply: impl Fn(Option<&Identity>, Timestamp) -> Result<Identity, HubError>,
    ) -> Result<Identity, HubError> {
        match if_match {
            None => {
                let identity = apply(None, self.clock.now())?;
                self.check_parent(&identity, None).await?;
                let hub = self.clone();
                run_uncancelled(&self.metrics.panics, async move { hub.create_identity(identity).await })
                    .await
            }
            Some(if_match) => self.update_identity(id, if_match, apply).await,
        }
    }

    async fn create_identity(&self, identity: Identity) -> Result<Identity, HubError> {
        let id = &identity.id;
        let limit = self.limit_of(id);
        if is_system_module(id) {
            return Err(system_module_error(id));
        }
        let _order_lock = self.lock_event_order(EventSource::DeviceLifecycle, id).await;
        let mut changes = vec![Change::Create { identity: identity.clone(), limit }];
        changes.extend(system_module_changes(None, &identity, self.clock.now()));
        self.store.apply_group(ChangeGroup(changes)).await.map_err(store_failed)??;
        log_created(&identity);
        self.identity_created(&identity, &TwinDocument::default()).await;
        Ok(identity)
    }

    async fn update_identity(
        self: &Arc<Self>,
        id: &IdentityId,
        if_match: &IfMatch,
        apply: impl Fn(Option<&Identity>, Timestamp) -> Result<Identity, HubError>,
    ) -> Result<Identity, HubError> {
        let apply = |old: &Identity| {
            let new = apply(Some(old), self.clock.now())?;
            let to_close = connections_to_close(old, &new);
            Ok((new, to_close))
        };
        let new = self.replace_identity(id, if_match, apply).await?;
        info!(device = %id, status = new.status.name(), "identity changed");
        Ok(new)
    }

    /// Replaces an identity by the result of `apply`, and closes the connections that `apply` lists. Both happen even
    /// if the caller is cancelled in between.
    pub(crate) async fn replace_identity(
        self: &Arc<Self>,
        id: &IdentityId,
        if_match: &IfMatch,
        apply: impl Fn(&Identity) -> Result<(Identity, Vec<CloseConnections>), HubError>,
    ) -> Result<Identity, HubError> {
        for _ in 0..MAX_TRIES {
            let old = self.identity(id).await?;
            if !if_match.matches(&old.etag) {
                return Err(wrong_etag());
            }
            let (new, to_close) = apply(&old)?;
            self.check_parent(&new, Some(&old)).await?;
            let hub = self.clone();
            let written = run_uncancelled(&self.metrics.panics, async move {
                hub.write_and_close_connections(&old, new, to_close).await
            })
            .await?;
            match written {
                Ok(new) => return Ok(new),
                // A concurrent write changed the identity: read it again.
                Err(Refused { reason: Refusal::WrongEtag, .. }) => {}
                Err(refused) => return Err(refused.into()),
            }
        }
        Err(wrong_etag())
    }

    async fn write_and_close_connections(
        &self,
        old: &Identity,
        new: Identity,
        to_close: Vec<CloseConnections>,
    ) -> Result<Result<Identity, Refused>, HubError> {
        let mut changes = vec![Change::Update { identity: new.clone(), expected_etag: old.etag.clone() }];
        changes.extend(system_module_changes(Some(old), &new, self.clock.now()));
        if let Err(refused) = self.store.apply_group(ChangeGroup(changes)).await.map_err(store_failed)? {
            return Ok(Err(refused));
        }
        self.configurations.identity_changed(&new.id);
        self.close_connections(&new.id, to_close).await;
        Ok(Ok(new))
    }

    /// Closes the connections that an update of this identity ends.
    pub(super) async fn close_connections(&self, id: &IdentityId, to_close: Vec<CloseConnections>) {
        for close in to_close {
            match close {
                CloseConnections::OfIdentity(id, reason) => {
                    self.bus.disconnect(&Selector::with_modules(&id), reason).await;
                }
                CloseConnections::UsingKey(key) => {
                    let selector = Selector::Key { identity: id.clone(), key };
                    self.bus.disconnect(&selector, CloseReason::CredentialChanged).await;
                }
            }
        }
    }

    /// Returns how many identities there may be that share a limit with this one: all devices, or the modules of its device.
    pub(super) fn limit_of(&self, id: &IdentityId) -> u64 {
        if id.module_str().is_some() { self.limits.modules_per_device } else { self.limits.devices }
    }

    /// Deletes an identity with its modules and all their data, and closes their connections.
    pub(crate) async fn delete_identity(
        self: &Arc<Self>,
        id: &IdentityId,
        if_match: &IfMatch,
    ) -> Result<(), HubError> {
        let (hub, id, if_match) = (self.clone(), id.clone(), if_match.clone());
        run_uncancelled(&self.metrics.panics, async move { hub.delete_and_emit(&id, &if_match).await }).await
    }

    async fn delete_and_emit(&self, id: &IdentityId, if_match: &IfMatch) -> Result<(), HubError> {
        if is_system_module(id) {
            // If the module does not exist, the error is `ModuleNotFound`.
            self.identity(id).await?;
            return Err(system_module_error(id));
        }
        let expected_etag = match if_match {
            IfMatch::Any => None,
            IfMatch::Etag(etag) => Some(etag.clone()),
        };
        let _order_lock = self.lock_event_order(EventSource::DeviceLifecycle, id).await;
        let last_state = self.last_state(id).await?;
        let delete = Change::Delete { id: id.clone(), expected_etag };
        self.store.apply_group(delete.into()).await.map_err(store_failed)??;
        log_deleted(id);
        self.identity_deleted(id, last_state).await;
        Ok(())
    }

    /// Emits the event of a new identity. The caller holds the lock of the identity.
    pub(crate) async fn identity_created(&self, identity: &Identity, twin: &TwinDocument) {
        self.configurations.identity_changed(&identity.id);
        self.emit(identity, HubEvent::Created, || self.twin_body(identity, twin)).await;
    }

    /// Returns the state of an identity that is about to be deleted, if the event of its deletion needs it.
    pub(super) async fn last_state(
        &self,
        id: &IdentityId,
    ) -> Result<Option<(Identity, TwinDocument)>, HubError> {
        match self.emits(EventSource::DeviceLifecycle) {
            true => self.store.twin(id).await.map_err(store_failed),
            false => Ok(None),
        }
    }

    /// Closes the connections of a deleted identity, and emits its event. The caller holds the lock of the identity.
    pub(super) async fn identity_deleted(
        &self,
        id: &IdentityId,
        last_state: Option<(Identity, TwinDocument)>,
    ) {
        self.bus.disconnect(&Selector::with_modules(id), CloseReason::Deleted).await;
        self.jobs.device_changed(id);
        self.configurations.identity_changed(id);
        if let Some((identity, twin)) = last_state {
            self.emit(&identity, HubEvent::Deleted, || self.twin_body(&identity, &twin)).await;
        }
    }
}
/// Logs the creation of an identity. An import logs none of its identities.
pub(crate) fn log_created(identity: &Identity) {
    let authentication = identity.authentication.kind().name();
    info!(device = %identity.id, authentication, "identity created");
}

/// Logs the deletion of an identity.
pub(super) fn log_deleted(id: &IdentityId) {
    info!(device = %id, "identity deleted");
}
