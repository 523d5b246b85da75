//! The subscriptions of a device. They survive a disconnect and a restart of the hub, because
//! Microsoft's Python client never subscribes again after a reconnect.

/// A kind of message that a device can subscribe to. The numbers are stored: never reuse one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Subscription {
    /// Method requests.
    Methods = 0,
    /// Responses to twin requests. The hub sends them even without a subscription, because Microsoft's Python client
    /// needs that.
    TwinResponses = 1,
    /// Changes of desired properties.
    DesiredProperties = 2,
    /// Messages to the device or module itself.
    Messages = 3,
    /// Messages to the inputs of a module.
    Inputs = 4,
}

impl Subscription {
    /// All subscriptions.
    pub const ALL: [Self; 5] =
        [Self::Methods, Self::TwinResponses, Self::DesiredProperties, Self::Messages, Self::Inputs];
}

/// A set of subscriptions with the granted QoS of each.
///
/// Two bits per subscription, at bit `2 * number`: 0 not subscribed, 1 at QoS 0, 2 at QoS 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Session(u32);

impl Session {
    /// Returns the bits, for storage.
    #[must_use]
    pub fn bits(self) -> u32 {
        self.0
    }

    /// Creates a session from stored bits.
    #[must_use]
    pub fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// Returns whether `subscription` is in the set.
    #[must_use]
    pub fn has(self, subscription: Subscription) -> bool {
        self.0 >> (2 * subscription as u32) & 3 != 0
    }

    /// Returns whether `subscription` is in the set at QoS 1.
    #[must_use]
    pub fn has_qos1(self, subscription: Subscription) -> bool {
        self.0 >> (2 * subscription as u32) & 3 == 2
    }

    /// Returns whether the set has a subscription to messages or to inputs.
    #[must_use]
    pub fn listens_for_messages(self) -> bool {
        self.has(Subscription::Messages) || self.has(Subscription::Inputs)
    }

    /// Returns the set with `subscription` added, at QoS 1 or QoS 0.
    #[must_use]
    pub fn with(self, subscription: Subscription, qos1: bool) -> Self {
        let cleared = self.without(subscription);
        Self(cleared.0 | (1 + u32::from(qos1)) << (2 * subscription as u32))
    }

    /// Returns the set without `subscription`.
    #[must_use]
    pub fn without(self, subscription: Subscription) -> Self {
        Self(self.0 & !(3 << (2 * subscription as u32)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscriptions_are_added_replaced_and_removed() {
        let none = Session::default();
        let both = none.with(Subscription::Methods, false).with(Subscription::Methods, true);
        assert!(!none.has(Subscription::Methods));
        assert!(both.has(Subscription::Methods));
        assert_eq!(both.bits(), 2);
        assert!(both.has_qos1(Subscription::Methods) && !none.has_qos1(Subscription::Methods));
        assert!(!none.with(Subscription::Inputs, false).has_qos1(Subscription::Inputs));
        assert_eq!(both.without(Subscription::Methods), none);
        assert_eq!(Session::from_bits(both.bits()), both);
    }
}
