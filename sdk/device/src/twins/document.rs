//! The twin of a device, as the device reads it.

use ferrohub_model::twin::{self, DeviceTwin as Json, METADATA, Properties};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::{Error, ErrorKind};

/// The twin of the device; from [`DeviceClient::get_twin`](crate::DeviceClient::get_twin).
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct DeviceTwin {
    /// The desired properties, which services set.
    pub desired: TwinSection,
    /// The reported properties.
    pub reported: TwinSection,
}

impl DeviceTwin {
    pub(crate) fn from_json(payload: &[u8]) -> Result<Self, Error> {
        let twin: Json = serde_json::from_slice(payload).map_err(|error| {
            Error::new(ErrorKind::Protocol, "the response of the hub is not a twin").with_source(error)
        })?;
        let section = |properties| {
            TwinSection::new(properties)
                .ok_or_else(|| Error::new(ErrorKind::Protocol, "the twin has no version numbers"))
        };
        Ok(Self { desired: section(twin.desired)?, reported: section(twin.reported)? })
    }
}

/// One section of a twin: its properties and its version.
#[derive(Debug, Clone, PartialEq)]
pub struct TwinSection {
    version: u64,
    properties: Properties,
}

impl TwinSection {
    /// Separates `$version` and `$metadata` from the properties. Returns `None` without a version.
    pub(crate) fn new(mut properties: Properties) -> Option<Self> {
        let version = twin::version(&properties)?;
        properties.remove(twin::VERSION);
        properties.remove(METADATA);
        Some(Self { version, properties })
    }

    /// Returns the version: the number of changes of this section, from 1.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Returns the properties, without `$version` and `$metadata`.
    #[must_use]
    pub fn properties(&self) -> &Properties {
        &self.properties
    }

    /// Returns one property.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.properties.get(name)
    }

    /// Returns the properties as a value of type `T`.
    ///
    /// ```
    /// # use ferrohub_device::{Error, DeviceTwin};
    /// #[derive(serde::Deserialize)]
    /// struct Settings {
    ///     interval: Option<u32>,
    /// }
    /// # fn example(twin: &DeviceTwin) -> Result<(), Error> {
    /// let settings: Settings = twin.desired.properties_as()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::InvalidPayload`] if they are not JSON of such a value.
    pub fn properties_as<T: DeserializeOwned>(&self) -> Result<T, Error> {
        T::deserialize(&self.properties).map_err(|error| {
            let message = format!("the properties do not have the expected type: {error}");
            Error::new(ErrorKind::InvalidPayload, message).with_source(error)
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn versions_are_not_properties() {
        let twin = DeviceTwin::from_json(
            br#"{"desired":{"a":1,"$version":7},"reported":{"$version":1,"$metadata":{}}}"#,
        )
        .unwrap();
        assert_eq!((twin.desired.version(), twin.desired.get("a")), (7, Some(&json!(1))));
        assert_eq!((twin.reported.version(), twin.reported.properties().len()), (1, 0));
        assert_eq!(twin.desired.properties_as::<Value>().unwrap(), json!({ "a": 1 }));
        assert_eq!(twin.desired.properties_as::<Vec<u8>>().unwrap_err().kind(), ErrorKind::InvalidPayload);
        for bad in ["", "[]", r#"{"desired":{},"reported":{}}"#] {
            assert_eq!(DeviceTwin::from_json(bad.as_bytes()).unwrap_err().kind(), ErrorKind::Protocol);
        }
    }
}
