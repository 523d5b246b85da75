//! Which versions of the desired properties the application knows, and when the twin has to be read.
//!
//! The hub tells each change once, to whoever listens at that moment; each is one version more. Whatever was missed –
//! before the stream began, while there was no connection, while the application did not read – shows in the versions,
//! and is made good by reading the whole section. The application never sees an older version after a newer one.

use std::time::Duration;

use tokio::time::Instant;

/// The longest wait between two attempts to read the twin.
const MAX_WAIT: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct Desired {
    /// The stream that is served.
    reader: Option<u64>,
    /// The newest version that the application was told of.
    told: Option<u64>,
    /// Whether that is not so, because there was no room for it.
    lost: bool,
    /// The newest version that the hub spoke of.
    heard: u64,
    reading: Reading,
    /// Readings in a row that did not bring what is missing.
    attempts: u32,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// Not needed: what was told is the truth, as far as anybody knows.
    #[default]
    No,
    /// Needed, not before this instant.
    Due(Instant),
    /// Asked for; given up at this instant.
    Asked(Instant),
}

impl Desired {
    /// Looks who reads; a new reader is told everything from the beginning.
    pub(super) fn follow(&mut self, reader: Option<u64>, now: Instant) {
        if self.reader != reader {
            *self = Self { reader, ..Self::default() };
            self.missed(now);
        }
    }

    /// Something may have been missed.
    pub(super) fn missed(&mut self, now: Instant) {
        if self.reader.is_some() {
            self.attempts = 0;
            self.reading = Reading::Due(now);
        }
    }

    /// What was told is lost: the application did not keep up, and gets the whole section.
    pub(super) fn lost(&mut self, now: Instant) {
        self.lost = true;
        self.missed(now);
    }

    /// When to look again whether the twin has to be read.
    pub(super) fn wake(&self) -> Option<Instant> {
        match self.reading {
            Reading::No => None,
            Reading::Due(at) | Reading::Asked(at) => Some(at),
        }
    }

    /// Whether the twin has to be read now.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        if matches!(self.reading, Reading::Asked(until) if until <= now) {
            self.failed(now);
        }
        matches!(self.reading, Reading::Due(at) if at <= now)
    }

    pub(super) fn asked(&mut self, until: Instant) {
        self.reading = Reading::Asked(until);
    }

    /// A change came. Whether the application is told of it.
    pub(super) fn change(&mut self, version: u64, now: Instant) -> bool {
        if self.reader.is_none() || self.told.is_some_and(|told| version <= told) {
            return false;
        }
        self.heard = self.heard.max(version);
        let next = !self.lost && self.told.is_some_and(|told| told.checked_add(1) == Some(version));
        if next {
            self.told = Some(version);
        } else if self.reading == Reading::No {
            self.reading = Reading::Due(now);
        }
        next
    }

    /// The twin was read. Whether the application is told.
    pub(super) fn whole(&mut self, version: u64, now: Instant) -> bool {
        if self.reader.is_none() {
            return false;
        }
        let newer = self.told.is_none_or(|told| version > told || self.lost && version == told);
        if newer {
            self.told = Some(version);
            self.lost = false;
        }
        if self.lost || self.told.is_some_and(|told| told < self.heard) {
            // It was read before the change that was heard of.
            self.reading = Reading::Due(now + self.wait());
            self.attempts += 1;
        } else {
            self.reading = Reading::No;
            self.attempts = 0;
        }
        newer
    }

    /// The twin could not be read.
    pub(super) fn failed(&mut self, now: Instant) {
        if matches!(self.reading, Reading::Asked(_)) {
            self.attempts += 1;
            self.reading = Reading::Due(now + self.wait());
        }
    }

    fn wait(&self) -> Duration {
        match self.attempts.checked_sub(1) {
            None => Duration::ZERO,
            Some(doubled) => Duration::from_secs(2u64.saturating_pow(doubled)).min(MAX_WAIT),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    /// A reader who was told version 3.
    fn at_3(now: Instant) -> Desired {
        let mut desired = Desired::default();
        desired.follow(Some(1), now);
        assert!(desired.is_due(now));
        desired.asked(now + PATIENCE);
        assert!(!desired.is_due(now) && desired.whole(3, now) && desired.wake().is_none());
        desired
    }

    #[tokio::test(start_paused = true)]
    async fn each_version_is_told_once_and_a_gap_is_read() {
        let now = Instant::now();
        let mut desired = at_3(now);
        assert!(!desired.change(3, now) && !desired.change(2, now) && desired.change(4, now));
        assert!(desired.wake().is_none());
        assert!(!desired.change(6, now), "5 is missing");
        assert!(desired.is_due(now));
        desired.asked(now + PATIENCE);
        assert!(!desired.change(7, now));
        assert!(desired.whole(6, now), "better than nothing");
        assert!(desired.is_due(now), "but not the truth yet");
        desired.asked(now + PATIENCE);
        assert!(desired.whole(7, now) && !desired.whole(6, now) && !desired.whole(7, now));
        assert!(desired.wake().is_none());
        assert!(desired.change(8, now));
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_that_overtakes_the_reading_is_told_if_it_is_the_next() {
        let now = Instant::now();
        let mut desired = at_3(now);
        desired.missed(now);
        desired.asked(now + PATIENCE);
        assert!(desired.change(4, now) && !desired.whole(3, now));
        assert!(desired.wake().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn reading_is_tried_again_with_growing_waits() {
        let now = Instant::now();
        let mut desired = at_3(now);
        desired.missed(now);
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            let at = desired.wake().unwrap();
            desired.asked(at);
            assert!(!desired.is_due(at), "the time of the last one is over");
            assert_eq!((desired.wake().unwrap() - at).as_secs(), seconds);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_lost_is_told_whole() {
        let now = Instant::now();
        let mut desired = at_3(now);
        assert!(desired.change(4, now));
        desired.lost(now);
        assert!(desired.is_due(now) && !desired.change(5, now));
        desired.asked(now + PATIENCE);
        assert!(!desired.whole(3, now), "never an older one");
        assert!(desired.is_due(now));
        desired.asked(now + PATIENCE);
        assert!(desired.whole(5, now) && desired.change(6, now));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_reads() {
        let now = Instant::now();
        let mut desired = at_3(now);
        desired.follow(None, now);
        desired.missed(now);
        assert!(desired.wake().is_none() && !desired.change(4, now) && !desired.whole(4, now));
        desired.follow(Some(2), now);
        assert!(desired.is_due(now) && desired.whole(4, now), "the next reader begins anew");
    }
}
