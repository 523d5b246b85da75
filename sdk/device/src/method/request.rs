//! A method call as the device sees it.

use std::fmt;
use std::sync::Arc;

use serde::Deserialize;

use super::{MethodResponse, Responder};
use crate::error::{Error, ErrorKind};

/// A back end called a method on this device.
///
/// The hub waits for the answer as long as the back end said, 30 seconds by default, and delivers each call at most
/// once. A request that is dropped without an answer is answered with status 500.
pub struct MethodRequest {
    name: String,
    request_id: String,
    payload: String,
    responder: Arc<Responder>,
}

impl MethodRequest {
    pub(crate) fn new(name: String, request_id: String, payload: String, responder: Arc<Responder>) -> Self {
        Self { name, request_id, payload, responder }
    }

    /// The method's name, decoded.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The hub's name for this call, for logs.
    #[must_use]
    pub fn request_id(&self) -> &str {
        &self.request_id
    }

    /// The payload as JSON text, just as the back end wrote it; `null` where it sent none.
    #[must_use]
    pub fn payload_text(&self) -> &str {
        &self.payload
    }

    /// The payload as a value.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidPayload`] if it is not such a value. A handler that returns this error with `?` answers 400.
    pub fn payload_as<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Error> {
        serde_json::from_str(&self.payload).map_err(|error| {
            let message = format!("the payload of {} is not what the method takes: {error}", self.name);
            Error::caused(ErrorKind::InvalidPayload, message, error)
        })
    }

    /// Answers the call, and returns once the hub has the answer.
    ///
    /// Meant for [`method_requests`](crate::DeviceClient::method_requests). A handler may call it too, to answer before
    /// it is done (and then reboot, say); what it returns afterwards is not sent.
    ///
    /// # Errors
    /// [`ErrorKind::CallEnded`] if nobody waits for an answer any more, because the connection that brought the call
    /// ended or because it was answered already; [`ErrorKind::Closed`] if the client was disconnected before the hub
    /// acknowledged the answer.
    pub async fn respond(&self, response: MethodResponse) -> Result<(), Error> {
        let acknowledged = self.responder.send(response).ok_or_else(Error::call_ended)?;
        acknowledged.await.unwrap_or_else(|_| Err(Error::closed()))
    }

    /// Whether somebody still waits for the answer. It is not known when the back end's own time-out ends.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.responder.is_open()
    }
}

impl fmt::Debug for MethodRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Payloads may be large, and secret.
        f.debug_struct("MethodRequest")
            .field("name", &self.name)
            .field("request_id", &self.request_id)
            .field("payload_bytes", &self.payload.len())
            .finish_non_exhaustive()
    }
}
