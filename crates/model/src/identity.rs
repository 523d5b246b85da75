//! Identities: a device, or a module on a device.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest device or module id, in characters (all of them are ASCII, so also in bytes).
pub const MAX_ID_LENGTH: usize = 128;

/// Why a text is not a valid id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    /// The id has no characters.
    #[error("the id is empty")]
    Empty,
    /// The id is longer than [`MAX_ID_LENGTH`].
    #[error("the id has {0} characters; at most {MAX_ID_LENGTH} are allowed")]
    TooLong(usize),
    /// The id has a character outside the allowed set.
    #[error(
        "the id contains {0:?}; allowed are ASCII letters, digits and - : . + % _ # * ? ! ( ) , = @ ; $ '"
    )]
    Character(char),
}

fn check(text: &str) -> Result<(), InvalidId> {
    if text.is_empty() {
        return Err(InvalidId::Empty);
    }
    if let Some(character) = text.chars().find(|c| !is_id_character(*c)) {
        return Err(InvalidId::Character(character));
    }
    if text.len() > MAX_ID_LENGTH {
        return Err(InvalidId::TooLong(text.len()));
    }
    Ok(())
}

fn is_id_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-:.+%_#*?!(),=@;$'".contains(c)
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks length and characters; ids are case-sensitive.
            ///
            /// # Errors
            /// [`InvalidId`] if the text is empty, longer than 128 characters, or contains a character that is not
            /// allowed.
            pub fn new(text: &str) -> Result<Self, InvalidId> {
                check(text)?;
                Ok(Self(text.into()))
            }

            /// Returns the id as in paths and topics, before any encoding.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::new(text)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
                Self::new(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

id! {
    /// The name of a device in a hub: 1 to 128 ASCII characters, case-sensitive: letters, digits and
    /// `- : . + % _ # * ? ! ( ) , = @ ; $ '`.
    DeviceId
}
id! {
    /// The name of a module on a device; same rules as [`DeviceId`].
    ModuleId
}
id! {
    /// The name of a job in a hub; same rules as [`DeviceId`].
    JobId
}

/// A device or a module: an identity that can authenticate, connect and receive method calls.
///
/// Stored as one text in the form of the MQTT client id, `device` or `device/module` (neither part may contain a
/// slash), so that it takes only one pointer as a key.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IdentityId(Arc<str>);

impl IdentityId {
    /// Returns the identity of a device.
    #[must_use]
    pub fn device(device: &DeviceId) -> Self {
        Self(device.0.clone())
    }

    /// Returns the identity of a module on a device.
    #[must_use]
    pub fn module(device: &DeviceId, module: &ModuleId) -> Self {
        Self(format!("{device}/{module}").into())
    }

    /// Parses the form of the MQTT client id: `device` or `device/module`.
    ///
    /// # Errors
    /// [`InvalidId`] if an id is empty, longer than 128 characters, or contains a character that is not allowed.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        match text.split_once('/') {
            None => check(text)?,
            Some((device, module)) => {
                check(device)?;
                check(module)?;
            }
        }
        Ok(Self(text.into()))
    }

    /// Returns the form of the MQTT client id: `device` or `device/module`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the device id.
    #[must_use]
    pub fn device_str(&self) -> &str {
        self.0.split_once('/').map_or(&*self.0, |(device, _)| device)
    }

    /// Returns the id of the device if this is a device, and `None` if it is a module.
    #[must_use]
    pub fn to_device(&self) -> Option<DeviceId> {
        self.module_str().is_none().then(|| DeviceId(self.0.clone()))
    }

    /// Returns the module id, if this is a module.
    #[must_use]
    pub fn module_str(&self) -> Option<&str> {
        self.0.split_once('/').map(|(_, module)| module)
    }

    /// Returns the resource that a token must cover to authenticate as this identity, without the host:
    /// `/devices/{id}` or `/devices/{id}/modules/{module}`.
    #[must_use]
    pub fn resource_path(&self) -> String {
        match self.module_str() {
            None => format!("/devices/{}", self.as_str()),
            Some(module) => format!("/devices/{}/modules/{module}", self.device_str()),
        }
    }
}

impl fmt::Display for IdentityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for IdentityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl Serialize for IdentityId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for IdentityId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

impl From<DeviceId> for IdentityId {
    fn from(device: DeviceId) -> Self {
        Self(device.0)
    }
}

impl From<&IdentityId> for IdentityId {
    fn from(identity: &IdentityId) -> Self {
        identity.clone()
    }
}

impl std::str::FromStr for IdentityId {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        Self::parse(text)
    }
}

/// From `device` or `device/module`.
impl TryFrom<&str> for IdentityId {
    type Error = InvalidId;
    fn try_from(text: &str) -> Result<Self, InvalidId> {
        Self::parse(text)
    }
}

/// From `device` or `device/module`.
impl TryFrom<&String> for IdentityId {
    type Error = InvalidId;
    fn try_from(text: &String) -> Result<Self, InvalidId> {
        Self::parse(text)
    }
}

/// From the id of a device and the id of one of its modules.
impl TryFrom<(&str, &str)> for IdentityId {
    type Error = InvalidId;
    fn try_from((device, module): (&str, &str)) -> Result<Self, InvalidId> {
        Ok(Self::module(&DeviceId::new(device)?, &ModuleId::new(module)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_keep_the_characters_azure_allows_and_no_others() {
        assert!(DeviceId::new("a-b:c.d+e%f_g#h*i?j!k(l)m,n=o@p;q$r's").is_ok());
        assert_eq!(DeviceId::new("a/b"), Err(InvalidId::Character('/')));
        assert_eq!(DeviceId::new("a b"), Err(InvalidId::Character(' ')));
        assert_eq!(DeviceId::new("é"), Err(InvalidId::Character('é')));
        assert_eq!(DeviceId::new(""), Err(InvalidId::Empty));
        assert_eq!(DeviceId::new(&"a".repeat(129)), Err(InvalidId::TooLong(129)));
        assert!(DeviceId::new(&"a".repeat(128)).is_ok());
    }

    #[test]
    fn an_identity_is_made_of_one_text_or_two_ids() {
        let module = IdentityId::parse("d/m").unwrap();
        assert_eq!(module.to_device(), None);
        assert_eq!(IdentityId::parse("d").unwrap().to_device(), DeviceId::new("d").ok());
        assert_eq!(IdentityId::try_from("d/m"), Ok(module.clone()));
        assert_eq!(IdentityId::try_from(&"d/m".to_owned()), Ok(module.clone()));
        assert_eq!(IdentityId::try_from(("d", "m")), Ok(module.clone()));
        assert_eq!("d/m".parse(), Ok(module.clone()));
        assert_eq!(IdentityId::from(&module), module);
        assert_eq!(IdentityId::try_from(("d", "")), Err(InvalidId::Empty));
        assert_eq!(IdentityId::try_from(("d", "a/b")), Err(InvalidId::Character('/')));
        assert_eq!(IdentityId::try_from(""), Err(InvalidId::Empty));
    }

    #[test]
    fn an_identity_is_a_device_or_a_module_and_nothing_deeper() {
        let module = IdentityId::parse("d/m").unwrap();
        assert_eq!((module.device_str(), module.module_str()), ("d", Some("m")));
        assert_eq!(module.resource_path(), "/devices/d/modules/m");
        assert_eq!(IdentityId::parse("d").unwrap().resource_path(), "/devices/d");
        assert!(IdentityId::parse("d/m/x").is_err());
        assert!(IdentityId::parse("d/").is_err());
        assert!(IdentityId::parse("/m").is_err());
    }
}
