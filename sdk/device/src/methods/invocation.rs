//! A call of a method of another device or module.

use std::fmt;
use std::time::Duration;

use ferrohub_model::method::MethodInvocationBody;
use ferrohub_model::{IdentityId, percent};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::MethodResponse;
use crate::error::Error;

/// A method to call, and the time-outs; for [`DeviceClient::invoke_method`](crate::DeviceClient::invoke_method).
#[derive(Clone)]
#[must_use]
pub struct MethodInvocation(MethodInvocationBody);

impl MethodInvocation {
    /// A call of this method without payload and with the time-outs of the hub: 30 seconds for the response, and no
    /// wait for a device that is not connected.
    pub fn new(name: impl Into<String>) -> Self {
        Self(MethodInvocationBody::new(name.into()))
    }

    /// Sets the payload, written as JSON. The hub accepts at most 128 KiB by default.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if it cannot be written as JSON.
    pub fn payload<T: Serialize + ?Sized>(mut self, payload: &T) -> Result<Self, Error> {
        self.0.set_payload(serde_json::value::to_raw_value(payload).map_err(|error| {
            let message = format!("the payload cannot be written as JSON: {error}");
            Error::invalid_input(message).with_source(error)
        })?);
        Ok(self)
    }

    /// Sets the payload to this JSON text, which is sent unchanged. The hub accepts at most 128 KiB by default.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if it is not JSON.
    pub fn payload_json(mut self, text: impl Into<String>) -> Result<Self, Error> {
        self.0.set_payload(RawValue::from_string(text.into()).map_err(|error| {
            Error::invalid_input(format!("the payload is not JSON: {error}")).with_source(error)
        })?);
        Ok(self)
    }

    /// Sets how long the device may take to respond: 5 to 300 seconds, rounded up to whole seconds.
    /// The hub refuses other values with [`ErrorKind::BadRequest`](crate::ErrorKind::BadRequest).
    pub fn response_timeout(mut self, timeout: Duration) -> Self {
        self.0.set_response_timeout(timeout);
        self
    }

    /// Sets how long the hub waits for a device that is not connected: up to 300 seconds, rounded up to whole seconds.
    /// The hub refuses other values with [`ErrorKind::BadRequest`](crate::ErrorKind::BadRequest).
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.0.set_connect_timeout(timeout);
        self
    }

    pub(crate) fn body(&self) -> &MethodInvocationBody {
        &self.0
    }
}

impl fmt::Debug for MethodInvocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The path of the REST API for calls to a device or module.
pub(crate) fn path(identity: &IdentityId) -> String {
    let device = percent::encode(identity.device_str());
    match identity.module_str() {
        None => format!("/twins/{device}/methods"),
        Some(module) => format!("/twins/{device}/modules/{}/methods", percent::encode(module)),
    }
}

/// The hub's response: status and payload of the device.
#[derive(Deserialize)]
pub(crate) struct MethodResponseBody {
    status: i32,
    #[serde(default)]
    payload: Option<Box<RawValue>>,
}

impl MethodResponseBody {
    pub(crate) fn into_response(self) -> Result<MethodResponse, Error> {
        let response = MethodResponse::new(self.status);
        match self.payload {
            None => Ok(response),
            Some(payload) => response.payload_json(Box::<str>::from(payload)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn an_invocation_is_the_json_that_the_hub_reads() {
        let invocation =
            MethodInvocation::new("m").payload(&[1]).unwrap().connect_timeout(Duration::from_millis(1500));
        assert_eq!(
            serde_json::to_string(invocation.body()).unwrap(),
            r#"{"methodName":"m","payload":[1],"connectTimeoutInSeconds":2}"#
        );
        assert_eq!(invocation.body().total_timeout().as_secs(), 32);
        let verbatim = MethodInvocation::new("m").payload_json("[1.50]").unwrap();
        assert_eq!(serde_json::to_string(verbatim.body()).unwrap(), r#"{"methodName":"m","payload":[1.50]}"#);
        let error = MethodInvocation::new("m").payload_json("{").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }

    #[test]
    fn the_path_names_a_device_or_a_module() {
        let path = |text| super::path(&IdentityId::parse(text).unwrap());
        assert_eq!(path("d#"), "/twins/d%23/methods");
        assert_eq!(path("d/m%"), "/twins/d/modules/m%25/methods");
    }
}
