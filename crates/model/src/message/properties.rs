//! The properties of a message, and their form in an MQTT topic.

use std::collections::BTreeMap;
use std::fmt;

use super::SystemProperty;
use crate::percent::{self, Encoded};

/// What a message says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MessageProperties {
    /// Those with a meaning.
    pub system: BTreeMap<SystemProperty, String>,
    /// Those of the application, by their names.
    pub application: BTreeMap<String, String>,
}

/// A property bag that cannot be read: a broken escape, a name that is empty, or bytes that are not UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the property bag is malformed")]
pub struct MalformedPropertyBag;

impl MessageProperties {
    /// Reads a property bag, `name=value&name=value…`, both sides percent-encoded. A name without a value has an empty
    /// one; of a name that is there twice, the last counts. Names that begin with `$.` and have no meaning here are the
    /// application's.
    ///
    /// # Errors
    /// [`MalformedPropertyBag`]
    pub fn parse_property_bag(bag: &str) -> Result<Self, MalformedPropertyBag> {
        let mut properties = Self::default();
        for part in bag.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let name = percent::decode(name).filter(|name| !name.is_empty()).ok_or(MalformedPropertyBag)?;
            let value = percent::decode(value).ok_or(MalformedPropertyBag)?;
            match SystemProperty::from_mqtt_key(&name) {
                Some(property) => properties.system.insert(property, value),
                None => properties.application.insert(name, value),
            };
        }
        Ok(properties)
    }

    /// A property with a meaning.
    #[must_use]
    pub fn get(&self, property: SystemProperty) -> Option<&str> {
        self.system.get(&property).map(String::as_str)
    }

    /// How much of a message's size limit they take: the bytes of the values, and of the application's names.
    #[must_use]
    pub fn size(&self) -> usize {
        let system = self.system.values().map(String::len);
        let application = self.application.iter().map(|(name, value)| name.len() + value.len());
        system.chain(application).sum()
    }
}

/// As a property bag.
impl fmt::Display for MessageProperties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let system = self.system.iter().map(|(property, value)| (property.mqtt_key(), value));
        let application = self.application.iter().map(|(name, value)| (name.as_str(), value));
        for (index, (name, value)) in system.chain(application).enumerate() {
            let separator = if index == 0 { "" } else { "&" };
            write!(f, "{separator}{}={}", Encoded(name), Encoded(value))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn application(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn bags_are_read_in_every_legal_form() {
        let read = |bag| MessageProperties::parse_property_bag(bag).unwrap();
        assert_eq!(read(""), MessageProperties::default());
        let both = read("%24.mid=m%201&$.ct=application%2Fjson&a+b=1=2&empty=&none&%C3%A9=%20");
        assert_eq!(both.get(SystemProperty::MessageId), Some("m 1"));
        assert_eq!(both.get(SystemProperty::ContentType), Some("application/json"));
        assert_eq!(both.application, application(&[("a+b", "1=2"), ("empty", ""), ("none", ""), ("é", " ")]));
        assert_eq!(read("a=1&a=2&").application, application(&[("a", "2")]), "the last one counts");
        assert_eq!(read("$.unknown=x").application, application(&[("$.unknown", "x")]));
        for bag in ["a=%", "%zz=1", "=1", "a=%ff"] {
            assert_eq!(MessageProperties::parse_property_bag(bag), Err(MalformedPropertyBag), "{bag}");
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let properties = MessageProperties {
            system: [(SystemProperty::MessageId, "1/2".to_owned()), (SystemProperty::To, "/x".to_owned())]
                .into(),
            application: application(&[("a&b", "c=d"), ("$.x", "+"), ("e", "")]),
        };
        let bag = properties.to_string();
        assert_eq!(bag, "%24.mid=1%2F2&%24.to=%2Fx&%24.x=%2B&a%26b=c%3Dd&e=");
        assert_eq!(MessageProperties::parse_property_bag(&bag), Ok(properties.clone()));
        assert_eq!(properties.size(), 3 + 2 + 3 + 1 + 3 + 3 + 1);
    }
}
