//! The quotas of the folder and of each device, which include files that are being written.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ferrohub_core::files::BlobError;

use crate::paths::DeviceKey;

/// The bytes that a folder uses, and their limits. Clones share the count.
#[derive(Debug, Clone)]
pub(crate) struct Quota {
    usage: Arc<Mutex<Usage>>,
    total_limit: u64,
    device_limit: u64,
}

#[derive(Debug, Default)]
struct Usage {
    total: u64,
    /// Devices without files have no entry.
    devices: HashMap<DeviceKey, u64>,
}

impl Usage {
    fn add(&mut self, owner: Option<DeviceKey>, bytes: u64) {
        self.total += bytes;
        if let Some(owner) = owner
            && bytes > 0
        {
            *self.devices.entry(owner).or_default() += bytes;
        }
    }

    fn of_device(&self, owner: DeviceKey) -> u64 {
        self.devices.get(&owner).copied().unwrap_or(0)
    }
}

impl Quota {
    pub(crate) fn new(total_limit: u64, device_limit: u64) -> Self {
        Self { usage: Arc::default(), total_limit, device_limit }
    }

    /// Locks the usage. Ignores poisoning: the counts stay valid if a thread panics while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, Usage> {
        self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds bytes that are already stored, even if they exceed a limit. Blocks that an older version stored have no
    /// known owner.
    pub(crate) fn add_existing(&self, owner: Option<DeviceKey>, bytes: u64) {
        self.lock().add(owner, bytes);
    }

    /// Returns an empty reservation.
    pub(crate) fn reservation(&self, owner: DeviceKey) -> Reservation {
        Reservation { quota: self.clone(), owner, bytes: 0 }
    }

    /// Releases the bytes of a removed file.
    pub(crate) fn release(&self, owner: Option<DeviceKey>, bytes: u64) {
        let mut usage = self.lock();
        usage.total = usage.total.saturating_sub(bytes);
        if let Some(owner) = owner
            && let Some(used) = usage.devices.get_mut(&owner)
        {
            *used = used.saturating_sub(bytes);
            if *used == 0 {
                usage.devices.remove(&owner);
            }
        }
    }

    /// Checks that a device may store at least one more byte.
    pub(crate) fn check_quota(&self, owner: DeviceKey) -> Result<(), BlobError> {
        self.check(&self.lock(), owner, 1)
    }

    fn check(&self, usage: &Usage, owner: DeviceKey, bytes: u64) -> Result<(), BlobError> {
        if usage.total.checked_add(bytes).is_none_or(|used| used > self.total_limit) {
            return Err(BlobError::Full);
        }
        let has_limit = owner != DeviceKey::CONTAINER;
        if has_limit && usage.of_device(owner).checked_add(bytes).is_none_or(|used| used > self.device_limit)
        {
            return Err(BlobError::DeviceFull(self.device_limit));
        }
        Ok(())
    }

    #[cfg(test)]
    pub(crate) fn used(&self, owner: DeviceKey) -> (u64, u64) {
        let usage = self.lock();
        (usage.total, usage.of_device(owner))
    }
}

/// Bytes reserved for one file. Dropping the reservation releases them, unless it was committed.
#[derive(Debug)]
pub(crate) struct Reservation {
    quota: Quota,
    owner: DeviceKey,
    bytes: u64,
}

impl Reservation {
    /// Reserves `bytes` more.
    pub(crate) fn grow(&mut self, bytes: u64) -> Result<(), BlobError> {
        let mut usage = self.quota.lock();
        self.quota.check(&usage, self.owner, bytes)?;
        usage.add(Some(self.owner), bytes);
        drop(usage);
        self.bytes += bytes;
        Ok(())
    }

    /// Keeps the bytes in the quota.
    pub(crate) fn commit(&mut self) {
        self.bytes = 0;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.quota.release(Some(self.owner), self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use ferrohub_model::file::BlobName;

    use super::*;

    fn device(id: &str) -> DeviceKey {
        DeviceKey::of(&BlobName::new(id, "f").unwrap())
    }

    #[test]
    fn bytes_that_are_not_committed_are_released() {
        let (quota, a) = (Quota::new(10, 10), device("a"));
        let mut reservation = quota.reservation(a);
        reservation.grow(6).unwrap();
        assert!(matches!(quota.reservation(a).grow(5), Err(BlobError::Full)));
        assert!(matches!(reservation.grow(u64::MAX), Err(BlobError::Full)));
        drop(reservation);
        assert_eq!(quota.used(a), (0, 0));
        let mut reservation = quota.reservation(a);
        reservation.grow(10).unwrap();
        reservation.commit();
        drop(reservation);
        assert_eq!(quota.used(a), (10, 10));
        quota.release(Some(a), 4);
        assert_eq!(quota.used(a), (6, 6));
    }

    #[test]
    fn a_full_device_leaves_room_for_others() {
        let (quota, a, b) = (Quota::new(100, 10), device("a"), device("b"));
        let mut reservation = quota.reservation(a);
        reservation.grow(10).unwrap();
        assert!(matches!(reservation.grow(1), Err(BlobError::DeviceFull(10))));
        assert!(matches!(quota.check_quota(a), Err(BlobError::DeviceFull(10))));
        quota.check_quota(b).unwrap();
        reservation.commit();
        quota.release(Some(a), 10);
        quota.check_quota(a).unwrap();
        assert_eq!(quota.lock().devices.len(), 0, "devices without files need no memory");
        quota.add_existing(None, 100);
        assert!(matches!(quota.check_quota(b), Err(BlobError::Full)));
    }
}
