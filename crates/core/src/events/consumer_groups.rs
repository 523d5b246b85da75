//! Consumer groups and their reader slots.

use std::collections::HashMap;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ferrohub_model::message::DEFAULT_CONSUMER_GROUP;
use prometheus_client::metrics::gauge::Gauge;

/// All consumer groups. A group only limits the number of its readers, as in Event Hubs. Readers of a group are
/// independent: each one gets all events.
#[derive(Debug)]
pub(crate) struct ConsumerGroups {
    names: Vec<String>,
    /// Maximum number of readers of one group on one partition.
    readers_per_partition: usize,
    /// Number of slots in use, by index of the group and partition.
    slots: Mutex<HashMap<(usize, u16), usize>>,
    readers: Gauge<i64, AtomicI64>,
}

/// Why a reader got no slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReaderSlotError {
    UnknownGroup,
    Full,
}

/// A reader's slot on each of its partitions. Dropping it releases the slot.
#[derive(Debug)]
pub(super) struct ReaderSlot {
    groups: Arc<ConsumerGroups>,
    group: usize,
    partitions: Vec<u16>,
}

impl ConsumerGroups {
    pub(crate) fn new(
        configured: &[String],
        readers_per_partition: usize,
        readers: Gauge<i64, AtomicI64>,
    ) -> Self {
        let mut names = vec![DEFAULT_CONSUMER_GROUP.to_owned()];
        for name in configured {
            if !names.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                names.push(name.clone());
            }
        }
        Self { names, readers_per_partition, slots: Mutex::default(), readers }
    }

    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    pub(crate) fn readers_per_partition(&self) -> usize {
        self.readers_per_partition
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(usize, u16), usize>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Acquires a slot on each of `partitions`, or on none of them.
    pub(super) fn acquire(
        self: &Arc<Self>,
        name: &str,
        partitions: Vec<u16>,
    ) -> Result<ReaderSlot, ReaderSlotError> {
        let known = self.names.iter().position(|known| known.eq_ignore_ascii_case(name));
        let group = known.ok_or(ReaderSlotError::UnknownGroup)?;
        let mut slots = self.lock();
        let is_full = |partition: &u16| {
            slots.get(&(group, *partition)).is_some_and(|taken| *taken >= self.readers_per_partition)
        };
        if partitions.iter().any(is_full) {
            return Err(ReaderSlotError::Full);
        }
        for partition in &partitions {
            *slots.entry((group, *partition)).or_default() += 1;
        }
        drop(slots);
        self.readers.inc();
        Ok(ReaderSlot { groups: self.clone(), group, partitions })
    }
}

impl Drop for ReaderSlot {
    fn drop(&mut self) {
        let mut slots = self.groups.lock();
        for partition in &self.partitions {
            if let Some(taken) = slots.get_mut(&(self.group, *partition)) {
                *taken -= 1;
            }
        }
        drop(slots);
        self.groups.readers.dec();
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
        let all = acquire("$default", &[0, 1]).unwrap();
        let one = acquire("$Default", &[1]).unwrap();
        assert_eq!(acquire("$Default", &[0, 1]).unwrap_err(), ReaderSlotError::Full);
        assert_eq!(acquire("unknown", &[0]).unwrap_err(), ReaderSlotError::UnknownGroup);
        let _other = acquire("Other", &[0, 1]).unwrap();
        drop(one);
        let _again = acquire("$Default", &[0, 1]).unwrap();
        assert_eq!(groups.readers.get(), 3);
        drop(all);
        assert!(acquire("$Default", &[0]).is_ok());
        assert_eq!(groups.readers.get(), 2);
    }
}
