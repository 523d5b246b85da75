//! Tracks which version of the desired properties the application has received, and when to read the twin.
//!
//! The hub sends each patch once, to a connected and subscribed device; each patch increments the version by one. A gap
//! in the versions shows missed patches (before the stream was opened, without a connection, or with a full queue).
//! Reading the full section closes the gap. Within a connection, the application never receives an older version after a
//! newer one. On a new connection, versions may have gone back: the hub was restored from a backup, or the device was
//! created anew. The application then receives the full section.

use std::time::Duration;

use tokio::time::Instant;

/// The longest delay between two attempts to read the twin.
const MAX_RETRY_DELAY: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct DesiredTracker {
    /// The open stream.
    receiver: Option<u64>,
    /// The newest version that was queued for the application.
    delivered_version: Option<u64>,
    /// Whether that update was lost, because the queue was full.
    overflowed: bool,
    /// The newest version that the hub has sent as a patch on this connection.
    newest_version: u64,
    /// Whether nothing on this connection has shown yet that its versions continue the delivered ones.
    may_have_gone_back: bool,
    read_state: ReadState,
    /// Consecutive reads that did not close the gap.
    attempts: u32,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum ReadState {
    /// No read is needed: there is no known gap.
    #[default]
    Idle,
    /// A read is needed, not before this instant.
    Due(Instant),
    /// A read was sent; it times out at this instant.
    Requested(Instant),
}

impl DesiredTracker {
    /// Sets the open stream. A new stream begins with the full section.
    pub(super) fn set_receiver(&mut self, receiver: Option<u64>, now: Instant) {
        if self.receiver != receiver {
            *self = Self { receiver, ..Self::default() };
            self.schedule_read(now);
        }
    }

    /// A new connection: patches may have been missed, and versions may have gone back.
    pub(super) fn connected(&mut self, now: Instant) {
        self.newest_version = 0;
        self.may_have_gone_back = true;
        self.schedule_read(now);
    }

    /// Schedules a read, because patches may have been missed.
    pub(super) fn schedule_read(&mut self, now: Instant) {
        if self.receiver.is_some() {
            self.attempts = 0;
            self.read_state = ReadState::Due(now);
        }
    }

    /// The queue of the application is full: it receives the full section later.
    pub(super) fn queue_overflowed(&mut self, now: Instant) {
        self.overflowed = true;
        self.schedule_read(now);
    }

    /// Returns when to call `is_due` next.
    pub(super) fn next_read_at(&self) -> Option<Instant> {
        match self.read_state {
            ReadState::Idle => None,
            ReadState::Due(at) | ReadState::Requested(at) => Some(at),
        }
    }

    /// Returns whether the twin must be read now.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        if matches!(self.read_state, ReadState::Requested(until) if until <= now) {
            self.read_failed(now);
        }
        matches!(self.read_state, ReadState::Due(at) if at <= now)
    }

    pub(super) fn read_sent(&mut self, until: Instant) {
        self.read_state = ReadState::Requested(until);
    }

    /// Handles a patch. Returns whether to queue it for the application.
    pub(super) fn accept_patch(&mut self, version: u64, now: Instant) -> bool {
        if self.receiver.is_none() {
            return false;
        }
        self.newest_version = self.newest_version.max(version);
        if self.delivered_version.is_some_and(|delivered| version <= delivered) {
            return false;
        }
        let next = !self.overflowed
            && self.delivered_version.is_some_and(|delivered| delivered.checked_add(1) == Some(version));
        if next {
            self.delivered_version = Some(version);
            self.may_have_gone_back = false;
        } else if self.read_state == ReadState::Idle {
            self.read_state = ReadState::Due(now);
        }
        next
    }

    /// Handles the full section. Returns whether to queue it for the application.
    pub(super) fn accept_full(&mut self, version: u64, now: Instant) -> bool {
        if self.receiver.is_none() {
            return false;
        }
        let is_older = self.delivered_version.is_some_and(|delivered| version < delivered);
        if is_older && self.may_have_gone_back && version < self.newest_version {
            // It is also older than a patch that arrived meanwhile.
            self.read_state = ReadState::Due(now + self.retry_delay());
            self.attempts += 1;
            return false;
        }
        let has_gone_back = is_older && self.may_have_gone_back;
        self.may_have_gone_back = false;
        let newer = has_gone_back
            || self
                .delivered_version
                .is_none_or(|delivered| version > delivered || self.overflowed && version == delivered);
        if newer {
            self.delivered_version = Some(version);
            self.overflowed = false;
        }
        if self.overflowed || self.delivered_version.is_some_and(|delivered| delivered < self.newest_version)
        {
            // The read is older than a patch that arrived meanwhile.
            self.read_state = ReadState::Due(now + self.retry_delay());
            self.attempts += 1;
        } else {
            self.read_state = ReadState::Idle;
            self.attempts = 0;
        }
        newer
    }

    /// A read failed: schedules the next one.
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

    /// A tracker whose application has received version 3.
    fn at_3(now: Instant) -> DesiredTracker {
        let mut desired = DesiredTracker::default();
        desired.set_receiver(Some(1), now);
        assert!(desired.is_due(now));
        desired.read_sent(now + TIMEOUT);
        assert!(!desired.is_due(now) && desired.accept_full(3, now) && desired.next_read_at().is_none());
        desired
    }

    #[tokio::test(start_paused = true)]
    async fn each_version_is_delivered_once_and_a_gap_causes_a_read() {
        let now = Instant::now();
        let mut desired = at_3(now);
        assert!(
            !desired.accept_patch(3, now) && !desired.accept_patch(2, now) && desired.accept_patch(4, now)
        );
        assert!(desired.next_read_at().is_none());
        assert!(!desired.accept_patch(6, now), "version 5 is missing");
        assert!(desired.is_due(now));
        desired.read_sent(now + TIMEOUT);
        assert!(!desired.accept_patch(7, now));
        assert!(desired.accept_full(6, now), "newer than before");
        assert!(desired.is_due(now), "but version 7 is known");
        desired.read_sent(now + TIMEOUT);
        assert!(desired.accept_full(7, now) && !desired.accept_full(6, now) && !desired.accept_full(7, now));
        assert!(desired.next_read_at().is_none());
        assert!(desired.accept_patch(8, now));
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_patch_is_delivered_even_before_a_pending_read() {
        let now = Instant::now();
        let mut desired = at_3(now);
        desired.schedule_read(now);
        desired.read_sent(now + TIMEOUT);
        assert!(desired.accept_patch(4, now) && !desired.accept_full(3, now));
        assert!(desired.next_read_at().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_read_is_retried_with_growing_delays() {
        let now = Instant::now();
        let mut desired = at_3(now);
        desired.schedule_read(now);
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            let at = desired.next_read_at().unwrap();
            desired.read_sent(at);
            assert!(!desired.is_due(at), "the last read timed out");
            assert_eq!((desired.next_read_at().unwrap() - at).as_secs(), seconds);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn versions_that_went_back_on_a_new_connection_are_delivered() {
        let now = Instant::now();
        let mut desired = at_3(now);
        // Not on the same connection: such a read was overtaken.
        desired.schedule_read(now);
        assert!(!desired.accept_full(1, now));

        desired.connected(now);
        assert!(desired.is_due(now));
        desired.read_sent(now + TIMEOUT);
        assert!(desired.accept_full(1, now), "the hub was restored from a backup");
        assert!(desired.next_read_at().is_none());
        assert!(!desired.accept_full(1, now) && desired.accept_patch(2, now) && !desired.accept_full(1, now));

        // A patch arrives before a read that does not have it.
        let mut desired = at_3(now);
        desired.connected(now);
        assert!(desired.is_due(now));
        desired.read_sent(now + TIMEOUT);
        assert!(!desired.accept_patch(2, now) && !desired.accept_full(1, now));
        assert!(desired.is_due(now));
        desired.read_sent(now + TIMEOUT);
        assert!(desired.accept_full(2, now) && desired.next_read_at().is_none());

        // A patch that continues what was delivered shows that nothing went back.
        let mut desired = at_3(now);
        desired.connected(now);
        desired.read_sent(now + TIMEOUT);
        assert!(desired.accept_patch(4, now) && !desired.accept_full(3, now));
        assert!(desired.next_read_at().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn after_an_overflow_the_full_section_is_delivered() {
        let now = Instant::now();
        let mut desired = at_3(now);
        assert!(desired.accept_patch(4, now));
        desired.queue_overflowed(now);
        assert!(desired.is_due(now) && !desired.accept_patch(5, now));
        desired.read_sent(now + TIMEOUT);
        assert!(!desired.accept_full(3, now), "never an older version");
        assert!(desired.is_due(now));
        desired.read_sent(now + TIMEOUT);
        assert!(desired.accept_full(5, now) && desired.accept_patch(6, now));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_stream_nothing_is_delivered() {
        let now = Instant::now();
        let mut desired = at_3(now);
        desired.set_receiver(None, now);
        desired.schedule_read(now);
        assert!(
            desired.next_read_at().is_none() && !desired.accept_patch(4, now) && !desired.accept_full(4, now)
        );
        desired.set_receiver(Some(2), now);
        assert!(
            desired.is_due(now) && desired.accept_full(4, now),
            "a new stream begins with the full section"
        );
    }
}
