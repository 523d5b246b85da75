//! Changes of desired properties on their way to a device.

use std::collections::VecDeque;

use bytes::Bytes;

/// How many changes may wait for a device to take them. One that is further behind is disconnected: it reads its twin
/// when it comes back, and has the truth at once.
const MAX_PENDING: usize = 32;

/// A change of desired properties, for the device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DesiredNotice {
    /// The version that the change led to.
    pub version: u64,
    /// The change, as JSON text.
    pub patch: Bytes,
}

/// What one connection has to say about desired properties, in the order of versions.
#[derive(Debug, Default)]
pub(super) struct DesiredOutbox {
    pending: VecDeque<DesiredNotice>,
    /// The newest version that the device knows of; nothing up to it is sent any more.
    known_version: u64,
}

/// The device is too far behind.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct OutboxFull;

impl DesiredOutbox {
    pub(super) fn push(&mut self, notice: DesiredNotice) -> Result<(), OutboxFull> {
        let newest =
            self.pending.back().map_or(self.known_version, |last| last.version.max(self.known_version));
        if notice.version <= newest {
            return Ok(());
        }
        if self.pending.len() >= MAX_PENDING {
            return Err(OutboxFull);
        }
        self.pending.push_back(notice);
        Ok(())
    }

    pub(super) fn pop(&mut self) -> Option<DesiredNotice> {
        let notice = self.pending.pop_front()?;
        self.known_version = notice.version;
        if self.pending.is_empty() {
            self.pending = VecDeque::new();
        }
        Some(notice)
    }

    /// The device read its twin, and knows of this version.
    pub(super) fn mark_read(&mut self, version: u64) {
        self.known_version = self.known_version.max(version);
        let known_version = self.known_version;
        self.pending.retain(|notice| notice.version > known_version);
    }

    /// The device does not want to be told any more.
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

    fn all(outbox: &mut DesiredOutbox) -> Vec<u64> {
        std::iter::from_fn(|| outbox.pop()).map(|notice| notice.version).collect()
    }

    #[test]
    fn nothing_older_than_what_is_known_is_told() {
        let mut outbox = DesiredOutbox::default();
        for version in [2, 3, 3, 2, 5] {
            outbox.push(notice(version)).unwrap();
        }
        outbox.mark_read(3);
        assert_eq!(all(&mut outbox), [5]);
        outbox.push(notice(4)).unwrap();
        outbox.push(notice(6)).unwrap();
        assert_eq!(all(&mut outbox), [6]);
        outbox.mark_read(2);
        outbox.push(notice(6)).unwrap();
        assert!(all(&mut outbox).is_empty());
    }

    #[test]
    fn only_so_many_wait() {
        let mut outbox = DesiredOutbox::default();
        let (last, most) = (MAX_PENDING as u64 + 1, MAX_PENDING as u64);
        (1..=most).for_each(|version| outbox.push(notice(version)).unwrap());
        assert_eq!(outbox.push(notice(last)), Err(OutboxFull));
    }
}
