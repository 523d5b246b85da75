//! Groups of readers, and how many readers each has.

use std::collections::HashMap;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ferrohub_model::message::DEFAULT_CONSUMER_GROUP;
use prometheus_client::metrics::gauge::Gauge;

/// The groups that there are. Readers of one group know nothing of each other; the group only bounds their number, as
/// in Event Hubs.
#[derive(Debug)]
pub(crate) struct Groups {
    names: Vec<String>,
    /// Readers that a group may have on one partition.
    limit: usize,
    /// How many there are, by number of the group and partition.
    seats: Mutex<HashMap<(usize, u16), usize>>,
    readers: Gauge<i64, AtomicI64>,
}

/// Why a reader was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoSeat {
    Unknown,
    Full,
}

/// A reader's place, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    groups: Arc<Groups>,
    group: usize,
    partitions: Vec<u16>,
}

impl Groups {
    pub(crate) fn new(configured: &[String], limit: usize, readers: Gauge<i64, AtomicI64>) -> Self {
        let mut names = vec![DEFAULT_CONSUMER_GROUP.to_owned()];
        for name in configured {
            if !names.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                names.push(name.clone());
            }
        }
        Self { names, limit, seats: Mutex::default(), readers }
    }

    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(usize, u16), usize>> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A seat on each of `partitions`.
    pub(super) fn sit(self: &Arc<Self>, name: &str, partitions: Vec<u16>) -> Result<Seat, NoSeat> {
        let known = self.names.iter().position(|known| known.eq_ignore_ascii_case(name));
        let group = known.ok_or(NoSeat::Unknown)?;
        let mut seats = self.lock();
        let is_full =
            |partition: &u16| seats.get(&(group, *partition)).is_some_and(|taken| *taken >= self.limit);
        if partitions.iter().any(is_full) {
            return Err(NoSeat::Full);
        }
        for partition in &partitions {
            *seats.entry((group, *partition)).or_default() += 1;
        }
        drop(seats);
        self.readers.inc();
        Ok(Seat { groups: self.clone(), group, partitions })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.groups.lock();
        for partition in &self.partitions {
            if let Some(taken) = seats.get_mut(&(self.group, *partition)) {
                *taken -= 1;
            }
        }
        drop(seats);
        self.groups.readers.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_group_has_so_many_readers_of_each_partition() {
        let configured = ["$DEFAULT".to_owned(), "other".to_owned()];
        let groups = Arc::new(Groups::new(&configured, 2, Gauge::default()));
        assert_eq!(groups.names(), ["$Default", "other"]);
        let sit = |name: &str, partitions: &[u16]| groups.sit(name, partitions.to_vec());
        let all = sit("$default", &[0, 1]).unwrap();
        let one = sit("$Default", &[1]).unwrap();
        assert_eq!(sit("$Default", &[0, 1]).unwrap_err(), NoSeat::Full);
        assert_eq!(sit("nobody", &[0]).unwrap_err(), NoSeat::Unknown);
        let _other = sit("Other", &[0, 1]).unwrap();
        drop(one);
        let _again = sit("$Default", &[0, 1]).unwrap();
        assert_eq!(groups.readers.get(), 3);
        drop(all);
        assert!(sit("$Default", &[0]).is_ok());
        assert_eq!(groups.readers.get(), 2);
    }
}
