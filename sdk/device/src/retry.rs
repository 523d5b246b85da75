//! How long to wait before the next attempt.

use std::time::Duration;

/// How a client reconnects after it lost its connection, and the delays before it repeats failed parts of an upload.
/// Each request of an upload is sent at most five times; [`give_up_after`](Self::give_up_after) does not apply to it.
///
/// The delay before attempt *n* (from 0) is at most `initial_delay · 2ⁿ`, and never more than `max_delay`. The first
/// [`connect`](crate::DeviceClient::connect) is not repeated: it returns its error to the caller.
///
/// ```
/// use std::time::Duration;
/// use ferrohub_device::RetryPolicy;
///
/// let slow = RetryPolicy::default().max_delay(Duration::from_secs(600));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct RetryPolicy {
    initial_delay: Duration,
    pub(crate) max_delay: Duration,
    jitter: Jitter,
    pub(crate) give_up_after: Option<Duration>,
}

/// How delays are randomised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Jitter {
    /// Any delay between zero and the maximum, uniformly distributed.
    Full,
    /// Always the maximum.
    None,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            initial_delay: Duration::from_millis(500),
            max_delay: Duration::from_secs(60),
            jitter: Jitter::Full,
            give_up_after: None,
        }
    }
}

impl RetryPolicy {
    /// No reconnects: the client ends when it loses its connection. Failed parts of an upload are still repeated.
    pub fn never() -> Self {
        Self::default().give_up_after(Duration::ZERO)
    }

    /// Sets the maximum delay before the first attempt. Default 500 ms.
    pub fn initial_delay(mut self, delay: Duration) -> Self {
        self.initial_delay = delay;
        self
    }

    /// Sets the maximum delay before any attempt. Default 60 s.
    pub fn max_delay(mut self, delay: Duration) -> Self {
        self.max_delay = delay;
        self
    }

    /// Sets how delays are randomised, so that the devices of a fleet do not reconnect at the same time. Default
    /// [`Jitter::Full`].
    pub fn jitter(mut self, jitter: Jitter) -> Self {
        self.jitter = jitter;
        self
    }

    /// Sets how long after the loss of the connection the client gives up. Default: never.
    pub fn give_up_after(mut self, limit: Duration) -> Self {
        self.give_up_after = Some(limit);
        self
    }

    /// Returns the delay before an attempt; `random` is in `0.0..1.0`.
    fn delay(&self, attempt: u32, random: f64) -> Duration {
        let longest = self.initial_delay.saturating_mul(2u32.saturating_pow(attempt)).min(self.max_delay);
        match self.jitter {
            Jitter::Full => longest.mul_f64(random.clamp(0.0, 1.0)),
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
    pub(crate) fn next_delay(&mut self, policy: &RetryPolicy) -> Duration {
        let delay = policy.delay(self.attempt, rand::random());
        self.attempt = self.attempt.saturating_add(1);
        delay
    }

    /// Resets the count after a connection that lasted for at least the maximum delay. A shorter one does not reset it:
    /// two devices with the same identity take over each other's connections, and the back-off limits how often.
    pub(crate) fn reset_after(&mut self, lasted: Duration, policy: &RetryPolicy) {
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
    fn the_longest_delay_doubles_up_to_the_maximum() {
        let policy = RetryPolicy::default().jitter(Jitter::None);
        let delays: Vec<_> = (0..9).map(|attempt| policy.delay(attempt, 0.0).as_millis()).collect();
        assert_eq!(delays, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
        assert_eq!(policy.delay(u32::MAX, 0.0), MAX);
    }

    #[test]
    fn full_jitter_spreads_over_the_whole_delay() {
        let policy = RetryPolicy::default();
        assert_eq!(policy.delay(3, 0.0), Duration::ZERO);
        assert_eq!(policy.delay(3, 0.5), Duration::from_secs(2));
        let mut backoff = Backoff { attempt: 20 };
        let delays: Vec<_> = (0..200).map(|_| backoff.next_delay(&policy)).collect();
        assert!(delays.iter().all(|delay| *delay <= MAX));
        assert!(
            delays.iter().any(|delay| *delay < MAX / 4) && delays.iter().any(|delay| *delay > MAX / 4 * 3)
        );
    }

    #[test]
    fn only_a_long_connection_resets_the_count() {
        let policy = RetryPolicy::default();
        let mut backoff = Backoff { attempt: 5 };
        backoff.reset_after(Duration::from_secs(1), &policy);
        assert_eq!(backoff.attempt, 5);
        backoff.reset_after(MAX, &policy);
        assert_eq!(backoff.attempt, 0);
    }
}
