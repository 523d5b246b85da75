//! Method calls to devices and modules.

use std::fmt;
use std::time::Duration;

use ferrohub_model::method::MethodInvocationBody;
use ferrohub_model::{IdentityId, percent};
use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{Error, ErrorKind, ServiceClient};

/// A method to call, and the time-outs; for [`ServiceClient::invoke_method`].
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
    /// [`ErrorKind::InvalidInput`] if it cannot be written as JSON.
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
    /// [`ErrorKind::InvalidInput`] if it is not JSON.
    pub fn payload_json(mut self, text: impl Into<String>) -> Result<Self, Error> {
        self.0.set_payload(RawValue::from_string(text.into()).map_err(|error| {
            Error::invalid_input(format!("the payload is not JSON: {error}")).with_source(error)
        })?);
        Ok(self)
    }

    /// Sets how long the device may take to respond: 5 to 300 seconds, rounded up to whole seconds.
    /// The hub refuses other values with [`ErrorKind::BadRequest`].
    pub fn response_timeout(mut self, timeout: Duration) -> Self {
        self.0.set_response_timeout(timeout);
        self
    }

    /// Sets how long the hub waits for a device that is not connected: up to 300 seconds, rounded up to whole seconds.
    /// The hub refuses other values with [`ErrorKind::BadRequest`].
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.0.set_connect_timeout(timeout);
        self
    }
}

impl MethodInvocation {
    /// The JSON of the call.
    pub(crate) fn body(&self) -> &MethodInvocationBody {
        &self.0
    }
}

impl fmt::Debug for MethodInvocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The response of a device: a status that the device chose, and a JSON payload.
#[derive(Debug, Clone, Deserialize)]
pub struct MethodResponse {
    status: i32,
    #[serde(default = "null_payload")]
    payload: Box<RawValue>,
}

fn null_payload() -> Box<RawValue> {
    RawValue::NULL.to_owned()
}

impl MethodResponse {
    pub(crate) fn new(status: i32, payload: Box<RawValue>) -> Self {
        Self { status, payload }
    }

    /// Returns the status that the device chose.
    #[must_use]
    pub fn status(&self) -> i32 {
        self.status
    }

    /// Returns the payload as JSON text; `null` if there is none.
    #[must_use]
    pub fn payload_text(&self) -> &str {
        self.payload.get()
    }

    /// Returns the payload as a value of type `T`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidPayload`] if it is not JSON of such a value.
    pub fn payload_as<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Error> {
        serde_json::from_str(self.payload.get()).map_err(|error| {
            let message = format!("the payload of the response does not have the expected type: {error}");
            Error::new(ErrorKind::InvalidPayload, message).with_source(error)
        })
    }
}

fn path(identity: &IdentityId) -> String {
    let device = percent::encode(identity.device_str());
    match identity.module_str() {
        None => format!("/twins/{device}/methods"),
        Some(module) => format!("/twins/{device}/modules/{}/methods", percent::encode(module)),
    }
}

impl ServiceClient {
    /// Calls a method of a device or module and returns its response. Dropping the future cancels the call.
    ///
    /// The identity is an [`IdentityId`], a text (`"device"` or `"device/module"`), or a pair of device id and module
    /// id.
    ///
    /// # Errors
    /// [`ErrorKind::DeviceNotOnline`]; [`ErrorKind::DeviceTimeout`] if the device did not respond in time;
    /// [`ErrorKind::NotFound`] if the device is not registered; and those of any request. A response of the device is
    /// never an error, even with an error status.
    pub async fn invoke_method(
        &self,
        identity: impl TryInto<IdentityId, Error: Into<Error>>,
        invocation: &MethodInvocation,
    ) -> Result<MethodResponse, Error> {
        let path = path(&identity.try_into().map_err(Into::into)?);
        let request = self.request(Method::POST, &path, "").json(&invocation.0)?;
        request.extend_timeout(invocation.0.total_timeout()).send_json().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_names_a_device_or_a_module() {
        let path = |text| super::path(&IdentityId::parse(text).unwrap());
        assert_eq!(path("d#"), "/twins/d%23/methods");
        assert_eq!(path("d/m%"), "/twins/d/modules/m%25/methods");
    }

    #[test]
    fn a_payload_is_json() {
        let invocation = MethodInvocation::new("m").payload_json("[1.50]").unwrap();
        assert_eq!(serde_json::to_string(&invocation.0).unwrap(), r#"{"methodName":"m","payload":[1.50]}"#);
        let error = MethodInvocation::new("m").payload_json("{").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }

    #[test]
    fn a_response_without_payload_has_null() {
        let read = |text| serde_json::from_str::<MethodResponse>(text).unwrap();
        assert_eq!(read(r#"{"status":200}"#).payload_text(), "null");
        let response = read(r#"{"status":-1,"payload":{"a":1}}"#);
        assert_eq!(response.status(), -1);
        assert_eq!(response.payload_as::<serde_json::Value>().unwrap()["a"], 1);
        assert_eq!(response.payload_as::<Vec<u8>>().unwrap_err().kind(), ErrorKind::InvalidPayload);
    }
}
