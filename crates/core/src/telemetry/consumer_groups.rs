//! Consumer groups: limit how many readers of a group read a partition at the same time.

use std::collections::HashMap;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ferrohub_model::message::DEFAULT_CONSUMER_GROUP;
use prometheus_client::metrics::gauge::Gauge;

/// All consumer groups. A group only limits the number of its readers, as in Azure Event Hubs. Readers of a group are
/// independent: each one gets all events. Names are case-insensitive, as in Azure.
#[derive(Debug)]
pub(crate) struct ConsumerGroups {
    names: Vec<String>,
    /// Maximum number of readers of one group on one partition.
    readers_per_group: usize,
    /// Number of slots in use, by the group's index in `names` and the partition. A slot is the permission for one
    /// reader on one partition.
    used_slots: Mutex<HashMap<(usize, u16), usize>>,
    /// Metric: number of open readers.
    open_readers: Gauge<i64, AtomicI64>,
}

/// Why a reader got no slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReaderSlotError {
    UnknownGroup,
    /// A partition has the maximum number of readers of this group.
    Full,
}

/// A reader's slots, one on each of its partitions. Dropping it releases them.
#[derive(Debug)]
pub(super) struct ReaderSlot {
    groups: Arc<ConsumerGroups>,
    group_index: usize,
    partitions: Vec<u16>,
}

impl ConsumerGroups {
    pub(crate) fn new(
        configured: &[String],
        readers_per_group: usize,
        open_readers: Gauge<i64, AtomicI64>,
    ) -> Self {
        let mut names = vec![DEFAULT_CONSUMER_GROUP.to_owned()];
        for name in configured {
            if !names.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                names.push(name.clone());
            }
        }
        Self { names, readers_per_group, used_slots: Mutex::default(), open_readers }
    }

    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    pub(crate) fn readers_per_group(&self) -> usize {
        self.readers_per_group
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(usize, u16), usize>> {
        self.used_slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Acquires a slot on each of `partitions`, or on none of them.
    pub(super) fn acquire(
        self: &Arc<Self>,
        name: &str,
        partitions: Vec<u16>,
    ) -> Result<ReaderSlot, ReaderSlotError> {
        let index = self.names.iter().position(|known| known.eq_ignore_ascii_case(name));
        let group_index = index.ok_or(ReaderSlotError::UnknownGroup)?;
        let mut used_slots = self.lock();
        let is_full = |partition: &u16| {
            used_slots.get(&(group_index, *partition)).is_some_and(|used| *used >= self.readers_per_group)
        };
        if partitions.iter().any(is_full) {
            return Err(ReaderSlotError::Full);
        }
        for partition in &partitions {
            *used_slots.entry((group_index, *partition)).or_default() += 1;
        }
        drop(used_slots);
        self.open_readers.inc();
        Ok(ReaderSlot { groups: self.clone(), group_index, partitions })
    }
}

impl Drop for ReaderSlot {
    fn drop(&mut self) {
        let mut used_slots = self.groups.lock();
        for partition in &self.partitions {
            if let Some(used) = used_slots.get_mut(&(self.group_index, *partition)) {
                *used -= 1;
            }
        }
        drop(used_slots);
        self.groups.open_readers.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_readers_is_limited_per_group_and_partition() {
        let configured = ["$DEFAULT".to_owned(), "other".to_owned()];
        let groups = Arc::new(ConsumerGroups::new(&configured, 2, Gauge::default()));
        assert_eq!(groups.names(), ["$Default", "other"]);
        let acquire = |name: &str, partitions: &[u16]| groups.acquire(name, partitions.to_vec());
        let on_both = acquire("$default", &[0, 1]).unwrap();
        let on_second = acquire("$Default", &[1]).unwrap();
        assert_eq!(acquire("$Default", &[0, 1]).unwrap_err(), ReaderSlotError::Full);
        assert_eq!(acquire("unknown", &[0]).unwrap_err(), ReaderSlotError::UnknownGroup);
        let _other = acquire("Other", &[0, 1]).unwrap();
        drop(on_second);
        let _again = acquire("$Default", &[0, 1]).unwrap();
        assert_eq!(groups.open_readers.get(), 3);
        drop(on_both);
        assert!(acquire("$Default", &[0]).is_ok());
        assert_eq!(groups.open_readers.get(), 2);
    }
}
