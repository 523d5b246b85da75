//! When a token is renewed.

use std::time::Duration;

/// The longest time before the expiry at which the renewal begins, as in Microsoft's SDKs.
const MAX_LEAD_TIME: Duration = Duration::from_secs(120);
/// How long before the expiry the renewal must be done; less for short lifetimes.
const MIN_LEAD_TIME: Duration = Duration::from_secs(10);

/// The two deadlines of a renewal, relative to the creation of the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Renewal {
    /// From here on the renewal happens at the first quiet moment.
    pub(crate) begin: Duration,
    /// At the latest here it happens, with or without open calls.
    pub(crate) latest: Duration,
}

impl Renewal {
    /// Begins after 85 % of the lifetime, but no earlier than two minutes before the expiry. A lifetime of one hour
    /// leaves two minutes for running handlers; ten seconds leave one and a half seconds.
    pub(crate) fn for_lifetime(lifetime: Duration) -> Self {
        let begin = (lifetime / 100 * 85).max(lifetime.saturating_sub(MAX_LEAD_TIME));
        let rest = lifetime.saturating_sub(begin);
        Self { begin, latest: lifetime.saturating_sub(MIN_LEAD_TIME.min(rest / 4)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_tokens_are_renewed_two_minutes_before_expiry_and_short_ones_after_85_percent() {
        for (lifetime, begin, latest) in [
            (86_400_000, 86_280_000, 86_390_000),
            (3_600_000, 3_480_000, 3_590_000),
            (60_000, 51_000, 57_750),
            (10_000, 8_500, 9_625),
            (1_000, 850, 963),
        ] {
            let renewal = Renewal::for_lifetime(Duration::from_millis(lifetime));
            assert_eq!(renewal.begin.as_millis(), begin);
            assert!(renewal.latest.as_millis().abs_diff(latest) <= 1, "{renewal:?}");
        }
    }

    #[test]
    fn a_renewal_lies_within_the_lifetime_of_the_token() {
        for millis in 1..5_000 {
            let lifetime = Duration::from_millis(millis * millis);
            let renewal = Renewal::for_lifetime(lifetime);
            assert!(renewal.begin <= renewal.latest && renewal.latest < lifetime, "{lifetime:?} {renewal:?}");
        }
    }
}
