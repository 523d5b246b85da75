//! The features of a hub that need a subscription. A client subscribes when a feature is first used.

use std::borrow::Cow;

use ferrohub_model::{IdentityId, topic};
use ferrohub_mqtt::QoS;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Feature {
    /// Method calls.
    Methods = 1,
    /// Responses to twin requests.
    TwinResponses = 2,
    /// Patches of the desired properties.
    Desired = 4,
    /// Messages from the cloud, or at the inputs of a module.
    Messages = 8,
}

impl Feature {
    const ALL: [Self; 4] = [Self::Methods, Self::TwinResponses, Self::Desired, Self::Messages];

    /// The topic filter and QoS of the subscription. QoS 0 is enough for calls (delivered at most once), twin responses
    /// (requested again) and patches (gaps show in the versions). Messages need an acknowledgement.
    pub(crate) fn subscription(self, id: &IdentityId) -> (Cow<'static, str>, QoS) {
        match self {
            Self::Methods => (topic::METHODS_FILTER.into(), QoS::AtMostOnce),
            Self::TwinResponses => (topic::TWIN_RESPONSES_FILTER.into(), QoS::AtMostOnce),
            Self::Desired => (topic::DESIRED_FILTER.into(), QoS::AtMostOnce),
            Self::Messages => (messages_filter(id).into(), QoS::AtLeastOnce),
        }
    }
}

/// A device has one queue of messages; a module has inputs.
fn messages_filter(id: &IdentityId) -> String {
    match id.module_str() {
        None => format!("devices/{}/messages/devicebound/#", id.device_str()),
        Some(module) => format!("devices/{}/modules/{module}/inputs/#", id.device_str()),
    }
}

/// A set of features.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Features(u8);

impl Features {
    pub(crate) const NONE: Self = Self(0);

    pub(crate) fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn contains(self, feature: Feature) -> bool {
        self.0 & feature as u8 != 0
    }

    pub(crate) fn with(self, feature: Feature) -> Self {
        Self(self.0 | feature as u8)
    }

    pub(crate) fn without(self, feature: Feature) -> Self {
        self.difference(Self(feature as u8))
    }

    pub(crate) fn union(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    pub(crate) fn difference(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = Feature> {
        Feature::ALL.into_iter().filter(move |feature| self.contains(*feature))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_add_and_subtract() {
        let set = Features::NONE.with(Feature::Methods).with(Feature::Messages);
        assert_eq!(set.iter().collect::<Vec<_>>(), [Feature::Methods, Feature::Messages]);
        assert_eq!(set.without(Feature::Methods), Features::NONE.with(Feature::Messages));
        assert_eq!(set.difference(set), Features::NONE);
        assert!(Features::NONE.union(set).contains(Feature::Messages) && Features::NONE.is_empty());
    }

    #[test]
    fn a_module_listens_at_its_inputs() {
        let filter = |id| Feature::Messages.subscription(&IdentityId::parse(id).unwrap()).0;
        assert_eq!(filter("d"), "devices/d/messages/devicebound/#");
        assert_eq!(filter("d/m"), "devices/d/modules/m/inputs/#");
    }
}
