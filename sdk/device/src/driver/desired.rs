//! Which versions of the desired properties the application knows, and when the twin has to be read.
//!
//! The hub tells each change once, to whoever listens at that moment; each is one version more. Whatever was missed –
//! before the stream began, while there was no connection, while the application did not read – shows in the versions,
//! and is made good by reading the whole section. The application never sees an older version after a newer one.

use std::time::Duration;

use tokio::time::Instant;

/// The longest wait between two attempts to read the twin.
const MAX_RETRY_DELAY: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct DesiredTracker {
    /// The stream that is served.
    reader: Option<u64>,
    /// The newest version that the application was told of.
    delivered_version: Option<u64>,
    /// Whether that is not so, because there was no room for it.
    overflowed: bool,
    /// The newest version that the hub spoke of.
    newest_version: u64,
    read_state: ReadState,
    /// Readings in a row that did not bring what is missing.
    attempts: u32,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum ReadState {
    /// Not needed: what was told is the truth, as far as anybody knows.
    #[default]
    Idle,
    /// Needed, not before this instant.
    Due(Instant),
    /// Asked for; given up at this instant.
    Requested(Instant),
}

impl DesiredTracker {
    /// Looks who reads; a new reader is told everything from the beginning.
    pub(super) fn set_receiver(&mut self, reader: Option<u64>, now: Instant) {
        if self.reader != reader {
            *self = Self { reader, ..Self::default() };
            self.schedule_read(now);
        }
    }

    /// Something may have been missed.
    pub(super) fn schedule_read(&mut self, now: Instant) {
        if self.reader.is_some() {
            self.attempts = 0;
            self.read_state = ReadState::Due(now);
        }
    }

    /// What was told is lost: the application did not keep up, and gets the whole section.
    pub(super) fn queue_overflowed(&mut self, now: Instant) {
        self.overflowed = true;
        self.schedule_read(now);
    }

    /// When to look again whether the twin has to be read.
    pub(super) fn next_read_at(&self) -> Option<Instant> {
        match self.read_state {
            ReadState::Idle => None,
            ReadState::Due(at) | ReadState::Requested(at) => Some(at),
        }
    }

    /// Whether the twin has to be read now.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        if matches!(self.read_state, ReadState::Requested(until) if until <= now) {
            self.read_failed(now);
        }
        matches!(self.read_state, ReadState::Due(at) if at <= now)
    }

    pub(super) fn read_sent(&mut self, until: Instant) {
        self.read_state = ReadState::Requested(until);
    }

    /// A change came. Whether the application is told of it.
    pub(super) fn accept_patch(&mut self, version: u64, now: Instant) -> bool {
        if self.reader.is_none() || self.delivered_version.is_some_and(|delivered| version <= delivered) {
            return false;
        }
        self.newest_version = self.newest_version.max(version);
        let next = !self.overflowed
            && self.delivered_version.is_some_and(|delivered| delivered.checked_add(1) == Some(version));
        if next {
            self.delivered_version = Some(version);
        } else if self.read_state == ReadState::Idle {
            self.read_state = ReadState::Due(now);
        }
        next
    }

    /// The twin was read. Whether the application is told.
    pub(super) fn accept_full(&mut self, version: u64, now: Instant) -> bool {
        if self.reader.is_none() {
            return false;
        }
        let newer = self
            .delivered_version
            .is_none_or(|delivered| version > delivered || self.overflowed && version == delivered);
        if newer {
            self.delivered_version = Some(version);
            self.overflowed = false;
        }
        if self.overflowed || self.delivered_version.is_some_and(|delivered| delivered < self.newest_version)
        {
            // It was read before the change that was heard of.
            self.read_state = ReadState::Due(now + self.retry_delay());
            self.attempts += 1;
        } else {
            self.read_state = ReadState::Idle;
            self.attempts = 0;
        }
        newer
    }

    /// The twin could not be read.
    pub(super) fn read_failed(&mut self, now: Instant) {
        if matches!(self.read_state, ReadState::Requested(_)) {
            self.attempts += 1;
            self.read_state = ReadState::Due(now + self.retry_delay());
        }
    }

    fn retry_delay(&self) -> Duration {
        match self.attempts.checked_sub(1) {
            None => Duration::ZERO,
            Some(doubled) => Duration::from_secs(2u64.saturating_pow(doubled)).min(MAX_RETRY_DELAY),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(30);

    /// A reader who was told version 3.
    fn at_3(now: Instant) -> DesiredTracker {
        let mut desired = DesiredTracker::default();
        desired.set_receiver(Some(1), now);
        assert!(desired.is_due(now));
        desired.read_sent(now + TIMEOUT);
        assert!(!desired.is_due(now) && desired.accept_full(3, now) && desired.next_read_at().is_none());
        desired
    }

    #[tokio::test(start_paused = true)]
    async fn each_version_is_told_once_and_a_gap_is_read() {
        let now = Instant::now();
        let mut desired = at_3(now);
        assert!(
            !desired.accept_patch(3, now) && !desired.accept_patch(2, now) && desired.accept_patch(4, now)
        );
        assert!(desired.next_read_at().is_none());
        assert!(!desired.accept_patch(6, now), "5 is missing");
        assert!(desired.is_due(now));
        desired.read_sent(now + TIMEOUT);
        assert!(!desired.accept_patch(7, now));
        assert!(desired.accept_full(6, now), "better than nothing");
        assert!(desired.is_due(now), "but not the truth yet");
        desired.read_sent(now + TIMEOUT);
        assert!(desired.accept_full(7, now) && !desired.accept_full(6, now) && !desired.accept_full(7, now));
        assert!(desired.next_read_at().is_none());
        assert!(desired.accept_patch(8, now));
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_that_overtakes_the_reading_is_told_if_it_is_the_next() {
        let now = Instant::now();
        let mut desired = at_3(now);
        desired.schedule_read(now);
        desired.read_sent(now + TIMEOUT);
        assert!(desired.accept_patch(4, now) && !desired.accept_full(3, now));
        assert!(desired.next_read_at().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn reading_is_tried_again_with_growing_waits() {
        let now = Instant::now();
        let mut desired = at_3(now);
        desired.schedule_read(now);
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            let at = desired.next_read_at().unwrap();
            desired.read_sent(at);
            assert!(!desired.is_due(at), "the time of the last one is over");
            assert_eq!((desired.next_read_at().unwrap() - at).as_secs(), seconds);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_lost_is_told_whole() {
        let now = Instant::now();
        let mut desired = at_3(now);
        assert!(desired.accept_patch(4, now));
        desired.queue_overflowed(now);
        assert!(desired.is_due(now) && !desired.accept_patch(5, now));
        desired.read_sent(now + TIMEOUT);
        assert!(!desired.accept_full(3, now), "never an older one");
        assert!(desired.is_due(now));
        desired.read_sent(now + TIMEOUT);
        assert!(desired.accept_full(5, now) && desired.accept_patch(6, now));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_reads() {
        let now = Instant::now();
        let mut desired = at_3(now);
        desired.set_receiver(None, now);
        desired.schedule_read(now);
        assert!(
            desired.next_read_at().is_none() && !desired.accept_patch(4, now) && !desired.accept_full(4, now)
        );
        desired.set_receiver(Some(2), now);
        assert!(desired.is_due(now) && desired.accept_full(4, now), "the next reader begins anew");
    }
}
