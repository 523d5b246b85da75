//! Packet identifiers (MQTT 3.1.1, section 2.3.1).

use std::{fmt, num::NonZeroU16};

/// The identifier that matches an acknowledgement to its packet; never zero (MQTT-2.3.1-1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketId(NonZeroU16);

impl PacketId {
    /// The first identifier a sender uses.
    pub const FIRST: Self = Self(NonZeroU16::MIN);

    /// Creates an identifier; returns `None` for zero.
    pub const fn new(value: u16) -> Option<Self> {
        match NonZeroU16::new(value) {
            Some(value) => Some(Self(value)),
            None => None,
        }
    }

    /// Returns the numeric value.
    pub const fn get(self) -> u16 {
        self.0.get()
    }

    /// Returns the next identifier; 1 follows 65 535.
    #[must_use]
    pub const fn next(self) -> Self {
        match self.0.checked_add(1) {
            Some(value) => Self(value),
            None => Self::FIRST,
        }
    }

    /// Returns the first identifier from `self` on for which `in_use` is false; `None` if all are in use.
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
    fn zero_and_used_identifiers_are_skipped() {
        let last = PacketId::new(u16::MAX).unwrap();
        assert_eq!(last.next(), PacketId::FIRST);
        assert_eq!(last.first_free(|id| id == last || id == PacketId::FIRST), PacketId::new(2));
        assert_eq!(last.first_free(|_| true), None);
    }
}
