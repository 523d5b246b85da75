//! Permits for file transfers: limit the number of concurrent transfers of all devices and of each device. Services
//! have separate permits, so that devices cannot block their access to files.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Issues transfer permits.
#[derive(Clone)]
pub(crate) struct TransferPermits {
    devices: Arc<DevicePermits>,
    services: Arc<Semaphore>,
}

struct DevicePermits {
    limit: usize,
    limit_per_device: usize,
    in_use: Mutex<DeviceUsage>,
}

#[derive(Default)]
struct DeviceUsage {
    total: usize,
    /// Contains only devices that have a permit.
    by_device: HashMap<Arc<str>, usize>,
}

/// The permit for one transfer; released on drop.
pub(crate) struct TransferPermit {
    _permit: PermitKind,
}

/// The permit of a device or a service; kept only to be dropped.
enum PermitKind {
    Device { _permit: DevicePermit },
    Service { _permit: OwnedSemaphorePermit },
}

struct DevicePermit {
    device: Arc<str>,
    permits: Arc<DevicePermits>,
}

/// The limit because of which no permit is available.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TransferLimitReached {
    /// The limit of all devices, or of all services.
    Total,
    /// The limit of one device.
    PerDevice,
}

impl TransferPermits {
    /// Creates `limit` permits for all devices, at most `limit_per_device` of them for each device, and `limit`
    /// separate permits for services.
    pub(crate) fn new(limit: usize, limit_per_device: usize) -> Self {
        let devices = DevicePermits { limit, limit_per_device, in_use: Mutex::default() };
        Self { devices: Arc::new(devices), services: Arc::new(Semaphore::new(limit)) }
    }

    /// Acquires a permit for a device.
    pub(crate) fn acquire_for_device(&self, device: &str) -> Result<TransferPermit, TransferLimitReached> {
        let mut in_use = self.devices.lock();
        let entry = in_use.by_device.get_key_value(device);
        let (name, count) = entry.map_or_else(|| (device.into(), 0), |(name, count)| (name.clone(), *count));
        if count >= self.devices.limit_per_device {
            return Err(TransferLimitReached::PerDevice);
        }
        if in_use.total >= self.devices.limit {
            return Err(TransferLimitReached::Total);
        }
        in_use.total += 1;
        in_use.by_device.insert(name.clone(), count + 1);
        let permit = DevicePermit { device: name, permits: self.devices.clone() };
        Ok(TransferPermit { _permit: PermitKind::Device { _permit: permit } })
    }

    /// Acquires a permit for a service.
    pub(crate) fn acquire_for_service(&self) -> Result<TransferPermit, TransferLimitReached> {
        let permit = self.services.clone().try_acquire_owned().map_err(|_| TransferLimitReached::Total)?;
        Ok(TransferPermit { _permit: PermitKind::Service { _permit: permit } })
    }
}

impl DevicePermits {
    fn lock(&self) -> MutexGuard<'_, DeviceUsage> {
        self.in_use.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for DevicePermit {
    fn drop(&mut self) {
        let mut in_use = self.permits.lock();
        in_use.total = in_use.total.saturating_sub(1);
        if let Some(count) = in_use.by_device.get_mut(&self.device) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                in_use.by_device.remove(&self.device);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_cannot_take_all_permits_and_services_have_separate_ones() {
        let permits = TransferPermits::new(3, 2);
        let refused = |device| permits.acquire_for_device(device).err();
        let first = permits.acquire_for_device("a").ok();
        let second = permits.acquire_for_device("a").ok();
        assert!(first.is_some() && second.is_some());
        assert_eq!(refused("a"), Some(TransferLimitReached::PerDevice));
        let third = permits.acquire_for_device("b").ok();
        assert_eq!(
            (refused("b"), refused("a")),
            (Some(TransferLimitReached::Total), Some(TransferLimitReached::PerDevice))
        );
        let services: Vec<_> = (0..3).map(|_| permits.acquire_for_service().ok()).collect();
        assert!(services.iter().all(Option::is_some));
        assert_eq!(permits.acquire_for_service().err(), Some(TransferLimitReached::Total));
        drop(first);
        assert_eq!(refused("a"), None);
        drop((second, third, services));
        let in_use = permits.devices.lock();
        assert_eq!((in_use.total, in_use.by_device.len()), (0, 0), "released permits leave no entries");
    }
}
