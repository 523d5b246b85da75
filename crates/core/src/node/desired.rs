//! Queue of changes of a device's desired properties that were not yet sent to the device.
//!
//! A device's twin is a JSON document that the hub keeps about the device. Desired properties are the part of it that
//! services (back-end applications) write and the device reads, such as its configuration.

use std::collections::VecDeque;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Maximum number of pending notices of a device. If a device has more, the hub disconnects it. A device that follows the
/// reconnection flow of Azure's documentation reads its twin when it reconnects, so it misses no change.
const MAX_PENDING: usize = 32;

/// A change of desired properties to send to a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredNotice {
    /// The version of the desired properties after the change.
    pub version: u64,
    /// The changed properties and `$version`, as JSON text. `null` is a deleted property.
    pub patch: Bytes,
}

/// What became of a notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pushed {
    /// It is sent, or held until the notices before it have come. Or the device knows its version already.
    Accepted,
    /// As `Accepted`, and this version is missing. Call [`DesiredOutbox::check_gap`] when it has had time to come.
    Missing(u64),
    /// The device has too many pending notices, and none is missing.
    Full,
    /// The device has too many notices that wait for a missing one.
    FullOfHeld,
}

/// What became of a missing notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gap {
    /// It has come, and no other one is missing.
    Filled,
    /// It has come, and this one is missing now.
    Moved(u64),
    /// It is lost.
    Lost,
}

/// No version: nothing has defined yet which notices the device is owed.
const NONE: u64 = u64::MAX;

/// The pending notices of one connection. They are sent in the order of their versions, without a gap.
///
/// A device is owed every version after the one with which it read its twin while it was subscribed, or else after the first
/// notice that came. What was changed before its subscription it is not owed.
#[derive(Debug)]
pub(super) struct DesiredOutbox {
    /// The newest version that the device knows.
    known_version: u64,
    /// The device is owed every version from this one on that is above `known_version`. [`NONE`] if it is owed nothing yet.
    owed_from: u64,
    /// Boxed, because most devices have no pending notices.
    pending: Option<Box<Pending>>,
}

#[derive(Debug, Default)]
struct Pending {
    /// By ascending version, without duplicates.
    notices: VecDeque<DesiredNotice>,
    /// A missing notice was reported, and is not checked yet.
    reported: bool,
    /// A notice came after the device had been sent a newer version.
    too_late: bool,
    /// The connection ends once these notices are sent.
    last: bool,
}

impl Pending {
    /// Returns the first version that is missing from `next` to the newest notice.
    fn first_missing(&self, next: u64) -> Option<u64> {
        let newest = self.notices.back()?.version;
        if newest.saturating_add(1) == next.saturating_add(self.notices.len() as u64) {
            return None;
        }
        (next..).zip(&self.notices).find(|(next, notice)| notice.version != *next).map(|(next, _)| next)
    }

    /// Returns a missing version to report, if there is one and none is reported yet.
    fn report(&mut self, missing: Option<u64>) -> Option<u64> {
        let missing = missing.filter(|_| !self.reported)?;
        self.reported = true;
        Some(missing)
    }
}

impl Default for DesiredOutbox {
    fn default() -> Self {
        Self { known_version: 0, owed_from: NONE, pending: None }
    }
}

impl DesiredOutbox {
    /// Adds a notice. Ignores it if the device already has this version, or if the notice is pending.
    pub(super) fn push(&mut self, notice: DesiredNotice) -> Pushed {
        let version = notice.version;
        let has_sent = self.owed_from <= self.known_version;
        if version <= self.known_version && (!has_sent || version >= self.owed_from) {
            return Pushed::Accepted;
        }
        if !has_sent {
            self.owed_from = self.owed_from.min(version);
        }
        let next = self.next_version();
        let pending = self.pending.get_or_insert_default();
        if pending.last {
            return Pushed::Accepted;
        }
        if version < next {
            pending.too_late = true;
            return pending.report(Some(version)).map_or(Pushed::Accepted, Pushed::Missing);
        }
        let place = pending.notices.partition_point(|other| other.version < version);
        if pending.notices.get(place).is_some_and(|other| other.version == version) {
            return Pushed::Accepted;
        }
        if pending.notices.len() >= MAX_PENDING {
            return pending.first_missing(next).map_or(Pushed::Full, |_| Pushed::FullOfHeld);
        }
        pending.notices.insert(place, notice);
        let missing = pending.first_missing(next);
        pending.report(missing).map_or(Pushed::Accepted, Pushed::Missing)
    }

    /// Returns the version that the device is owed next. Call it only if the device is owed one.
    fn next_version(&self) -> u64 {
        self.owed_from.max(self.known_version.saturating_add(1))
    }

    /// Returns what became of a missing version that was reported.
    pub(super) fn check_gap(&mut self, missing: u64) -> Gap {
        let next = self.next_version();
        let Some(pending) = self.pending.as_mut().filter(|pending| !pending.last) else { return Gap::Filled };
        if pending.too_late {
            return Gap::Lost;
        }
        match pending.first_missing(next) {
            None => {
                pending.reported = false;
                Gap::Filled
            }
            Some(first) if first <= missing => Gap::Lost,
            Some(first) => Gap::Moved(first),
        }
    }

    /// Removes the next notice to send, and counts its version as known to the device. Returns `None` if there is none, or if
    /// the one before it is missing.
    pub(super) fn pop(&mut self) -> Option<DesiredNotice> {
        let next = self.next_version();
        let pending = self.pending.as_mut()?;
        if pending.notices.front()?.version != next {
            return None;
        }
        let notice = pending.notices.pop_front()?;
        self.known_version = notice.version;
        self.free();
        Some(notice)
    }

    /// Frees the memory if nothing is pending.
    fn free(&mut self) {
        if self.pending.as_ref().is_some_and(|p| p.notices.is_empty() && !p.too_late && !p.last) {
            self.pending = None;
        }
    }

    /// Returns whether the notices of a [`resync`](Self::resync) are sent, and the connection is to end.
    pub(super) fn has_sent_all(&self) -> bool {
        self.pending.as_ref().is_some_and(|pending| pending.last && pending.notices.is_empty())
    }

    /// Returns the patches that are pending, by ascending version.
    pub(super) fn patches(&self) -> Vec<Bytes> {
        let notices = self.pending.iter().flat_map(|pending| &pending.notices);
        notices.map(|notice| notice.patch.clone()).collect()
    }

    /// Replaces what is pending by one notice of all desired properties, after which the connection ends.
    pub(super) fn resync(&mut self, notice: DesiredNotice) {
        self.known_version = notice.version.saturating_sub(1);
        self.owed_from = 0;
        let pending = self.pending.get_or_insert_default();
        **pending = Pending { notices: [notice].into(), last: true, ..Pending::default() };
    }

    /// Records that the device has read its twin with this version of the desired properties. Drops the notices up to
    /// that version. If it is `subscribed`, it is owed the versions after it; returns the first that is missing, if one is and
    /// none was reported.
    pub(super) fn mark_read(&mut self, version: u64, subscribed: bool) -> Option<u64> {
        if let Some(pending) = self.pending.as_mut().filter(|pending| pending.last) {
            pending.notices.retain(|notice| notice.version > version);
            return None;
        }
        // Whether the device was sent a notice, and the one after the version that it has read came later or not at all.
        let skipped = version.saturating_add(1) < self.owed_from && self.owed_from <= self.known_version;
        self.known_version = self.known_version.max(version);
        if skipped {
            self.pending.get_or_insert_default().too_late = true;
        } else if subscribed {
            self.owed_from = 0;
        }
        let (known, next) = (self.known_version, self.next_version());
        let pending = self.pending.as_mut()?;
        pending.notices.retain(|notice| notice.version > known);
        pending.too_late &= skipped;
        let missing =
            if pending.too_late { Some(version.saturating_add(1)) } else { pending.first_missing(next) };
        let missing = pending.report(missing);
        self.free();
        missing
    }

    /// Drops all notices, because the device has unsubscribed. What is changed until it subscribes again it is not owed.
    pub(super) fn clear(&mut self) {
        self.pending = None;
        self.owed_from = NONE;
    }
}

#[cfg(test)]
mod interleavings;
#[cfg(test)]
mod tests;
