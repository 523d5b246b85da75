//! Messages that are received over HTTPS: locked until they are settled or the lock expires.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use ferrohub_model::message::{MessageProperties, SystemProperty};
use ferrohub_model::{IdentityId, percent};
use hyper::header::ETAG;
use hyper::{HeaderMap, Method};

use super::{MessageContent, message_accessors};
use crate::config::Config;
use crate::driver::Shared;
use crate::error::{Error, ErrorKind};

const APPLICATION_PROPERTY_PREFIX: &str = "iothub-app-";

/// A locked message, from [`DeviceClient::receive_message`](crate::DeviceClient::receive_message). The hub does not
/// deliver it elsewhere before the lock expires. A message that is dropped unsettled is delivered again after that.
pub struct LockedMessage {
    shared: Arc<Shared>,
    lock_token: String,
    delivery_count: u32,
    content: MessageContent,
}

message_accessors!(LockedMessage);

/// The path of the queue of a device or module, encoded.
fn path(id: &IdentityId) -> String {
    let device = percent::encode(id.device_str());
    match id.module_str() {
        None => format!("/devices/{device}/messages/deviceBound"),
        Some(module) => format!("/devices/{device}/modules/{}/messages/deviceBound", percent::encode(module)),
    }
}

/// Receives the oldest message, if there is one.
pub(crate) async fn receive(shared: &Arc<Shared>) -> Result<Option<LockedMessage>, Error> {
    let config: &Config = &shared.config;
    let (path, timeout) = (path(&config.identity), config.request_timeout);
    let request = config.request(Method::GET, &path, "", HeaderMap::new(), Bytes::new(), timeout);
    let response = request.await?.success("no message was received")?;
    if response.status == hyper::StatusCode::NO_CONTENT {
        return Ok(None);
    }
    let text = |name: &str| response.headers.get(name).and_then(|value| value.to_str().ok());
    let lock_token =
        text(ETAG.as_str()).map(|token| token.trim_matches('"').to_owned()).ok_or_else(|| {
            Error::new(ErrorKind::Protocol, "the hub sent a message without a lock token (ETag)")
        })?;
    let delivery_count = text("iothub-deliverycount").and_then(|count| count.parse().ok()).unwrap_or(0);
    let content = MessageContent { properties: properties(&response.headers), body: response.body };
    Ok(Some(LockedMessage { shared: shared.clone(), lock_token, delivery_count, content }))
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
    /// Completes the message: the hub has deleted it from disk when this returns.
    ///
    /// # Errors
    /// [`ErrorKind::LockLost`] if the lock has expired; the message is delivered again then. Otherwise those of any
    /// request.
    pub async fn complete(self) -> Result<(), Error> {
        self.settle(Method::DELETE, "", "").await
    }

    /// Rejects the message: the hub deletes it, and its sender receives negative feedback if it requested feedback.
    ///
    /// # Errors
    /// As for [`complete`](Self::complete).
    pub async fn reject(self) -> Result<(), Error> {
        self.settle(Method::DELETE, "", "reject&").await
    }

    /// Abandons the message: it returns to its place in the queue. If its delivery count has reached the hub's limit,
    /// the hub deletes it instead, and its sender receives negative feedback if it requested that.
    ///
    /// # Errors
    /// As for [`complete`](Self::complete).
    pub async fn abandon(self) -> Result<(), Error> {
        self.settle(Method::POST, "/abandon", "").await
    }

    async fn settle(self, method: Method, verb: &str, query: &str) -> Result<(), Error> {
        let config = &self.shared.config;
        let path = format!("{}/{}{verb}", path(&config.identity), percent::encode(&self.lock_token));
        let request =
            config.request(method, &path, query, HeaderMap::new(), Bytes::new(), config.request_timeout);
        request.await?.success("the message was not settled").map(drop)
    }

    /// Returns the token that identifies the lock, for logs.
    #[must_use]
    pub fn lock_token(&self) -> &str {
        &self.lock_token
    }

    /// Returns how often the message was delivered before.
    #[must_use]
    pub fn delivery_count(&self) -> u32 {
        self.delivery_count
    }
}

/// Without body and properties.
impl fmt::Debug for LockedMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockedMessage")
            .field("message_id", &self.message_id())
            .field("body_bytes", &self.content.body.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_become_properties() {
        let mut headers = HeaderMap::new();
        headers.insert("iothub-messageid", "m".parse().unwrap());
        headers.insert("iothub-app-colour", "red".parse().unwrap());
        headers.insert("iothub-expiry", "2027-01-01T00:00:00Z".parse().unwrap());
        let content = MessageContent { properties: properties(&headers), body: Bytes::from_static(b"[1]") };
        assert_eq!(content.system(SystemProperty::MessageId), Some("m"));
        assert_eq!(content.properties.application["colour"], "red");
        assert_eq!(content.expiry().unwrap().to_string(), "2027-01-01T00:00:00Z");
        assert_eq!((content.text().unwrap(), content.json::<[u8; 1]>().unwrap()), ("[1]", [1]));
        assert_eq!(content.json::<String>().unwrap_err().kind(), ErrorKind::InvalidPayload);
    }
}
