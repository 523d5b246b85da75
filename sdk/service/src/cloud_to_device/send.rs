//! Cloud-to-device messages: send and purge.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use ferrohub_model::message::{
    Ack, Destination, EnqueuedMessage, MessageProperties, PurgeResult, SystemProperty,
};
use ferrohub_model::{IdentityId, Timestamp, percent};
use http::{HeaderName, HeaderValue, Method};
use serde::Serialize;

use crate::{Error, ServiceClient};

/// A message to a device.
///
/// ```
/// # use std::time::Duration;
/// # use ferrohub_service::{Ack, CloudToDeviceMessage};
/// let message = CloudToDeviceMessage::new("restart at noon")
///     .message_id("order-17")
///     .ack(Ack::Full)
///     .time_to_live(Duration::from_secs(600))
///     .property("color", "red");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[must_use]
pub struct CloudToDeviceMessage {
    body: Bytes,
    properties: MessageProperties,
    time_to_live: Option<Duration>,
}

impl CloudToDeviceMessage {
    /// A message with this body. Body and properties have at most 64 KiB together.
    pub fn new(body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), ..Self::default() }
    }

    /// A message with this text, of content type `text/plain` in UTF-8.
    pub fn text(body: impl Into<String>) -> Self {
        Self::new(body.into()).content_type("text/plain").content_encoding("utf-8")
    }

    /// A message with this value as JSON, of content type `application/json` in UTF-8.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if it cannot be written as JSON.
    pub fn json<T: Serialize + ?Sized>(body: &T) -> Result<Self, Error> {
        let body = serde_json::to_vec(body).map_err(|error| {
            Error::invalid_input(format!("the message cannot be written as JSON: {error}")).with_source(error)
        })?;
        Ok(Self::new(body).content_type("application/json").content_encoding("utf-8"))
    }

    /// Sets the message id, which feedback repeats.
    pub fn message_id(self, id: impl Into<String>) -> Self {
        self.system_property(SystemProperty::MessageId, id)
    }

    /// Sets the id of the message or request that this message belongs to.
    pub fn correlation_id(self, id: impl Into<String>) -> Self {
        self.system_property(SystemProperty::CorrelationId, id)
    }

    /// Sets the user id.
    pub fn user_id(self, id: impl Into<String>) -> Self {
        self.system_property(SystemProperty::UserId, id)
    }

    /// Sets the media type of the body.
    pub fn content_type(self, name: impl Into<String>) -> Self {
        self.system_property(SystemProperty::ContentType, name)
    }

    /// Sets the encoding of the body, such as `utf-8`.
    pub fn content_encoding(self, name: impl Into<String>) -> Self {
        self.system_property(SystemProperty::ContentEncoding, name)
    }

    /// Requests feedback; see [`ServiceClient::feedback`].
    pub fn ack(self, ack: Ack) -> Self {
        self.system_property(SystemProperty::Ack, ack.name())
    }

    /// Sets when the message expires: a `SystemTime` or a [`Timestamp`]. The hub's default is one hour from now.
    pub fn expiry(self, at: impl Into<Timestamp>) -> Self {
        self.system_property(SystemProperty::Expiry, at.into().to_string())
    }

    /// Sets the expiry relative to the time of sending. Replaces [`expiry`](Self::expiry).
    pub fn time_to_live(mut self, time_to_live: Duration) -> Self {
        self.time_to_live = Some(time_to_live);
        self
    }

    /// Adds an application property. The name may contain the characters of an HTTP header name, and arrives in lower
    /// case; the value may contain printable ASCII characters. [`send_message`](ServiceClient::send_message) returns
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for others; so it does for the other properties.
    pub fn property(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.properties.application.insert(name.into(), value.into());
        self
    }

    fn system_property(mut self, property: SystemProperty, value: impl Into<String>) -> Self {
        self.properties.system.insert(property, value.into());
        self
    }

    fn headers(&self) -> Result<Vec<(HeaderName, HeaderValue)>, Error> {
        let system = self
            .properties
            .system
            .iter()
            .map(|(property, value)| (property.http_header().to_owned(), value.clone()));
        let application = self
            .properties
            .application
            .iter()
            .map(|(name, value)| (format!("iothub-app-{name}"), value.clone()));
        let expiry = self.time_to_live.map(|time_to_live| {
            let millis = i64::try_from(time_to_live.as_millis()).unwrap_or(i64::MAX);
            let expiry = Timestamp::from(SystemTime::now()).plus_millis(millis);
            (SystemProperty::Expiry.http_header().to_owned(), expiry.to_string())
        });
        let all = system.chain(application).chain(expiry);
        all.map(|(name, value)| {
            let invalid = || {
                let message =
                    format!("an HTTP header cannot carry the property {name:?} with value {value:?}");
                Error::invalid_input(message)
            };
            let visible = value.bytes().all(|byte| matches!(byte, b' '..=b'~'));
            let header = HeaderValue::from_str(&value).ok().filter(|_| visible).ok_or_else(invalid)?;
            Ok((HeaderName::try_from(&name).map_err(|_| invalid())?, header))
        })
        .collect()
    }
}

impl ServiceClient {
    /// Puts a message into the queue of a device or module, which does not have to be connected. Ferrohub accepts
    /// messages over HTTPS; Azure requires AMQP.
    ///
    /// The destination is a text (`"device"` or `"device/module"`), a pair of device id and module id, an
    /// [`IdentityId`], or a [`Destination`] for an input of a module.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for a property that a header cannot carry;
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound);
    /// [`ErrorKind::QuotaExceeded`](crate::ErrorKind::QuotaExceeded) if the queue is full or the expiry is past or too
    /// far away; [`ErrorKind::TooLarge`](crate::ErrorKind::TooLarge); and those of any request.
    pub async fn send_message(
        &self,
        to: impl TryInto<Destination, Error: Into<Error>>,
        message: &CloudToDeviceMessage,
    ) -> Result<EnqueuedMessage, Error> {
        let to = to.try_into().map_err(Into::into)?;
        let header = HeaderName::from_static(SystemProperty::To.http_header());
        // The address is percent-encoded, so a header can carry it.
        let address = HeaderValue::try_from(to.to_string())
            .map_err(|error| Error::invalid_input("the destination is invalid").with_source(error))?;
        let request = self.request(Method::POST, "/messages/deviceBound", "").body(message.body.clone());
        let mut request = request.header(header, address);
        for (name, value) in message.headers()? {
            request = request.header(name, value);
        }
        request.send_json().await
    }

    /// Deletes all messages in the queue of a device or module.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound), and those of any request.
    pub async fn purge_messages(
        &self,
        identity: impl TryInto<IdentityId, Error: Into<Error>>,
    ) -> Result<PurgeResult, Error> {
        let path = purge_path(&identity.try_into().map_err(Into::into)?);
        self.request(Method::DELETE, &path, "").send_json().await
    }
}

fn purge_path(identity: &IdentityId) -> String {
    let device = percent::encode(identity.device_str());
    match identity.module_str() {
        None => format!("/devices/{device}/commands"),
        Some(module) => format!("/devices/{device}/modules/{}/commands", percent::encode(module)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn invalid_properties_are_refused_before_anything_is_sent() {
        let valid = CloudToDeviceMessage::new("x").message_id("m 1").property("a", "").ack(Ack::Full);
        let names: Vec<String> =
            valid.headers().unwrap().iter().map(|(name, _)| name.as_str().to_owned()).collect();
        assert_eq!(names, ["iothub-messageid", "iothub-ack", "iothub-app-a"]);
        for invalid in
            [valid.clone().property("a b", "x"), valid.clone().property("a", "é"), valid.message_id("\n")]
        {
            assert_eq!(invalid.headers().unwrap_err().kind(), ErrorKind::InvalidInput);
        }
    }

    #[test]
    fn a_json_message_has_its_content_type() {
        let message = CloudToDeviceMessage::json(&[1]).unwrap();
        assert_eq!(
            message,
            CloudToDeviceMessage::new("[1]").content_type("application/json").content_encoding("utf-8")
        );
        let system = |message: &CloudToDeviceMessage| {
            message.properties.get(SystemProperty::ContentType).map(str::to_owned)
        };
        assert_eq!(system(&CloudToDeviceMessage::text("x")).as_deref(), Some("text/plain"));
    }

    #[test]
    fn a_purge_names_a_device_or_a_module() {
        let path = |text| purge_path(&IdentityId::parse(text).unwrap());
        assert_eq!(path("d#1"), "/devices/d%231/commands");
        assert_eq!(path("d/m"), "/devices/d/modules/m/commands");
    }
}
