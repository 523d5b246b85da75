//! The properties of an event, each with its type.
//!
//! Devices that use MQTT and HTTPS send text. AMQP has types: a number stays a number until a reader gets it.
//! [`EventProperties`] holds its [stored form](stored_form): nothing is copied when an event is stored or read. What was read
//! is checked once; what a head renders is read from there.

mod stored_form;
#[cfg(test)]
mod tests;
mod value;

use std::fmt;

use ferrohub_model::message::{MessageProperties, SystemProperty};

pub use stored_form::MalformedProperties;
pub use value::PropertyValue;

use stored_form::Entries;

/// The name of a property.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PropertyName<'a> {
    /// A property that the protocols define. It has a different name in each of them.
    System(SystemProperty),
    /// A property that the sender chose.
    Application(&'a str),
}

/// The properties of an event. Immutable but for [`push`](Self::push).
#[derive(Clone, PartialEq, Eq)]
pub struct EventProperties {
    /// The stored form. Well-formed.
    stored: Vec<u8>,
    size: usize,
}

impl EventProperties {
    /// Creates a list without properties.
    #[must_use]
    pub fn new() -> Self {
        Self { stored: vec![stored_form::VERSION], size: 0 }
    }

    /// Adds a property. A name must not be added twice: AMQP does not allow it.
    pub fn push(&mut self, name: PropertyName<'_>, value: PropertyValue<'_>) {
        self.size += size(name, value);
        stored_form::write(&mut self.stored, name, value);
    }

    /// Takes the properties from their stored form, and checks it completely.
    ///
    /// # Errors
    ///
    /// [`MalformedProperties`] for anything that [`as_stored`](Self::as_stored) of a known version has not returned.
    pub fn from_stored(stored: Vec<u8>) -> Result<Self, MalformedProperties> {
        let size = stored_form::check(&stored)?.map(|(name, value)| size(name, value)).sum();
        Ok(Self { stored, size })
    }

    /// Returns the stored form. Its first byte is its version.
    #[must_use]
    pub fn as_stored(&self) -> &[u8] {
        &self.stored
    }

    /// Iterates over all properties, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = (PropertyName<'_>, PropertyValue<'_>)> {
        Entries::of(&self.stored)
    }

    /// Iterates over the system properties.
    pub fn system(&self) -> impl Iterator<Item = (SystemProperty, PropertyValue<'_>)> {
        self.iter().filter_map(|(name, value)| match name {
            PropertyName::System(property) => Some((property, value)),
            PropertyName::Application(_) => None,
        })
    }

    /// Iterates over the application properties.
    pub fn application(&self) -> impl Iterator<Item = (&str, PropertyValue<'_>)> {
        self.iter().filter_map(|(name, value)| match name {
            PropertyName::System(_) => None,
            PropertyName::Application(name) => Some((name, value)),
        })
    }

    /// Returns the value of a system property.
    #[must_use]
    pub fn get(&self, property: SystemProperty) -> Option<PropertyValue<'_>> {
        self.system().find(|(name, _)| *name == property).map(|(_, value)| value)
    }

    /// Returns the bytes that count towards a message's size limit, as [`MessageProperties::size`]: all values, and the
    /// names of application properties.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }
}

fn size(name: PropertyName<'_>, value: PropertyValue<'_>) -> usize {
    match name {
        PropertyName::System(_) => value.size(),
        PropertyName::Application(name) => name.len() + value.size(),
    }
}

impl Default for EventProperties {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for EventProperties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// Every value becomes a string: MQTT and HTTP have no other type.
impl From<&MessageProperties> for EventProperties {
    fn from(properties: &MessageProperties) -> Self {
        let system = properties.system.iter().map(|(name, value)| (PropertyName::System(*name), value));
        let application =
            properties.application.iter().map(|(name, value)| (PropertyName::Application(name), value));
        let mut typed = Self::new();
        typed
            .stored
            .reserve(properties.size() + 4 * (properties.system.len() + properties.application.len()));
        for (name, value) in system.chain(application) {
            typed.push(name, PropertyValue::String(value));
        }
        typed
    }
}
