//! Files that come and go at once: as many as the hub bears, and of those only a few for any one device. Services have
//! turns of their own: nothing that devices do keeps an owner from the files.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Hands out turns.
#[derive(Clone)]
pub(crate) struct Transfers {
    of_devices: Arc<OfDevices>,
    of_services: Arc<Semaphore>,
}

struct OfDevices {
    most: usize,
    most_of_one: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    all: usize,
    /// Only devices that have a turn.
    by_device: HashMap<Arc<str>, usize>,
}

/// One transfer, until it is dropped.
pub(crate) struct Turn {
    _of: Owner,
}

/// Whose it is; held for its end alone.
enum Owner {
    Device { _turn: DeviceTurn },
    Service { _turn: OwnedSemaphorePermit },
}

struct DeviceTurn {
    device: Arc<str>,
    of: Arc<OfDevices>,
}

/// Why there is no turn now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoTurn {
    /// All devices together have as many as there are.
    All,
    /// The device has as many as one may.
    Device,
}

impl Transfers {
    /// `most` for all devices, and as many again for services; `most_of_one` for each device.
    pub(crate) fn new(most: usize, most_of_one: usize) -> Self {
        let of_devices = OfDevices { most, most_of_one, taken: Mutex::default() };
        Self { of_devices: Arc::new(of_devices), of_services: Arc::new(Semaphore::new(most)) }
    }

    /// A turn of a device.
    pub(crate) fn of_device(&self, device: &str) -> Result<Turn, NoTurn> {
        let mut taken = self.of_devices.lock();
        let mine = taken.by_device.get_key_value(device);
        let (name, count) = mine.map_or_else(|| (device.into(), 0), |(name, count)| (name.clone(), *count));
        if count >= self.of_devices.most_of_one {
            return Err(NoTurn::Device);
        }
        if taken.all >= self.of_devices.most {
            return Err(NoTurn::All);
        }
        taken.all += 1;
        taken.by_device.insert(name.clone(), count + 1);
        let turn = DeviceTurn { device: name, of: self.of_devices.clone() };
        Ok(Turn { _of: Owner::Device { _turn: turn } })
    }

    /// A turn of a service.
    pub(crate) fn of_service(&self) -> Result<Turn, NoTurn> {
        let turn = self.of_services.clone().try_acquire_owned().map_err(|_| NoTurn::All)?;
        Ok(Turn { _of: Owner::Service { _turn: turn } })
    }
}

impl OfDevices {
    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for DeviceTurn {
    fn drop(&mut self) {
        let mut taken = self.of.lock();
        taken.all = taken.all.saturating_sub(1);
        if let Some(count) = taken.by_device.get_mut(&self.device) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                taken.by_device.remove(&self.device);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_device_takes_the_turns_of_others_and_none_those_of_services() {
        let transfers = Transfers::new(3, 2);
        let refused = |device| transfers.of_device(device).err();
        let first = transfers.of_device("a").ok();
        let second = transfers.of_device("a").ok();
        assert!(first.is_some() && second.is_some());
        assert_eq!(refused("a"), Some(NoTurn::Device));
        let third = transfers.of_device("b").ok();
        assert_eq!((refused("b"), refused("a")), (Some(NoTurn::All), Some(NoTurn::Device)));
        let services: Vec<_> = (0..3).map(|_| transfers.of_service().ok()).collect();
        assert!(services.iter().all(Option::is_some));
        assert_eq!(transfers.of_service().err(), Some(NoTurn::All));
        drop(first);
        assert_eq!(refused("a"), None);
        drop((second, third, services));
        let taken = transfers.of_devices.lock();
        assert_eq!((taken.all, taken.by_device.len()), (0, 0), "nothing is left of those that had turns");
    }
}
