//! Names of sessions, links and deliveries within one connection.
//!
//! An id stays invalid after its session, link or delivery has ended, also when the channel or handle is used again.

use std::fmt;

/// A session of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId {
    /// Our channel.
    pub(crate) channel: u16,
    /// Distinguishes sessions that had the channel one after the other.
    pub(crate) serial: u32,
}

/// A link of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LinkId {
    /// Our channel.
    pub(crate) channel: u16,
    /// Our handle.
    pub(crate) handle: u16,
    /// Distinguishes links that had the handle one after the other.
    pub(crate) serial: u32,
}

/// A message that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DeliveryId(pub(crate) u32);

/// The right to settle a message that was received, once.
///
/// If it is dropped, the delivery stays unsettled and its credit is not renewed.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Unsettled {
    pub(crate) link: LinkId,
    /// The delivery-id of the session.
    pub(crate) id: u32,
}

impl Unsettled {
    /// The link that the message came from.
    #[must_use]
    pub fn link(&self) -> LinkId {
        self.link
    }
}

/// The name of a delivery that its sender has chosen: at most 32 bytes (AMQP §2.8.7).
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct DeliveryTag {
    bytes: [u8; Self::MAX_LEN],
    len: u8,
}

impl DeliveryTag {
    /// Maximum length in bytes.
    pub const MAX_LEN: usize = 32;

    /// Copies a tag. Returns `None` if it is too long.
    #[must_use]
    pub fn new(tag: &[u8]) -> Option<Self> {
        let mut bytes = [0; Self::MAX_LEN];
        bytes.get_mut(..tag.len())?.copy_from_slice(tag);
        Some(Self { bytes, len: tag.len() as u8 })
    }

    /// Returns the bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

impl fmt::Debug for DeliveryTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x?}", self.as_bytes())
    }
}
