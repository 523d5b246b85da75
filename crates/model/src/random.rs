//! Random bytes for everything that must not be predictable: keys, codes, tokens, ids and etags.

use ring::error::Unspecified;
use ring::rand::{SecureRandom as _, SystemRandom};

/// Returns `N` random bytes of the operating system.
///
/// # Panics
/// If the operating system provides none. A predictable key, code or token is worse than a failed operation.
#[must_use]
pub fn random_bytes<const N: usize>() -> [u8; N] {
    #[allow(clippy::disallowed_methods, reason = "the one place")]
    filled_by(|bytes| SystemRandom::new().fill(bytes))
}

#[allow(clippy::panic, reason = "a predictable value is worse than a failed operation")]
fn filled_by<const N: usize>(fill: impl FnOnce(&mut [u8]) -> Result<(), Unspecified>) -> [u8; N] {
    let mut bytes = [0; N];
    match fill(&mut bytes) {
        Ok(()) => bytes,
        Err(Unspecified) => panic!("the operating system provides no random bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_bytes_differ() {
        assert_ne!(random_bytes::<16>(), random_bytes::<16>());
    }

    #[test]
    #[should_panic(expected = "no random bytes")]
    fn a_failing_generator_never_yields_predictable_bytes() {
        let _ = filled_by::<16>(|_| Err(Unspecified));
    }
}
