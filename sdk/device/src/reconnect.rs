//! How long to wait before the next attempt to connect.

use std::time::Duration;

/// How a client that lost its connection comes back.
///
/// The wait before attempt *n* (from 0) is at most `initial_delay · 2ⁿ`, and never more than `max`. The first
/// [`connect`](crate::DeviceClient::connect) is not repeated: its error is the caller's.
///
/// ```
/// use std::time::Duration;
/// use ferrohub_device::ReconnectPolicy;
///
/// let patient = ReconnectPolicy { max_delay: Duration::from_secs(600), ..ReconnectPolicy::default() };
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReconnectPolicy {
    /// The longest wait before the first attempt. Default 500 ms.
    pub initial_delay: Duration,
    /// The longest wait before any attempt. Default 60 s.
    pub max_delay: Duration,
    /// How the wait is spread, so that a fleet does not come back all at once. Default [`Jitter::Full`].
    pub jitter: Jitter,
    /// How long after the loss of the connection to give up. Default: never.
    pub give_up_after: Option<Duration>,
}

/// How waits are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Jitter {
    /// Any wait between nothing and the longest, all equally likely.
    Full,
    /// Always the longest.
    None,
}

impl Default for ReconnectPolicy {
    fn default() -> Self {
        Self {
            initial_delay: Duration::from_millis(500),
            max_delay: Duration::from_secs(60),
            jitter: Jitter::Full,
            give_up_after: None,
        }
    }
}

impl ReconnectPolicy {
    /// Does not come back: the first loss of the connection is the end.
    #[must_use]
    pub fn never() -> Self {
        Self { give_up_after: Some(Duration::ZERO), ..Self::default() }
    }

    /// The wait before this attempt; `dice` is in `0.0..1.0`.
    fn delay(&self, attempt: u32, dice: f64) -> Duration {
        let longest = self.initial_delay.saturating_mul(2u32.saturating_pow(attempt)).min(self.max_delay);
        match self.jitter {
            Jitter::Full => longest.mul_f64(dice.clamp(0.0, 1.0)),
            Jitter::None => longest,
        }
    }
}

/// Counts attempts.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    attempt: u32,
}

impl Backoff {
    pub(crate) fn next_delay(&mut self, policy: &ReconnectPolicy) -> Duration {
        let wait = policy.delay(self.attempt, rand::random());
        self.attempt = self.attempt.saturating_add(1);
        wait
    }

    /// A connection that lasted begins the count again. One that was let in and thrown out at once does not: two
    /// devices with the same identity displace each other, and must not do so as fast as they can.
    pub(crate) fn reset_after(&mut self, lasted: Duration, policy: &ReconnectPolicy) {
        if lasted >= policy.max_delay {
            self.attempt = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: Duration = Duration::from_secs(60);

    #[test]
    fn the_longest_wait_doubles_up_to_the_maximum() {
        let policy = ReconnectPolicy { jitter: Jitter::None, ..ReconnectPolicy::default() };
        let waits: Vec<_> = (0..9).map(|attempt| policy.delay(attempt, 0.0).as_millis()).collect();
        assert_eq!(waits, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
        assert_eq!(policy.delay(u32::MAX, 0.0), MAX);
    }

    #[test]
    fn full_jitter_spreads_over_the_whole_wait() {
        let policy = ReconnectPolicy::default();
        assert_eq!(policy.delay(3, 0.0), Duration::ZERO);
        assert_eq!(policy.delay(3, 0.5), Duration::from_secs(2));
        let mut backoff = Backoff { attempt: 20 };
        let waits: Vec<_> = (0..200).map(|_| backoff.next_delay(&policy)).collect();
        assert!(waits.iter().all(|wait| *wait <= MAX));
        assert!(waits.iter().any(|wait| *wait < MAX / 4) && waits.iter().any(|wait| *wait > MAX / 4 * 3));
    }

    #[test]
    fn only_a_connection_that_lasted_begins_the_count_again() {
        let policy = ReconnectPolicy::default();
        let mut backoff = Backoff { attempt: 5 };
        backoff.reset_after(Duration::from_secs(1), &policy);
        assert_eq!(backoff.attempt, 5);
        backoff.reset_after(MAX, &policy);
        assert_eq!(backoff.attempt, 0);
    }
}
