//! The configurations of this node, and the devices that it must evaluate.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::take;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use ferrohub_model::twin::{Properties, TwinChange};
use ferrohub_model::{DeviceId, IdentityId};
use tokio::sync::Notify;

use super::metric_results::CachedResults;
use super::{ConfigurationId, ConfigurationLimits, ConfigurationSet};
use crate::twins::UpdateMode;

/// The configurations of this node, and the devices that it must evaluate.
#[derive(Debug, Default)]
pub struct Configurations {
    set: RwLock<Arc<ConfigurationSet>>,
    limits: ConfigurationLimits,
    waiting: Mutex<BTreeSet<DeviceId>>,
    sweep_requested: AtomicBool,
    work: Notify,
    /// Serializes changes of configurations, which are read-modify-write.
    pub(super) editing: tokio::sync::Mutex<()>,
    /// The devices to which a request applies content now.
    pub(super) applying: Mutex<BTreeSet<DeviceId>>,
    pub(super) results: Mutex<BTreeMap<ConfigurationId, CachedResults>>,
}

/// Locks a value that stays valid if a thread panics while it holds the lock.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Configurations {
    /// Returns no configurations. All devices must be evaluated: the last process may have ended before it did so.
    pub(crate) fn new(limits: ConfigurationLimits) -> Self {
        Self { limits, sweep_requested: AtomicBool::new(true), ..Self::default() }
    }

    /// Returns the configurations.
    #[must_use]
    pub fn set(&self) -> Arc<ConfigurationSet> {
        self.set.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the configurations, and requests that all devices are evaluated.
    pub(super) fn replace(&self, set: ConfigurationSet) {
        *self.set.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(set);
        self.request_sweep();
    }

    pub(super) fn request_sweep(&self) {
        self.sweep_requested.store(true, Ordering::SeqCst);
        self.work.notify_one();
    }

    /// Returns whether a sweep was requested since the last call.
    pub(super) fn take_sweep_request(&self) -> bool {
        self.sweep_requested.swap(false, Ordering::SeqCst)
    }

    /// Waits until there may be devices to evaluate. Cancel-safe.
    pub(super) async fn work(&self) {
        self.work.notified().await;
    }

    /// Takes some devices that must be evaluated.
    pub(super) fn take_devices(&self, max: usize) -> Vec<DeviceId> {
        let mut waiting = lock(&self.waiting);
        if waiting.len() <= max {
            return take(&mut *waiting).into_iter().collect();
        }
        (0..max).map_while(|_| waiting.pop_first()).collect()
    }

    /// Returns the number of devices that wait to be evaluated.
    pub(super) fn waiting(&self) -> usize {
        lock(&self.waiting).len()
    }

    /// Adds devices that must be evaluated.
    pub(super) fn add(&self, devices: impl IntoIterator<Item = DeviceId>) {
        {
            let mut waiting = lock(&self.waiting);
            for device in devices {
                waiting.insert(device);
            }
            if waiting.len() > self.limits.waiting_devices {
                waiting.clear();
                self.sweep_requested.store(true, Ordering::SeqCst);
            }
        }
        self.work.notify_one();
    }

    fn add_device_of(&self, id: &IdentityId) {
        self.add(DeviceId::new(id.device_str()).ok());
    }

    /// Notes a change of an identity: it was created, changed, or is a module that was deleted.
    pub(crate) fn identity_changed(&self, id: &IdentityId) {
        if !self.set().is_empty() {
            self.add_device_of(id);
        }
    }

    /// Notes a service's change of a twin.
    pub(crate) fn twin_changed(&self, id: &IdentityId, mode: UpdateMode, change: &TwinChange) {
        let Some(tags) = change.tags.as_ref() else { return };
        let set = self.set();
        let is_read = match (mode, tags.properties()) {
            (UpdateMode::Merge, Some(tags)) => set.reads().tags(tags),
            // Any tag may be gone.
            _ => set.reads().any_tags(),
        };
        if is_read {
            self.add_device_of(id);
        }
    }

    /// Notes a device's change of its reported properties.
    pub(crate) fn reported(&self, id: &IdentityId, patch: &Properties) {
        if self.set().reads().reported(patch) {
            self.add_device_of(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn if_too_many_devices_wait_all_are_evaluated() {
        let limits = ConfigurationLimits { waiting_devices: 3, ..ConfigurationLimits::default() };
        let configurations = Configurations::new(limits);
        assert!(configurations.take_sweep_request() && !configurations.take_sweep_request());
        let device = |number: usize| DeviceId::new(&format!("d{number}")).unwrap();
        configurations.add((0..3).map(device));
        configurations.add([device(1)]);
        assert_eq!((configurations.waiting(), configurations.take_sweep_request()), (3, false));
        assert_eq!(configurations.take_devices(2), [device(0), device(1)]);
        configurations.add((0..3).map(device).chain([device(9)]));
        assert_eq!((configurations.waiting(), configurations.take_sweep_request()), (0, true));
    }
}
