//! What devices and modules have in common: how an identity is read, created, changed and deleted.

use std::sync::Arc;

use ferrohub_model::{ErrorCode, HubError, IdentityId, KeyFingerprint, Timestamp};
use tracing::info;

use super::emit::run_uncancelled;
use super::{Hub, store_failed};
use crate::connections::CloseReason;
use crate::events::{EventSource, HubEvent};
use crate::registry::{
    Identity, IfMatch, close_reason_for_update, is_system_module, system_module_ids, system_modules,
};
use crate::store::{ModuleChange, WriteOutcome};
use crate::twins::TwinDocument;

/// How often an update whose caller does not care for the etag is tried again when others write between.
const MAX_TRIES: usize = 16;

/// No such device or module.
pub(super) fn not_found(id: &IdentityId) -> HubError {
    let code = if id.module_str().is_some() { ErrorCode::ModuleNotFound } else { ErrorCode::DeviceNotFound };
    HubError::new(code, id.to_string())
}

/// If-Match names another etag.
pub(super) fn wrong_etag() -> HubError {
    HubError::new(ErrorCode::PreconditionFailed, "Precondition failed: Invalid ETag")
}

fn system_module_error(id: &IdentityId) -> HubError {
    let text = format!("{id} comes and goes with the device's being an edge device, and not by itself.");
    HubError::new(ErrorCode::SystemModuleModifyUnauthorizedAccess, text)
}

/// Connections that a change of an identity ends.
pub(super) enum CloseConnections {
    /// All of an identity.
    OfIdentity(IdentityId, CloseReason),
    /// That of the changed identity, if it authenticated with this key.
    UsingKey(KeyFingerprint),
}

impl Hub {
    pub(super) async fn identity(&self, id: &IdentityId) -> Result<Identity, HubError> {
        self.store.identity(id).await.map_err(store_failed)?.ok_or_else(|| not_found(id))
    }

    /// Creates an identity (no `if_match`) or changes one. `apply` makes it, from the one that is there.
    pub(super) async fn put_identity(
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
                run_uncancelled(async move { hub.create_identity(identity).await }).await
            }
            Some(if_match) => self.update_identity(id, if_match, apply).await,
        }
    }

    async fn create_identity(&self, identity: Identity) -> Result<Identity, HubError> {
        let id = &identity.id;
        let is_module = id.module_str().is_some();
        let limit = if is_module { self.limits.modules_per_device } else { self.limits.devices };
        if is_system_module(id) {
            return Err(system_module_error(id));
        }
        let _order_lock = self.lock_event_order(EventSource::DeviceLifecycle, id).await;
        let written = if identity.iot_edge {
            let modules = system_modules(id, self.clock.now());
            self.store.create_device(&identity, &modules, limit).await
        } else {
            self.store.create_identity(&identity, limit).await
        };
        match written.map_err(store_failed)? {
            WriteOutcome::Done => {
                info!(device = %id, authentication = identity.authentication.kind().name(), "identity created");
                self.emit(&identity, HubEvent::Created, || {
                    self.twin_body(&identity, &TwinDocument::default())
                })
                .await;
                Ok(identity)
            }
            WriteOutcome::Full if is_module => Err(HubError::new(
                ErrorCode::TooManyModulesOnDevice,
                format!("The device has {limit} modules, as many as it may."),
            )),
            WriteOutcome::Full => {
                Err(HubError::new(ErrorCode::TooManyDevices, "The hub holds as many devices as it may."))
            }
            WriteOutcome::NotFound => {
                Err(HubError::new(ErrorCode::DeviceNotFound, id.device_str().to_owned()))
            }
            WriteOutcome::Conflict if is_module => {
                Err(HubError::new(ErrorCode::ModuleAlreadyExistsOnDevice, id.to_string()))
            }
            WriteOutcome::Conflict => Err(HubError::new(ErrorCode::DeviceAlreadyExists, id.to_string())),
        }
    }

    async fn update_identity(
        self: &Arc<Self>,
        id: &IdentityId,
        if_match: &IfMatch,
        apply: impl Fn(Option<&Identity>, Timestamp) -> Result<Identity, HubError>,
    ) -> Result<Identity, HubError> {
        let apply = |old: &Identity| {
            let new = apply(Some(old), self.clock.now())?;
            let whole = close_reason_for_update(old, &new)
                .map(|reason| CloseConnections::OfIdentity(id.clone(), reason));
            let mut to_close: Vec<CloseConnections> = whole.into_iter().collect();
            if old.iot_edge && !new.iot_edge {
                let of_module = |module| CloseConnections::OfIdentity(module, CloseReason::Deleted);
                to_close.extend(system_module_ids(id).into_iter().map(of_module));
            }
            Ok((new, to_close))
        };
        let new = self.replace_identity(id, if_match, apply).await?;
        info!(device = %id, status = new.status.name(), "identity changed");
        Ok(new)
    }

    /// Puts what `apply` makes of an identity in its place, and ends the connections that it says. Once the one is
    /// done the other is, whether or not anybody waits for it.
    pub(super) async fn replace_identity(
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
            let (written, new) =
                run_uncancelled(async move { hub.write_and_close_connections(&old, new, to_close).await })
                    .await?;
            match written {
                WriteOutcome::Done => return Ok(new),
                WriteOutcome::NotFound => return Err(not_found(id)),
                // Somebody wrote between: look again.
                WriteOutcome::Conflict | WriteOutcome::Full => {}
            }
        }
        Err(wrong_etag())
    }

    async fn write_and_close_connections(
        &self,
        old: &Identity,
        new: Identity,
        to_close: Vec<CloseConnections>,
    ) -> Result<(WriteOutcome, Identity), HubError> {
        let written = if old.iot_edge == new.iot_edge {
            self.store.update_identity(&new, &old.etag).await
        } else {
            let id = &new.id;
            let modules = match new.iot_edge {
                true => ModuleChange { added: system_modules(id, self.clock.now()), removed: Vec::new() },
                false => ModuleChange { added: Vec::new(), removed: system_module_ids(id) },
            };
            self.store.update_device(&new, &old.etag, &modules).await
        };
        let written = written.map_err(store_failed)?;
        if written == WriteOutcome::Done {
            for close in to_close {
                match close {
                    CloseConnections::OfIdentity(id, reason) => self.bus.disconnect(&id, reason).await,
                    CloseConnections::UsingKey(key) => self.bus.disconnect_using_key(&new.id, key).await,
                }
            }
        }
        Ok((written, new))
    }

    /// Deletes an identity, its modules and all that is kept for them, and disconnects them.
    pub(super) async fn delete_identity(
        self: &Arc<Self>,
        id: &IdentityId,
        if_match: &IfMatch,
    ) -> Result<(), HubError> {
        let (hub, id, if_match) = (self.clone(), id.clone(), if_match.clone());
        run_uncancelled(async move { hub.delete_and_emit(&id, &if_match).await }).await
    }

    async fn delete_and_emit(&self, id: &IdentityId, if_match: &IfMatch) -> Result<(), HubError> {
        if is_system_module(id) {
            // Without it there is nothing to refuse.
            self.identity(id).await?;
            return Err(system_module_error(id));
        }
        let etag = match if_match {
            IfMatch::Any => None,
            IfMatch::Etag(etag) => Some(etag.as_str()),
        };
        let _order_lock = self.lock_event_order(EventSource::DeviceLifecycle, id).await;
        let last = match self.emits(EventSource::DeviceLifecycle) {
            true => self.store.twin(id).await.map_err(store_failed)?,
            false => None,
        };
        match self.store.delete_identity(id, etag).await.map_err(store_failed)? {
            WriteOutcome::Done => {
                self.bus.disconnect(id, CloseReason::Deleted).await;
                info!(device = %id, "identity deleted");
                if let Some((identity, twin)) = last {
                    self.emit(&identity, HubEvent::Deleted, || self.twin_body(&identity, &twin)).await;
                }
                Ok(())
            }
            WriteOutcome::NotFound => Err(not_found(id)),
            WriteOutcome::Conflict | WriteOutcome::Full => Err(wrong_etag()),
        }
    }
}
