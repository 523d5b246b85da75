//! Device-to-cloud events.

use std::fmt;

use bytes::Bytes;
use ferrohub_model::message::{MAX_EVENT_SIZE, MessageProperties, SystemProperty};
use ferrohub_model::{IdentityId, Timestamp, topic};
use ferrohub_mqtt::{QoS, Utf8};
use serde::Serialize;

use crate::error::{Error, ErrorKind};

/// An event to send: a body, system properties and application properties. At most 256 KiB in total. The type `Event`
/// of the service SDK is the same event as the hub has stored it.
///
/// ```
/// # use ferrohub_device::{Error, Event};
/// # fn example() -> Result<Event, Error> {
/// let event = Event::json(&serde_json::json!({ "temperature": 24.5 }))?.message_id("17").property("alarm", "no");
/// # Ok(event)
/// # }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Event {
    body: Bytes,
    properties: MessageProperties,
    qos: QoS,
}

impl Event {
    /// An event with these bytes, without a content type.
    #[must_use]
    pub fn new(body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), properties: MessageProperties::default(), qos: QoS::AtLeastOnce }
    }

    /// An event with this text, of content type `text/plain` in UTF-8.
    #[must_use]
    pub fn text(body: impl Into<String>) -> Self {
        Self::new(body.into()).content_type("text/plain").content_encoding("utf-8")
    }

    /// An event with this value as JSON, of content type `application/json` in UTF-8, which routing by body needs.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] if it cannot be written as JSON.
    pub fn json<T: Serialize + ?Sized>(body: &T) -> Result<Self, Error> {
        let body = serde_json::to_vec(body).map_err(|error| {
            let message = format!("the event cannot be written as JSON: {error}");
            Error::invalid_input(message).with_source(error)
        })?;
        Ok(Self::new(body).content_type("application/json").content_encoding("utf-8"))
    }

    /// Sets the message id, by which readers can detect duplicates.
    #[must_use]
    pub fn message_id(self, id: impl Into<String>) -> Self {
        self.system_property(SystemProperty::MessageId, id)
    }

    /// Sets the id of the message or request that this event belongs to.
    #[must_use]
    pub fn correlation_id(self, id: impl Into<String>) -> Self {
        self.system_property(SystemProperty::CorrelationId, id)
    }

    /// Sets the user id.
    #[must_use]
    pub fn user_id(self, id: impl Into<String>) -> Self {
        self.system_property(SystemProperty::UserId, id)
    }

    /// Sets the media type of the body, such as `application/json`.
    #[must_use]
    pub fn content_type(self, content_type: impl Into<String>) -> Self {
        self.system_property(SystemProperty::ContentType, content_type)
    }

    /// Sets the encoding of the body, such as `utf-8`.
    #[must_use]
    pub fn content_encoding(self, content_encoding: impl Into<String>) -> Self {
        self.system_property(SystemProperty::ContentEncoding, content_encoding)
    }

    /// Sets when the device created the event, in whole milliseconds: a `SystemTime` or a
    /// [`Timestamp`]. For events that may be queued while there is no connection.
    #[must_use]
    pub fn creation_time(self, at: impl Into<Timestamp>) -> Self {
        self.system_property(SystemProperty::CreationTime, at.into().to_string())
    }

    /// Sets the component of the Plug and Play model.
    #[must_use]
    pub fn component(self, name: impl Into<String>) -> Self {
        self.system_property(SystemProperty::Component, name)
    }

    /// Sets the output of the module. For modules only.
    #[must_use]
    pub fn output(self, name: impl Into<String>) -> Self {
        self.system_property(SystemProperty::OutputName, name)
    }

    /// Adds an application property. The name must not be empty and must not begin with `$.`.
    #[must_use]
    pub fn property(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.properties.application.insert(name.into(), value.into());
        self
    }

    /// Sends the event with QoS 0: it is not acknowledged, and lost if the connection is lost. For values that
    /// are sent often, of which one may be lost.
    #[must_use]
    pub fn at_most_once(mut self) -> Self {
        self.qos = QoS::AtMostOnce;
        self
    }

    /// Returns the body.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    fn system_property(mut self, property: SystemProperty, value: impl Into<String>) -> Self {
        self.properties.system.insert(property, value.into());
        self
    }

    /// Returns topic, QoS and body of the PUBLISH packet that `id` sends.
    pub(crate) fn into_publish(self, id: &IdentityId) -> Result<(Utf8, QoS, Bytes), Error> {
        let size = self.body.len() + self.properties.size();
        if size > MAX_EVENT_SIZE {
            let message = format!("the event has {size} bytes; at most {MAX_EVENT_SIZE} are allowed");
            return Err(Error::new(ErrorKind::TooLarge, message));
        }
        if let Some(name) =
            self.properties.application.keys().find(|name| name.is_empty() || name.starts_with("$."))
        {
            let message =
                format!("invalid name of a property: {name:?}; it must not be empty or begin with $.");
            return Err(Error::invalid_input(message));
        }
        if id.module_str().is_none() && self.properties.get(SystemProperty::OutputName).is_some() {
            return Err(Error::invalid_input("only modules have outputs; remove Event::output"));
        }
        let topic = format!("{}{}", topic::telemetry(id), self.properties);
        let topic = Utf8::try_from(topic)
            .map_err(|error| Error::invalid_input("the properties are too long").with_source(error))?;
        Ok((topic, self.qos, self.body))
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Bodies may be large, and secret.
        f.debug_struct("Event")
            .field("properties", &self.properties)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn id(text: &str) -> IdentityId {
        IdentityId::parse(text).unwrap()
    }

    #[test]
    fn properties_are_encoded_in_the_topic() {
        let event = Event::json(&[1])
            .unwrap()
            .message_id("m 1")
            .correlation_id("c/1")
            .creation_time(UNIX_EPOCH + Duration::from_millis(1_700_000_000_123))
            .property("a&b", "1=2+é")
            .output("out");
        let (topic, qos, body) = event.into_publish(&id("d#1/m")).unwrap();
        assert_eq!(
            topic.as_str(),
            "devices/d#1/modules/m/messages/events/%24.mid=m%201&%24.cid=c%2F1&%24.ct=application%2Fjson\
             &%24.ce=utf-8&%24.ctime=2023-11-14T22%3A13%3A20.123Z&%24.on=out&a%26b=1%3D2%2B%C3%A9"
        );
        assert_eq!((qos, &body[..]), (QoS::AtLeastOnce, &b"[1]"[..]));
        let (topic, qos, _) = Event::new("x").at_most_once().into_publish(&id("d")).unwrap();
        assert_eq!((topic.as_str(), qos), ("devices/d/messages/events/", QoS::AtMostOnce));
    }

    #[test]
    fn invalid_events_are_not_sent() {
        let kind = |event: Event| event.into_publish(&id("d")).unwrap_err().kind();
        assert_eq!(kind(Event::new(vec![0; MAX_EVENT_SIZE + 1])), ErrorKind::TooLarge);
        assert_eq!(kind(Event::new(vec![0; MAX_EVENT_SIZE]).property("a", "")), ErrorKind::TooLarge);
        assert!(Event::new(vec![0; MAX_EVENT_SIZE]).into_publish(&id("d")).is_ok());
        assert_eq!(kind(Event::new("").property("", "x")), ErrorKind::InvalidInput);
        assert_eq!(kind(Event::new("").property("$.mid", "x")), ErrorKind::InvalidInput);
        assert_eq!(kind(Event::new("").output("out")), ErrorKind::InvalidInput);
        assert_eq!(kind(Event::new("").property("p", "é".repeat(20_000))), ErrorKind::InvalidInput);
    }
}
