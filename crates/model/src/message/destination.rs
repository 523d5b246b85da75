//! The destination of a message to a device or module.

use std::fmt;

use crate::{DeviceId, IdentityId, InvalidId, ModuleId, percent};

/// The address of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// The device or module whose queue receives the message.
    pub identity: IdentityId,
    /// The input of the module, if the message is for one.
    pub input: Option<String>,
}

impl Destination {
    /// Returns the destination of messages to a device or module.
    #[must_use]
    pub fn to_identity(identity: IdentityId) -> Self {
        Self { identity, input: None }
    }

    /// An input of a module.
    #[must_use]
    pub fn input(identity: IdentityId, input: impl Into<String>) -> Self {
        Self { identity, input: Some(input.into()) }
    }

    /// Parses the property `to` of a message: `/devices/{device}/messages/deviceBound`,
    /// `/devices/{device}/modules/{module}/messages/deviceBound` or
    /// `/devices/{device}/modules/{module}/inputs/{input}`, with or without the first slash. Only ids are
    /// case-sensitive. Some clients percent-encode ids and some do not, so an id is decoded if possible.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.strip_prefix('/').unwrap_or(text).split('/').collect();
        let is = |part: &str, word: &str| part.eq_ignore_ascii_case(word);
        let ends = |a: &str, b: &str| is(a, "messages") && is(b, "deviceBound");
        match *parts.as_slice() {
            [devices, device, a, b] if is(devices, "devices") && ends(a, b) => {
                Some(Self::to_identity(id(device, DeviceId::new)?.into()))
            }
            [devices, device, modules, module, a, b] if is(devices, "devices") && is(modules, "modules") => {
                let identity = IdentityId::module(&id(device, DeviceId::new)?, &id(module, ModuleId::new)?);
                match is(a, "inputs") {
                    true => {
                        let input = percent::decode(b).filter(|input| !input.is_empty())?;
                        Some(Self { identity, input: Some(input) })
                    }
                    false => ends(a, b).then_some(Self::to_identity(identity)),
                }
            }
            _ => None,
        }
    }
}

fn id<T, E>(text: &str, new: impl Fn(&str) -> Result<T, E>) -> Option<T> {
    percent::decode(text).and_then(|decoded| new(&decoded).ok()).or_else(|| new(text).ok())
}

impl From<IdentityId> for Destination {
    fn from(identity: IdentityId) -> Self {
        Self::to_identity(identity)
    }
}

impl From<&IdentityId> for Destination {
    fn from(identity: &IdentityId) -> Self {
        Self::to_identity(identity.clone())
    }
}

/// From an identity, `device` or `device/module`; [`Destination::parse`] reads addresses.
impl TryFrom<&str> for Destination {
    type Error = InvalidId;
    fn try_from(identity: &str) -> Result<Self, InvalidId> {
        IdentityId::parse(identity).map(Self::to_identity)
    }
}

/// From an identity, `device` or `device/module`; [`Destination::parse`] reads addresses.
impl TryFrom<&String> for Destination {
    type Error = InvalidId;
    fn try_from(identity: &String) -> Result<Self, InvalidId> {
        IdentityId::parse(identity).map(Self::to_identity)
    }
}

/// From the id of a device and the id of one of its modules.
impl TryFrom<(&str, &str)> for Destination {
    type Error = InvalidId;
    fn try_from(identity: (&str, &str)) -> Result<Self, InvalidId> {
        IdentityId::try_from(identity).map(Self::to_identity)
    }
}

/// Formats the property `to` of a message; ids are percent-encoded.
impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/devices/{}", percent::Encoded(self.identity.device_str()))?;
        if let Some(module) = self.identity.module_str() {
            write!(f, "/modules/{}", percent::Encoded(module))?;
        }
        match &self.input {
            None => f.write_str("/messages/deviceBound"),
            Some(input) => write!(f, "/inputs/{}", percent::Encoded(input)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_an_address_is_read() {
        let read = |text| Destination::parse(text).map(|to| (to.identity.as_str().to_owned(), to.input));
        let device = Some(("d".to_owned(), None));
        for text in [
            "/devices/d/messages/deviceBound",
            "/devices/d/messages/devicebound",
            "devices/d/messages/devicebound",
            "/Devices/d/Messages/DEVICEBOUND",
        ] {
            assert_eq!(read(text), device, "{text}");
        }
        assert_eq!(read("/devices/d%231/messages/deviceBound"), Some(("d#1".to_owned(), None)));
        assert_eq!(read("/devices/d%/messages/deviceBound"), Some(("d%".to_owned(), None)));
        assert_eq!(read("/devices/d/modules/m/messages/deviceBound"), Some(("d/m".to_owned(), None)));
        let input = Some(("d/m".to_owned(), Some("in 1".to_owned())));
        assert_eq!(read("/devices/d/modules/m/inputs/in%201"), input);
        for text in [
            "",
            "d",
            "/devices/d",
            "/devices//messages/deviceBound",
            "/devices/d e/messages/deviceBound",
            "/devices/d/messages/events",
            "/devices/d/inputs/in",
            "/devices/d/modules/m/inputs/",
            "/devices/d/modules/m/inputs/a/b",
            "/devices/d/modules/m/messages",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn a_destination_is_made_of_an_identity() {
        let to = |to: Result<Destination, InvalidId>| to.map(|to| to.to_string());
        assert_eq!(to("d#1".try_into()), Ok("/devices/d%231/messages/deviceBound".to_owned()));
        assert_eq!(to("d/m".try_into()), Ok("/devices/d/modules/m/messages/deviceBound".to_owned()));
        assert_eq!(to(("d", "m").try_into()), Ok("/devices/d/modules/m/messages/deviceBound".to_owned()));
        let input = Destination::input(IdentityId::parse("d/m").unwrap(), "in 1");
        assert_eq!(input.to_string(), "/devices/d/modules/m/inputs/in%201");
        assert_eq!(to("".try_into()), Err(InvalidId::Empty));
        assert_eq!(to("/devices/d/messages/deviceBound".try_into()), Err(InvalidId::Empty));
    }

    #[test]
    fn what_is_written_is_read_again() {
        for text in ["d", "d#1", "d%41", "d/m", "d/m:%"] {
            for input in [None, Some("a/b".to_owned())] {
                let identity = IdentityId::parse(text).unwrap();
                let input = input.filter(|_| identity.module_str().is_some());
                let destination = Destination { identity, input };
                assert_eq!(Destination::parse(&destination.to_string()), Some(destination));
            }
        }
    }
}
