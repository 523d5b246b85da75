//! A method call to this device.

use std::fmt;
use std::sync::Arc;

use serde::Deserialize;

use super::{MethodResponse, Responder};
use crate::error::{Error, ErrorKind};

/// A method call to this device.
///
/// The hub waits for the response for the time-out of the caller, 30 seconds by default. It delivers each call at most
/// once. A request that is dropped without a response gets one with status 500.
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

    /// Returns the name of the method, decoded.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the hub's id of this call, for logs.
    #[must_use]
    pub fn request_id(&self) -> &str {
        &self.request_id
    }

    /// Returns the payload as JSON text, exactly as the caller wrote it; `null` if there is none.
    #[must_use]
    pub fn payload_text(&self) -> &str {
        &self.payload
    }

    /// Returns the payload as a value of type `T`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidPayload`] if it is not JSON of such a value. A handler that returns this error with `?`
    /// responds with status 400.
    pub fn payload_as<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Error> {
        serde_json::from_str(&self.payload).map_err(|error| {
            let message = format!("the payload does not fit the method {:?}: {error}", self.name);
            Error::new(ErrorKind::InvalidPayload, message).with_source(error)
        })
    }

    /// Responds to the call, and returns when the hub has acknowledged the response.
    ///
    /// Meant for [`method_requests`](crate::DeviceClient::method_requests). A handler may call it, too, to respond
    /// before it has finished (and then reboot, for example). The return value of such a handler is not sent.
    ///
    /// # Errors
    /// [`ErrorKind::CallEnded`] if the connection that delivered the call has ended or a response was sent
    /// already; [`ErrorKind::Closed`] if the client was disconnected before the hub acknowledged the response.
    pub async fn respond(&self, response: impl Into<MethodResponse>) -> Result<(), Error> {
        let acknowledged = self.responder.send(response.into()).ok_or_else(Error::call_ended)?;
        acknowledged.await.unwrap_or_else(|_| Err(Error::closed()))
    }

    /// Returns whether the call still waits for a response. A device does not learn when the caller's time-out ends.
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
