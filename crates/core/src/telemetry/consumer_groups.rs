//! Consumer groups: which readers of a group may read a partition at the same time.
//!
//! A group limits the readers without an owner level, as Azure Event Hubs does. A reader with an owner level (Azure: epoch)
//! is alone: it disconnects all other readers of its group on its partitions. It is refused if one of them has a higher
//! level, and a reader without a level is refused while one with a level reads. Of two with the same level, the later one
//! reads: processors that share their work take over partitions this way.

use std::collections::HashMap;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ferrohub_model::message::DEFAULT_CONSUMER_GROUP;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::watch;

/// All consumer groups. Readers of a group are independent: each one gets all events. Names are case-insensitive, as in
/// Azure.
#[derive(Debug)]
pub(crate) struct ConsumerGroups {
    names: Vec<String>,
    /// Maximum number of readers of one group on one partition.
    readers_per_group: usize,
    slots: Mutex<Slots>,
    /// Metric: number of open readers.
    open_readers: Gauge<i64, AtomicI64>,
    /// Metric: number of readers that another one disconnected.
    stolen_readers: Counter,
}

/// The slots in use. A slot is the permission for one reader on one partition.
#[derive(Debug, Default)]
struct Slots {
    /// By the group's index in `names` and the partition.
    used: HashMap<(usize, u16), Vec<Slot>>,
    last_reader: u64,
}

#[derive(Debug)]
struct Slot {
    /// The number of the reader that has it.
    reader: u64,
    owner_level: Option<i64>,
    /// Tells the reader that it has lost a slot.
    stolen: watch::Sender<Option<Stolen>>,
}

/// Why a reader was disconnected: another one with at least its owner level reads a partition of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "another reader of the consumer group with the owner level {owner_level} has taken over partition {partition}; \
     read with at least this owner level to take it back"
)]
pub struct Stolen {
    /// The partition that was taken over.
    pub partition: u16,
    /// The owner level of the reader that has it now.
    pub owner_level: i64,
}

/// Why a reader got no slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReaderSlotError {
    UnknownGroup,
    /// A partition has the maximum number of readers of this group.
    Full,
    /// A reader with this owner level, which is higher than that of the new one, reads the partition.
    Owned {
        partition: u16,
        owner_level: i64,
    },
}

/// A reader's slots, one on each of its partitions. Dropping it releases them.
#[derive(Debug)]
pub(super) struct ReaderSlot {
    groups: Arc<ConsumerGroups>,
    group_index: usize,
    partitions: Vec<u16>,
    reader: u64,
    stolen: watch::Receiver<Option<Stolen>>,
}

impl ConsumerGroups {
    pub(crate) fn new(
        configured: &[String],
        readers_per_group: usize,
        open_readers: Gauge<i64, AtomicI64>,
        stolen_readers: Counter,
    ) -> Self {
        let mut names = vec![DEFAULT_CONSUMER_GROUP.to_owned()];
        for name in configured {
            if !names.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                names.push(name.clone());
            }
        }
        Self { names, readers_per_group, slots: Mutex::default(), open_readers, stolen_readers }
    }

    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    pub(crate) fn readers_per_group(&self) -> usize {
        self.readers_per_group
    }

    fn lock(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Acquires a slot on each of `partitions`, or on none of them. With an owner level, disconnects the readers that have
    /// one.
    pub(super) fn acquire(
        self: &Arc<Self>,
        name: &str,
        partitions: Vec<u16>,
        owner_level: Option<i64>,
    ) -> Result<ReaderSlot, ReaderSlotError> {
        let index = self.names.iter().position(|known| known.eq_ignore_ascii_case(name));
        let group = index.ok_or(ReaderSlotError::UnknownGroup)?;
        let mut slots = self.lock();
        for partition in &partitions {
            slots.check(group, *partition, owner_level, self.readers_per_group)?;
        }
        if let Some(owner_level) = owner_level {
            for partition in &partitions {
                let readers = slots.steal(group, Stolen { partition: *partition, owner_level });
                self.stolen_readers.inc_by(readers);
            }
        }
        let (sender, stolen) = watch::channel(None);
        let reader = slots.give(group, &partitions, owner_level, &sender);
        drop(slots);
        self.open_readers.inc();
        Ok(ReaderSlot { groups: self.clone(), group_index: group, partitions, reader, stolen })
    }
}

impl Slots {
    /// Checks whether a new reader may read a partition.
    fn check(
        &self,
        group: usize,
        partition: u16,
        owner_level: Option<i64>,
        readers_per_group: usize,
    ) -> Result<(), ReaderSlotError> {
        let used = self.used.get(&(group, partition)).map(Vec::as_slice).unwrap_or_default();
        // No level is lower than any level.
        let highest = used.iter().map(|slot| slot.owner_level).max().flatten();
        if let Some(highest) = highest.filter(|highest| owner_level < Some(*highest)) {
            return Err(ReaderSlotError::Owned { partition, owner_level: highest });
        }
        if owner_level.is_none() && used.len() >= readers_per_group {
            return Err(ReaderSlotError::Full);
        }
        Ok(())
    }

    /// Disconnects the readers of a partition, and returns their number. They also lose their slots on other partitions.
    fn steal(&mut self, group: usize, stolen: Stolen) -> u64 {
        let slots = self.used.remove(&(group, stolen.partition)).unwrap_or_default();
        for slot in &slots {
            slot.stolen.send_replace(Some(stolen));
            self.remove(group, slot.reader);
        }
        slots.len() as u64
    }

    fn give(
        &mut self,
        group: usize,
        partitions: &[u16],
        owner_level: Option<i64>,
        stolen: &watch::Sender<Option<Stolen>>,
    ) -> u64 {
        self.last_reader += 1;
        let reader = self.last_reader;
        for partition in partitions {
            let slot = Slot { reader, owner_level, stolen: stolen.clone() };
            self.used.entry((group, *partition)).or_default().push(slot);
        }
        reader
    }

    /// Removes all slots of a reader.
    fn remove(&mut self, group: usize, reader: u64) {
        self.used.retain(|(of_group, _), slots| {
            if *of_group == group {
                slots.retain(|slot| slot.reader != reader);
            }
            !slots.is_empty()
        });
    }
}

impl ReaderSlot {
    /// Returns the reason if the reader was disconnected.
    pub(super) fn stolen(&self) -> Option<Stolen> {
        *self.stolen.borrow()
    }

    /// Waits until the reader is disconnected.
    pub(super) async fn wait_stolen(&mut self) -> Stolen {
        // The sender is dropped only after it has sent.
        let stolen = self.stolen.wait_for(Option::is_some).await.ok().and_then(|stolen| *stolen);
        match stolen {
            Some(stolen) => stolen,
            None => std::future::pending().await,
        }
    }
}

impl Drop for ReaderSlot {
    fn drop(&mut self) {
        let mut slots = self.groups.lock();
        for partition in &self.partitions {
            if let Some(used) = slots.used.get_mut(&(self.group_index, *partition)) {
                used.retain(|slot| slot.reader != self.reader);
                if used.is_empty() {
                    slots.used.remove(&(self.group_index, *partition));
                }
            }
        }
        drop(slots);
        self.groups.open_readers.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(readers_per_group: usize) -> Arc<ConsumerGroups> {
        let configured = ["$DEFAULT".to_owned(), "other".to_owned()];
        Arc::new(ConsumerGroups::new(&configured, readers_per_group, Gauge::default(), Counter::default()))
    }

    #[test]
    fn the_number_of_readers_is_limited_per_group_and_partition() {
        let groups = groups(2);
        assert_eq!(groups.names(), ["$Default", "other"]);
        let acquire = |name: &str, partitions: &[u16]| groups.acquire(name, partitions.to_vec(), None);
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

    #[test]
    fn a_reader_with_an_owner_level_disconnects_all_that_have_no_higher_one() {
        let groups = groups(2);
        let acquire = |level| groups.acquire("$Default", vec![0], level);
        let stolen_by = |owner_level| Some(Stolen { partition: 0, owner_level });
        let without = [acquire(None).unwrap(), acquire(None).unwrap()];
        let zero = acquire(Some(0)).unwrap();
        assert_eq!(without.each_ref().map(ReaderSlot::stolen), [stolen_by(0), stolen_by(0)]);
        let same = acquire(Some(0)).unwrap();
        assert_eq!((zero.stolen(), same.stolen()), (stolen_by(0), None), "the later one reads");
        let higher = acquire(Some(7)).unwrap();
        assert_eq!((same.stolen(), higher.stolen()), (stolen_by(7), None));
        assert_eq!(groups.lock().used.len(), 1);
        assert_eq!(groups.open_readers.get(), 5, "they are open until they notice");
        assert_eq!(groups.stolen_readers.get(), 4);
    }

    #[test]
    fn a_reader_with_a_lower_owner_level_or_none_is_refused() {
        let groups = groups(2);
        let acquire = |partition, level| groups.acquire("$Default", vec![partition], level);
        let owner = acquire(0, Some(3)).unwrap();
        let refused = ReaderSlotError::Owned { partition: 0, owner_level: 3 };
        for level in [None, Some(2), Some(-1), Some(i64::MIN)] {
            assert_eq!(acquire(0, level).unwrap_err(), refused, "{level:?}");
            assert_eq!(groups.acquire("$Default", vec![1, 0], level).unwrap_err(), refused, "all or none");
        }
        assert_eq!(owner.stolen(), None);
        let _elsewhere = acquire(1, None).unwrap();
        let _other_group = groups.acquire("other", vec![0], None).unwrap();
        drop(owner);
        assert!(acquire(0, None).is_ok(), "a level is forgotten with its reader");
    }

    #[tokio::test]
    async fn a_reader_of_all_partitions_ends_when_it_loses_one_and_blocks_nobody() {
        let groups = groups(1);
        let mut all = groups.acquire("$Default", vec![0, 1], Some(5)).unwrap();
        let one = groups.acquire("$Default", vec![1], Some(5)).unwrap();
        assert_eq!(all.wait_stolen().await, Stolen { partition: 1, owner_level: 5 });
        let _first = groups.acquire("$Default", vec![0], None).unwrap();
        drop(all);
        assert_eq!(one.stolen(), None);
        assert_eq!(groups.acquire("$Default", vec![0], None).unwrap_err(), ReaderSlotError::Full);
    }
}
