//! A message that was received over HTTPS: in the device's hands until it is settled or the hub's lock on it runs out.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use ferrohub_model::message::{MessageProperties, SystemProperty};
use ferrohub_model::{IdentityId, percent};
use hyper::header::ETAG;
use hyper::{HeaderMap, Method};

use crate::config::Config;
use crate::driver::Shared;
use crate::error::{Error, ErrorKind};

const APPLICATION_PROPERTY_PREFIX: &str = "iothub-app-";

/// A message of the device's, from [`DeviceClient::receive_message`](crate::DeviceClient::receive_message). Nobody else is
/// sent it while the hub's lock on it holds; one that is dropped waits for that to run out.
pub struct LockedMessage {
    shared: Arc<Shared>,
    lock_token: String,
    properties: MessageProperties,
    delivery_count: u32,
    body: Bytes,
}

/// Where the messages of a device or module wait. Encoded.
fn path(id: &IdentityId) -> String {
    let device = percent::encode(id.device_str());
    match id.module_str() {
        None => format!("/devices/{device}/messages/deviceBound"),
        Some(module) => format!("/devices/{device}/modules/{}/messages/deviceBound", percent::encode(module)),
    }
}

/// The oldest message that waits, if there is one.
pub(crate) async fn receive(shared: &Arc<Shared>) -> Result<Option<LockedMessage>, Error> {
    let config: &Config = &shared.config;
    let (place, timeout) = (path(&config.identity), config.request_timeout);
    let asked = config.request(Method::GET, &place, "", HeaderMap::new(), Bytes::new(), timeout);
    let answer = asked.await?.success("no message was received")?;
    if answer.status == hyper::StatusCode::NO_CONTENT {
        return Ok(None);
    }
    let text = |name: &str| answer.headers.get(name).and_then(|value| value.to_str().ok());
    let lock_token =
        text(ETAG.as_str()).map(|token| token.trim_matches('"').to_owned()).ok_or_else(|| {
            Error::new(ErrorKind::Protocol, "the hub sent a message without a token to settle it with")
        })?;
    let delivery_count = text("iothub-deliverycount").and_then(|count| count.parse().ok()).unwrap_or(0);
    let properties = properties(&answer.headers);
    Ok(Some(LockedMessage {
        shared: shared.clone(),
        lock_token,
        properties,
        delivery_count,
        body: answer.body,
    }))
}

fn properties(headers: &HeaderMap) -> MessageProperties {
    let mut properties = MessageProperties::default();
    for (name, value) in headers {
        let Ok(value) = value.to_str() else { continue };
        if let Some(property) = SystemProperty::from_http_header(name.as_str()) {
            properties.system.insert(property, value.to_owned());
        } else if let Some(name) = name.as_str().strip_prefix(APPLICATION_PROPERTY_PREFIX) {
            properties.application.insert(name.to_owned(), value.to_owned());
        }
    }
    properties
}

impl LockedMessage {
    /// Done with it: it is never delivered again. On disk at the hub when this returns.
    ///
    /// # Errors
    /// [`ErrorKind::PreconditionFailed`] if the lock has run out; the message comes again then. Others as for any request.
    pub async fn complete(self) -> Result<(), Error> {
        self.settle(Method::DELETE, "", "").await
    }

    /// The device does not want it, ever. Its sender hears of it, if it asked to.
    ///
    /// # Errors
    /// As for [`complete`](Self::complete).
    pub async fn reject(self) -> Result<(), Error> {
        self.settle(Method::DELETE, "", "reject&").await
    }

    /// Gives it back: it waits in its old place, unless it was given back too often.
    ///
    /// # Errors
    /// As for [`complete`](Self::complete).
    pub async fn abandon(self) -> Result<(), Error> {
        self.settle(Method::POST, "/abandon", "").await
    }

    async fn settle(self, method: Method, verb: &str, query: &str) -> Result<(), Error> {
        let config = &self.shared.config;
        let path = format!("{}/{}{verb}", path(&config.identity), percent::encode(&self.lock_token));
        let asked =
            config.request(method, &path, query, HeaderMap::new(), Bytes::new(), config.request_timeout);
        asked.await?.success("the message was not settled").map(drop)
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Its id, if its sender gave it one.
    #[must_use]
    pub fn message_id(&self) -> Option<&str> {
        self.properties.get(SystemProperty::MessageId)
    }

    /// A property of the application. Names come in small letters, as HTTP has them.
    #[must_use]
    pub fn property(&self, name: &str) -> Option<&str> {
        self.properties.application.get(name).map(String::as_str)
    }

    /// The properties of the application, by their names.
    pub fn properties(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.properties.application.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// How often it was given back.
    #[must_use]
    pub fn delivery_count(&self) -> u32 {
        self.delivery_count
    }
}

/// Without what it says.
impl fmt::Debug for LockedMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockedMessage")
            .field("message_id", &self.message_id())
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}
