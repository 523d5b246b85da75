//! What a device subscribed to. It outlives the connection and a restart of the hub, because
//! Microsoft's Python client never subscribes again after a reconnect.

/// One thing a device can listen for. The numbers are stored: never reuse one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Subscription {
    /// Method requests.
    Methods = 0,
    /// Answers to its twin requests. They are sent whether or not it listens, as Microsoft's Python client needs it.
    TwinResponses = 1,
    /// Changes of its desired properties.
    DesiredProperties = 2,
    /// Messages to it.
    Messages = 3,
    /// Messages to its inputs, for modules.
    Inputs = 4,
}

impl Subscription {
    /// Every subscription there is.
    pub const ALL: [Self; 5] =
        [Self::Methods, Self::TwinResponses, Self::DesiredProperties, Self::Messages, Self::Inputs];
}

/// A set of subscriptions with the granted quality of service of each: two bits per subscription
/// at `2 * number`: 0 not subscribed, 1 at QoS 0, 2 at QoS 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Session(u32);

impl Session {
    /// The bits, for storing.
    #[must_use]
    pub fn bits(self) -> u32 {
        self.0
    }

    /// The session from stored bits.
    #[must_use]
    pub fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// Whether `subscription` is in the set.
    #[must_use]
    pub fn has(self, subscription: Subscription) -> bool {
        self.0 >> (2 * subscription as u32) & 3 != 0
    }

    /// Whether `subscription` is in the set at QoS 1.
    #[must_use]
    pub fn has_qos1(self, subscription: Subscription) -> bool {
        self.0 >> (2 * subscription as u32) & 3 == 2
    }

    /// Whether it listens for messages of any kind.
    #[must_use]
    pub fn listens_for_messages(self) -> bool {
        self.has(Subscription::Messages) || self.has(Subscription::Inputs)
    }

    /// The same with `subscription` at QoS 1 or QoS 0.
    #[must_use]
    pub fn with(self, subscription: Subscription, qos1: bool) -> Self {
        let cleared = self.without(subscription);
        Self(cleared.0 | (1 + u32::from(qos1)) << (2 * subscription as u32))
    }

    /// The same without `subscription`.
    #[must_use]
    pub fn without(self, subscription: Subscription) -> Self {
        Self(self.0 & !(3 << (2 * subscription as u32)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscriptions_come_and_go() {
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
