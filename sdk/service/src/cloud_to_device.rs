//! Messages to devices: send, and throw away what waits.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use ferrohub_model::Timestamp;
use ferrohub_model::message::{EnqueuedMessage, MessageProperties, PurgeResult, SystemProperty};
use http::{HeaderName, HeaderValue, Method};

use crate::uri::segment;
use crate::{Error, ErrorKind, ServiceClient};

/// Whom a message is for. Made from the id of a device, or from those of a device and a module of it.
///
/// ```
/// # use ferrohub_service::MessageTo;
/// let _: MessageTo<'_> = "myDevice".into();
/// let _: MessageTo<'_> = ("myDevice", "myModule").into();
/// let _ = MessageTo::input("myDevice", "myModule", "myInput");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageTo<'a> {
    device_id: &'a str,
    module_id: Option<&'a str>,
    input: Option<&'a str>,
}

impl<'a> From<&'a str> for MessageTo<'a> {
    fn from(device_id: &'a str) -> Self {
        Self { device_id, module_id: None, input: None }
    }
}

impl<'a> From<(&'a str, &'a str)> for MessageTo<'a> {
    fn from((device_id, module_id): (&'a str, &'a str)) -> Self {
        Self { device_id, module_id: Some(module_id), input: None }
    }
}

impl<'a> MessageTo<'a> {
    /// An input of a module.
    #[must_use]
    pub fn input(device_id: &'a str, module_id: &'a str, input: &'a str) -> Self {
        Self { device_id, module_id: Some(module_id), input: Some(input) }
    }

    /// `/devices/{device}[/modules/{module}]`
    fn identity(self) -> Result<String, Error> {
        if [Some(self.device_id), self.module_id, self.input].contains(&Some("")) {
            return Err(invalid("an id is empty"));
        }
        let device = segment(self.device_id);
        Ok(match self.module_id {
            None => format!("/devices/{device}"),
            Some(module) => format!("/devices/{device}/modules/{}", segment(module)),
        })
    }

    fn address(self) -> Result<String, Error> {
        let identity = self.identity()?;
        Ok(match self.input {
            None => format!("{identity}/messages/deviceBound"),
            Some(input) => format!("{identity}/inputs/{}", segment(input)),
        })
    }
}

/// What to hear of a message; see [`ServiceClient::receive_feedback`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Ack {
    /// Nothing.
    #[default]
    None,
    /// That the device completed it.
    Positive,
    /// That it came to another end.
    Negative,
    /// Both.
    Full,
}

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
    /// A message with this body, 64 KiB at most together with its properties.
    pub fn new(body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), ..Self::default() }
    }

    /// Names it; feedback repeats the name.
    pub fn message_id(self, id: impl Into<String>) -> Self {
        self.system_property(SystemProperty::MessageId, id)
    }

    /// The message or request that it belongs to.
    pub fn correlation_id(self, id: impl Into<String>) -> Self {
        self.system_property(SystemProperty::CorrelationId, id)
    }

    /// Who sends it.
    pub fn user_id(self, id: impl Into<String>) -> Self {
        self.system_property(SystemProperty::UserId, id)
    }

    /// Media type of the body.
    pub fn content_type(self, name: impl Into<String>) -> Self {
        self.system_property(SystemProperty::ContentType, name)
    }

    /// Encoding of the body, such as `utf-8`.
    pub fn content_encoding(self, name: impl Into<String>) -> Self {
        self.system_property(SystemProperty::ContentEncoding, name)
    }

    /// What to hear of it.
    pub fn ack(self, ack: Ack) -> Self {
        let name = match ack {
            Ack::None => "none",
            Ack::Positive => "positive",
            Ack::Negative => "negative",
            Ack::Full => "full",
        };
        self.system_property(SystemProperty::Ack, name)
    }

    /// Until when the device can have it; the hub's default is an hour from now.
    pub fn expiry(self, expiry: Timestamp) -> Self {
        self.system_property(SystemProperty::Expiry, expiry.to_string())
    }

    /// How long the device can have it, from when it is sent.
    pub fn time_to_live(mut self, time_to_live: Duration) -> Self {
        self.time_to_live = Some(time_to_live);
        self
    }

    /// A property of the application. Over HTTPS its name is in small letters when it arrives, and name and value hold
    /// visible ASCII characters alone.
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
        let deadline = self.time_to_live.map(|time_to_live| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let millis = since.saturating_add(time_to_live).as_millis();
            let deadline = Timestamp::from_unix_millis(i64::try_from(millis).unwrap_or(i64::MAX));
            (SystemProperty::Expiry.http_header().to_owned(), deadline.to_string())
        });
        let all = system.chain(application).chain(deadline);
        all.map(|(name, value)| {
            let unusable = || invalid(format!("HTTP cannot carry the property {name:?} with {value:?}"));
            let visible = value.bytes().all(|byte| matches!(byte, b' '..=b'~'));
            let value = HeaderValue::from_str(&value).ok().filter(|_| visible).ok_or_else(unusable)?;
            Ok((HeaderName::try_from(&name).map_err(|_| unusable())?, value))
        })
        .collect()
    }
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidInput, message)
}

impl ServiceClient {
    /// Puts a message in the queue of a device or module; the device need not be connected. Ferrohub takes messages over
    /// HTTPS; Azure does not.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::QuotaExceeded`] if as many messages wait for the device as may, or the
    /// expiry is past or too far away; [`ErrorKind::TooLarge`]
    pub async fn send_message<'a>(
        &self,
        to: impl Into<MessageTo<'a>>,
        message: &CloudToDeviceMessage,
    ) -> Result<EnqueuedMessage, Error> {
        let address = to.into().address()?;
        let mut call = self.request(Method::POST, "/messages/deviceBound", "").body(message.body.clone());
        let to = HeaderName::from_static(SystemProperty::To.http_header());
        // Percent-encoded, so that a header can hold it.
        call = call.header(to, HeaderValue::try_from(address).map_err(|_| invalid("an id cannot be sent"))?);
        for (name, value) in message.headers()? {
            call = call.header(name, value);
        }
        call.send_json().await
    }

    /// Throws away the messages that wait for a device or module.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]
    pub async fn purge_messages<'a>(&self, of: impl Into<MessageTo<'a>>) -> Result<PurgeResult, Error> {
        let path = format!("{}/commands", of.into().identity()?);
        self.request(Method::DELETE, &path, "").send_json().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_addressed_to_a_device_a_module_or_its_input() {
        let address = |to: MessageTo<'_>| to.address().map_err(|error| error.kind());
        assert_eq!(address("d#1".into()), Ok("/devices/d%231/messages/deviceBound".to_owned()));
        assert_eq!(address(("d", "m").into()), Ok("/devices/d/modules/m/messages/deviceBound".to_owned()));
        let input = MessageTo::input("d", "m", "in 1");
        assert_eq!(address(input), Ok("/devices/d/modules/m/inputs/in%201".to_owned()));
        assert_eq!(address("".into()), Err(ErrorKind::InvalidInput));
        assert_eq!(address(MessageTo::input("d", "m", "")), Err(ErrorKind::InvalidInput));
    }

    #[test]
    fn what_http_cannot_carry_is_refused_before_anything_is_sent() {
        let good = CloudToDeviceMessage::new("x").message_id("m 1").property("a", "").ack(Ack::Full);
        let names: Vec<String> =
            good.headers().unwrap().iter().map(|(name, _)| name.as_str().to_owned()).collect();
        assert_eq!(names, ["iothub-messageid", "iothub-ack", "iothub-app-a"]);
        for bad in [good.clone().property("a b", "x"), good.clone().property("a", "é"), good.message_id("\n")]
        {
            assert_eq!(bad.headers().unwrap_err().kind(), ErrorKind::InvalidInput);
        }
    }
}
