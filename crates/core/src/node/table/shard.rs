//! A part of the connection table under one lock: the identities of some devices, and an index of their modules.

use std::collections::{HashMap, hash_map};
use std::sync::Arc;

use ferrohub_model::{DeviceId, IdentityId};
use tokio::sync::Notify;

use crate::close_reason::CloseReason;
use crate::node::{CallEnd, Connection};

/// The entry of one identity. An identity has none if it has no connection, no calls left in flight and no waiting
/// callers.
#[derive(Debug, Default)]
pub(super) struct Entry {
    pub(super) connection: Option<Arc<Connection>>,
    /// The connection that the device closed with calls in flight, until it reconnects or these calls expire.
    pub(super) previous: Option<Arc<Connection>>,
    /// Notified when the device is connected and subscribed to methods. Present while callers wait.
    pub(super) ready: Option<Arc<Notify>>,
    pub(super) waiters: usize,
}

/// The entries of the devices with one hash, and of their modules: they are in the same shard.
#[derive(Debug, Default)]
pub(super) struct Shard {
    pub(super) entries: HashMap<IdentityId, Entry>,
    /// The modules in `entries`, by device. A device without modules takes no space here.
    modules: HashMap<Box<str>, Vec<IdentityId>>,
}

impl Shard {
    pub(super) fn entry(&mut self, id: &IdentityId) -> &mut Entry {
        match self.entries.entry(id.clone()) {
            hash_map::Entry::Occupied(found) => found.into_mut(),
            hash_map::Entry::Vacant(vacant) => {
                if id.module_str().is_some() {
                    self.modules.entry(id.device_str().into()).or_default().push(id.clone());
                }
                vacant.insert(Entry::default())
            }
        }
    }

    pub(super) fn remove_if_unused(&mut self, id: &IdentityId) {
        let unused =
            |entry: &Entry| entry.connection.is_none() && entry.previous.is_none() && entry.waiters == 0;
        if !self.entries.get(id).is_some_and(unused) {
            return;
        }
        self.entries.remove(id);
        if id.module_str().is_some()
            && let Some(modules) = self.modules.get_mut(id.device_str())
        {
            modules.retain(|module| module != id);
            if modules.is_empty() {
                self.modules.remove(id.device_str());
            }
        }
    }

    /// Removes the calls that the previous connection of an identity left in flight. Returns its connection and the
    /// previous one.
    pub(super) fn take(&mut self, id: &IdentityId) -> Removed {
        let Some(entry) = self.entries.get_mut(id) else { return Removed::default() };
        let removed = Removed { connection: entry.connection.clone(), previous: entry.previous.take() };
        self.remove_if_unused(id);
        removed
    }

    /// Returns a device and its modules that have entries.
    pub(super) fn device_and_modules(&self, device: &DeviceId) -> Vec<IdentityId> {
        let modules = self.modules.get(device.as_str()).into_iter().flatten();
        std::iter::once(IdentityId::device(device)).chain(modules.cloned()).collect()
    }
}

/// What [`Connections::disconnect`](super::Connections::disconnect) closes and ends, outside the lock of the shard.
#[derive(Default)]
pub(super) struct Removed {
    pub(super) connection: Option<Arc<Connection>>,
    pub(super) previous: Option<Arc<Connection>>,
}

impl Removed {
    pub(super) fn close(self, reason: CloseReason) {
        if let Some(connection) = self.connection {
            connection.close(reason);
        }
        if let Some(previous) = self.previous {
            previous.end_calls(CallEnd::Disconnected);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> IdentityId {
        IdentityId::parse(text).unwrap()
    }

    /// A hub has one of these per connected device, so its size matters.
    #[test]
    fn an_entry_is_small() {
        assert!(size_of::<Entry>() <= 32, "{}", size_of::<Entry>());
    }

    #[test]
    fn only_devices_with_modules_take_space_in_the_index_of_modules() {
        let mut shard = Shard::default();
        for number in 0..100 {
            shard.entry(&id(&format!("d{number}")));
        }
        assert_eq!(shard.modules.capacity(), 0);
        let device = DeviceId::new("d1").unwrap();
        for name in ["d1/a", "d1/b", "d1/a", "d10/a"] {
            shard.entry(&id(name));
        }
        assert_eq!(shard.device_and_modules(&device), ["d1", "d1/a", "d1/b"].map(id));
        shard.remove_if_unused(&id("d1/a"));
        assert_eq!(shard.device_and_modules(&device), ["d1", "d1/b"].map(id));
        shard.remove_if_unused(&id("d1/b"));
        shard.remove_if_unused(&id("d10/a"));
        assert!(shard.modules.is_empty() && shard.entries.len() == 100);
        for number in 0..100 {
            shard.take(&id(&format!("d{number}")));
        }
        assert!(shard.entries.is_empty(), "an entry without a connection is removed with what it held");
    }
}
