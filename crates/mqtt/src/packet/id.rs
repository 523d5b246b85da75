//! Packet identifiers (2.3.1).

use std::{fmt, num::NonZeroU16};

/// The number that ties an acknowledgement to its packet; never zero (MQTT-2.3.1-1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketId(NonZeroU16);

impl PacketId {
    /// The first identifier a sender uses.
    pub const FIRST: Self = Self(NonZeroU16::MIN);

    /// `None` for zero.
    pub const fn new(value: u16) -> Option<Self> {
        match NonZeroU16::new(value) {
            Some(value) => Some(Self(value)),
            None => None,
        }
    }

    /// The number.
    pub const fn get(self) -> u16 {
        self.0.get()
    }

    /// The identifier after this one; after 65 535 comes 1.
    #[must_use]
    pub const fn next(self) -> Self {
        match self.0.checked_add(1) {
            Some(value) => Self(value),
            None => Self::FIRST,
        }
    }

    /// The first identifier from `self` on that `in_use` does not claim, or `None` when it claims all of them.
    pub(crate) fn first_free(self, in_use: impl Fn(Self) -> bool) -> Option<Self> {
        let mut candidate = self;
        while in_use(candidate) {
            candidate = candidate.next();
            if candidate == self {
                return None;
            }
        }
        Some(candidate)
    }
}

impl fmt::Display for PacketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skips_zero_and_used_identifiers() {
        let last = PacketId::new(u16::MAX).unwrap();
        assert_eq!(last.next(), PacketId::FIRST);
        assert_eq!(last.first_free(|id| id == last || id == PacketId::FIRST), PacketId::new(2));
        assert_eq!(last.first_free(|_| true), None);
    }
}
