//! The bytes that a folder in memory uses, and their limits.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ferrohub_core::files::{BlobError, FolderLimits};
use ferrohub_model::file::BlobName;

/// The bytes of blobs, of uncommitted blocks and of uploads in progress, by device.
#[derive(Debug)]
pub(super) struct Usage {
    limits: FolderLimits,
    devices: Mutex<BTreeMap<String, u64>>,
}

impl Usage {
    pub(super) fn new(limits: FolderLimits) -> Self {
        Self { limits, devices: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.devices.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks that a device may store one more byte.
    pub(super) fn check(&self, device: &str) -> Result<(), BlobError> {
        self.check_more(&self.lock(), device, 1)
    }

    fn check_more(&self, devices: &BTreeMap<String, u64>, device: &str, bytes: u64) -> Result<(), BlobError> {
        if devices.values().sum::<u64>() + bytes > self.limits.total_bytes {
            return Err(BlobError::Full);
        }
        let has_limit = device != BlobName::container_owner();
        if has_limit && devices.get(device).copied().unwrap_or(0) + bytes > self.limits.device_bytes {
            return Err(BlobError::DeviceFull(self.limits.device_bytes));
        }
        Ok(())
    }

    /// Adds bytes that the device uses.
    pub(super) fn add(&self, device: &str, bytes: u64) -> Result<(), BlobError> {
        let mut devices = self.lock();
        self.check_more(&devices, device, bytes)?;
        *devices.entry(device.to_owned()).or_default() += bytes;
        Ok(())
    }

    /// Releases bytes that the device no longer uses.
    pub(super) fn release(&self, device: &str, bytes: u64) {
        if let Some(used) = self.lock().get_mut(device) {
            *used = used.saturating_sub(bytes);
        }
    }
}
