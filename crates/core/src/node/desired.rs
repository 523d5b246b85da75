//! Queue of changes of a device's desired properties that were not yet sent to the device.
//!
//! A device's twin is a JSON document that the hub keeps about the device. Desired properties are the part of it that
//! services (back-end applications) write and the device reads, such as its configuration.

use std::collections::VecDeque;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Maximum number of pending notices of a device. If a device has more, the hub disconnects it. The device reads its
/// twin when it reconnects, so it misses no change.
const MAX_PENDING: usize = 32;

/// A change of desired properties to send to a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredNotice {
    /// The version of the desired properties after the change.
    pub version: u64,
    /// The changed properties and `$version`, as JSON text. `null` is a deleted property.
    pub patch: Bytes,
}

/// The pending notices of one connection, by ascending version.
#[derive(Debug, Default)]
pub(super) struct DesiredOutbox {
    pending: VecDeque<DesiredNotice>,
    /// The newest version that the device knows. Notices up to it are not sent.
    known_version: u64,
}

/// The device has too many pending notices.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct OutboxFull;

impl DesiredOutbox {
    /// Adds a notice. Ignores it if the device already has this version, or a pending notice brings the device to it.
    pub(super) fn push(&mut self, notice: DesiredNotice) -> Result<(), OutboxFull> {
        let newest_version =
            self.pending.back().map_or(self.known_version, |last| last.version.max(self.known_version));
        if notice.version <= newest_version {
            return Ok(());
        }
        if self.pending.len() >= MAX_PENDING {
            return Err(OutboxFull);
        }
        self.pending.push_back(notice);
        Ok(())
    }

    /// Removes the next notice to send, and counts its version as known to the device.
    pub(super) fn pop(&mut self) -> Option<DesiredNotice> {
        let notice = self.pending.pop_front()?;
        self.known_version = notice.version;
        if self.pending.is_empty() {
            // Frees the memory: most devices have no pending notices.
            self.pending = VecDeque::new();
        }
        Some(notice)
    }

    /// Records that the device has read its twin with this version of the desired properties. Drops the notices up to
    /// that version.
    pub(super) fn mark_read(&mut self, version: u64) {
        self.known_version = self.known_version.max(version);
        let known_version = self.known_version;
        self.pending.retain(|notice| notice.version > known_version);
    }

    /// Drops all notices, because the device has unsubscribed.
    pub(super) fn clear(&mut self) {
        self.pending = VecDeque::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(version: u64) -> DesiredNotice {
        DesiredNotice { version, patch: Bytes::new() }
    }

    fn pop_all(outbox: &mut DesiredOutbox) -> Vec<u64> {
        std::iter::from_fn(|| outbox.pop()).map(|notice| notice.version).collect()
    }

    #[test]
    fn a_version_that_the_device_knows_is_not_sent() {
        let mut outbox = DesiredOutbox::default();
        for version in [2, 3, 3, 2, 5] {
            outbox.push(notice(version)).unwrap();
        }
        outbox.mark_read(3);
        assert_eq!(pop_all(&mut outbox), [5]);
        outbox.push(notice(4)).unwrap();
        outbox.push(notice(6)).unwrap();
        assert_eq!(pop_all(&mut outbox), [6]);
        outbox.mark_read(2);
        outbox.push(notice(6)).unwrap();
        assert!(pop_all(&mut outbox).is_empty());
    }

    #[test]
    fn the_number_of_pending_notices_is_limited() {
        let mut outbox = DesiredOutbox::default();
        let limit = MAX_PENDING as u64;
        (1..=limit).for_each(|version| outbox.push(notice(version)).unwrap());
        assert_eq!(outbox.push(notice(limit + 1)), Err(OutboxFull));
    }
}
