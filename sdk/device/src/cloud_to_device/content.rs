//! The accessors that every message from the cloud has.

use bytes::Bytes;
use ferrohub_model::Timestamp;
use ferrohub_model::message::{MessageProperties, SystemProperty};
use serde::Deserialize;

use crate::error::{Error, ErrorKind};

/// Body and properties of a message.
pub(crate) struct MessageContent {
    pub(crate) properties: MessageProperties,
    pub(crate) body: Bytes,
}

impl MessageContent {
    pub(super) fn text(&self) -> Result<&str, Error> {
        std::str::from_utf8(&self.body).map_err(|error| {
            Error::new(ErrorKind::InvalidPayload, "the message is not UTF-8 text").with_source(error)
        })
    }

    pub(super) fn json<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Error> {
        serde_json::from_slice(&self.body).map_err(|error| {
            let message = format!("the message does not have the expected type: {error}");
            Error::new(ErrorKind::InvalidPayload, message).with_source(error)
        })
    }

    pub(super) fn system(&self, property: SystemProperty) -> Option<&str> {
        self.properties.get(property)
    }

    pub(super) fn expiry(&self) -> Option<Timestamp> {
        Timestamp::parse(self.system(SystemProperty::Expiry)?)
    }
}

/// Adds the accessors to a type with a field `content: MessageContent`.
macro_rules! message_accessors {
    ($name:ident) => {
        impl $name {
            /// Returns the body.
            #[must_use]
            pub fn body(&self) -> &[u8] {
                &self.content.body
            }

            /// Returns the body as text.
            ///
            /// # Errors
            /// [`ErrorKind::InvalidPayload`](crate::ErrorKind::InvalidPayload) if it is not UTF-8.
            pub fn text(&self) -> Result<&str, crate::Error> {
                self.content.text()
            }

            /// Returns the body as a value of type `T`.
            ///
            /// # Errors
            /// [`ErrorKind::InvalidPayload`](crate::ErrorKind::InvalidPayload) if it is not JSON of such a value.
            pub fn json<'a, T: serde::Deserialize<'a>>(&'a self) -> Result<T, crate::Error> {
                self.content.json()
            }

            /// Returns the id that the sender gave the message.
            #[must_use]
            pub fn message_id(&self) -> Option<&str> {
                self.content.system(SystemProperty::MessageId)
            }

            /// Returns the id of the message or request that this one belongs to.
            #[must_use]
            pub fn correlation_id(&self) -> Option<&str> {
                self.content.system(SystemProperty::CorrelationId)
            }

            /// Returns the user id that the sender set.
            #[must_use]
            pub fn user_id(&self) -> Option<&str> {
                self.content.system(SystemProperty::UserId)
            }

            /// Returns the media type of the body.
            #[must_use]
            pub fn content_type(&self) -> Option<&str> {
                self.content.system(SystemProperty::ContentType)
            }

            /// Returns the encoding of the body.
            #[must_use]
            pub fn content_encoding(&self) -> Option<&str> {
                self.content.system(SystemProperty::ContentEncoding)
            }

            /// Returns when the message expires. `None` if it has no expiry, or one that cannot be read.
            #[must_use]
            pub fn expiry(&self) -> Option<ferrohub_model::Timestamp> {
                self.content.expiry()
            }

            /// Returns an application property. Names are in lower case if the message came over HTTPS.
            #[must_use]
            pub fn property(&self, name: &str) -> Option<&str> {
                self.content.properties.application.get(name).map(String::as_str)
            }

            /// Returns the application properties, sorted by name.
            pub fn properties(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
                let properties = &self.content.properties.application;
                properties.iter().map(|(name, value)| (name.as_str(), value.as_str()))
            }
        }
    };
}
pub(super) use message_accessors;
