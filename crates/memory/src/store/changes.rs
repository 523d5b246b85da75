//! Changes of identities and twins.

use ferrohub_core::registry::Identity;
use ferrohub_core::store::{Applied, Change, ChangeGroup, Refusal, Refused};
use ferrohub_core::twins::{TwinChangeFn, TwinDocument};
use ferrohub_model::IdentityId;

use super::state::{State, StoredIdentity};

/// The identity and its changed twin, if the change was one of a twin.
type ChangedTwin = Option<(Identity, TwinDocument)>;

impl State {
    /// Applies a group as a whole or not at all.
    pub(super) fn apply(&mut self, group: ChangeGroup) -> Result<Applied, Refused> {
        // A single change writes nothing when it is refused.
        let before = (group.0.len() > 1).then(|| self.clone());
        let outcome = self.apply_changes(group);
        if outcome.is_err()
            && let Some(before) = before
        {
            *self = before;
        }
        outcome
    }

    fn apply_changes(&mut self, group: ChangeGroup) -> Result<Applied, Refused> {
        let mut applied = Applied::default();
        for change in group.0 {
            let id = change.id().clone();
            let twin = self.apply_change(change).map_err(|reason| Refused { id, reason })?;
            applied.twins.extend(twin);
        }
        Ok(applied)
    }

    fn apply_change(&mut self, change: Change) -> Result<ChangedTwin, Refusal> {
        match change {
            Change::Create { identity, limit } => self.create(identity, limit)?,
            Change::EnsureModule(module) => self.ensure_module(module)?,
            Change::Update { identity, expected_etag } => self.update(identity, &expected_etag)?,
            Change::Delete { id, expected_etag } => self.delete(&id, expected_etag.as_deref())?,
            Change::EnsureNoModule(id) => self.remove_identities(|other| *other == id),
            Change::JobDevice { id, lease, now } => self.end_job_device(&id, lease, now)?,
            Change::Twin { id, change } => return self.change_twin(&id, &change).map(Some),
        }
        Ok(None)
    }

    fn create(&mut self, identity: Identity, limit: u64) -> Result<(), Refusal> {
        let id = &identity.id;
        let is_module = id.module_str().is_some();
        if is_module && !self.has_device(id) {
            return Err(Refusal::NoDevice);
        }
        if self.identities.contains_key(id) {
            return Err(Refusal::Exists);
        }
        let counts = |other: &&IdentityId| match is_module {
            true => other.module_str().is_some() && other.device_str() == id.device_str(),
            false => other.module_str().is_none(),
        };
        if self.identities.keys().filter(counts).count() as u64 >= limit {
            return Err(Refusal::Full { limit });
        }
        self.insert(identity);
        Ok(())
    }

    fn ensure_module(&mut self, module: Identity) -> Result<(), Refusal> {
        if !self.has_device(&module.id) {
            return Err(Refusal::NoDevice);
        }
        if !self.identities.contains_key(&module.id) {
            self.insert(module);
        }
        Ok(())
    }

    fn insert(&mut self, identity: Identity) {
        let id = identity.id.clone();
        let twin = TwinDocument::default();
        self.identities.insert(id, StoredIdentity { identity, connected: false, session: None, twin });
    }

    fn update(&mut self, identity: Identity, expected_etag: &str) -> Result<(), Refusal> {
        let stored = self.identities.get_mut(&identity.id).ok_or(Refusal::NotFound)?;
        let old = &stored.identity;
        if old.etag != expected_etag || old.generation_id != identity.generation_id {
            return Err(Refusal::WrongEtag);
        }
        stored.identity = Identity {
            connection_state_updated: old.connection_state_updated,
            last_activity: old.last_activity,
            ..identity
        };
        Ok(())
    }

    fn delete(&mut self, id: &IdentityId, expected_etag: Option<&str>) -> Result<(), Refusal> {
        let stored = self.identities.get(id).ok_or(Refusal::NotFound)?;
        if expected_etag.is_some_and(|expected| expected != stored.identity.etag) {
            return Err(Refusal::WrongEtag);
        }
        let is_device = id.module_str().is_none();
        self.remove_identities(|other| other == id || is_device && other.device_str() == id.device_str());
        Ok(())
    }

    fn change_twin(
        &mut self,
        id: &IdentityId,
        change: &TwinChangeFn,
    ) -> Result<(Identity, TwinDocument), Refusal> {
        let stored = self.identities.get_mut(id).ok_or(Refusal::NotFound)?;
        let new = change(&stored.twin).map_err(Refusal::Twin)?;
        stored.twin = new.clone();
        let identity = stored.identity.clone();
        Ok((self.counted(&identity), new))
    }

    /// Returns whether the device of the identity exists.
    fn has_device(&self, id: &IdentityId) -> bool {
        IdentityId::parse(id.device_str()).is_ok_and(|device| self.identities.contains_key(&device))
    }
}
