//! Direct methods: call a device by name and get its answer.

use std::time::Duration;

use http::Method;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::uri::segment;
use crate::{Error, ErrorKind, ServiceClient};

/// How long a hub waits for the answer if the caller does not say.
const DEFAULT_RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);

/// A method to call, and how long to wait for the device.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[must_use]
pub struct MethodInvocation {
    method_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Box<RawValue>>,
    #[serde(rename = "responseTimeoutInSeconds", skip_serializing_if = "Option::is_none", with = "seconds")]
    response_timeout: Option<Duration>,
    #[serde(rename = "connectTimeoutInSeconds", skip_serializing_if = "Option::is_none", with = "seconds")]
    connect_timeout: Option<Duration>,
}

/// Whole seconds, as the hub counts them.
mod seconds {
    use super::Duration;

    #[allow(clippy::ref_option, reason = "serde wants it this way")]
    pub(super) fn serialize<S: serde::Serializer>(time: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
        match time {
            // Half a second must not become none.
            Some(time) => to.serialize_u64(time.as_millis().div_ceil(1000) as u64),
            None => to.serialize_none(),
        }
    }
}

impl MethodInvocation {
    /// A call of this method without payload, with the hub's own time-outs: 30 seconds for the answer, and no waiting
    /// for a device that is not connected.
    pub fn new(name: impl Into<String>) -> Self {
        Self { method_name: name.into(), payload: None, response_timeout: None, connect_timeout: None }
    }

    /// The payload, written as JSON.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] if it cannot be.
    pub fn payload(self, payload: &(impl Serialize + ?Sized)) -> Result<Self, Error> {
        let payload = serde_json::value::to_raw_value(payload).map_err(|error| {
            Error::new(ErrorKind::InvalidInput, "the payload cannot be written as JSON").with_source(error)
        })?;
        Ok(self.payload_json(payload))
    }

    /// The payload as JSON text, carried to the device as it is.
    pub fn payload_json(mut self, payload: Box<RawValue>) -> Self {
        self.payload = Some(payload);
        self
    }

    /// How long the device may take to answer: 5 to 300 seconds.
    pub fn response_timeout(mut self, time: Duration) -> Self {
        self.response_timeout = Some(time);
        self
    }

    /// How long to wait for a device that is not connected: up to 300 seconds.
    pub fn connect_timeout(mut self, time: Duration) -> Self {
        self.connect_timeout = Some(time);
        self
    }

    /// How long the hub may take altogether.
    fn total_timeout(&self) -> Duration {
        self.response_timeout.unwrap_or(DEFAULT_RESPONSE_TIMEOUT) + self.connect_timeout.unwrap_or_default()
    }
}

/// What the device answered.
#[derive(Debug, Clone, Deserialize)]
pub struct MethodResponse {
    /// The device's own status.
    pub status: i32,
    /// The device's own payload: JSON text, `null` where it sent none.
    #[serde(default = "null_payload")]
    pub payload: Box<RawValue>,
}

fn null_payload() -> Box<RawValue> {
    RawValue::NULL.to_owned()
}

impl MethodResponse {
    /// The payload as a value of yours.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`] if it has another shape.
    pub fn payload_as<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_str(self.payload.get()).map_err(|error| {
            Error::new(ErrorKind::Protocol, "the device's payload has another shape").with_source(error)
        })
    }
}

impl ServiceClient {
    /// Calls a method on a device and waits for its answer. Dropping the future ends the call.
    ///
    /// # Errors
    /// [`ErrorKind::DeviceNotOnline`], [`ErrorKind::DeviceTimeout`], [`ErrorKind::NotFound`] and those that any request
    /// can have. A status that the device answers is not an error.
    pub async fn invoke_method(
        &self,
        device_id: &str,
        method: &MethodInvocation,
    ) -> Result<MethodResponse, Error> {
        self.invoke(&format!("/twins/{}/methods", segment(device_id)), method).await
    }

    /// Calls a method on a module, as [`ServiceClient::invoke_method`] does on a device.
    ///
    /// # Errors
    /// As there.
    pub async fn invoke_module_method(
        &self,
        device_id: &str,
        module_id: &str,
        method: &MethodInvocation,
    ) -> Result<MethodResponse, Error> {
        let (device, module) = (segment(device_id), segment(module_id));
        self.invoke(&format!("/twins/{device}/modules/{module}/methods"), method).await
    }

    async fn invoke(&self, path: &str, method: &MethodInvocation) -> Result<MethodResponse, Error> {
        self.request(Method::POST, path, "")
            .json(method)?
            .extend_timeout(method.total_timeout())
            .send_json()
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_written_as_the_hub_reads_it() {
        let json = |method: &MethodInvocation| serde_json::to_string(method).unwrap();
        assert_eq!(json(&MethodInvocation::new("m")), r#"{"methodName":"m"}"#);
        let full = MethodInvocation::new("m")
            .payload_json(RawValue::from_string("[1.50]".to_owned()).unwrap())
            .response_timeout(Duration::from_millis(5500))
            .connect_timeout(Duration::ZERO);
        let expected =
            r#"{"methodName":"m","payload":[1.50],"responseTimeoutInSeconds":6,"connectTimeoutInSeconds":0}"#;
        assert_eq!(json(&full), expected);
    }

    #[test]
    fn an_answer_without_payload_has_null() {
        let read = |text| serde_json::from_str::<MethodResponse>(text).unwrap();
        assert_eq!(read(r#"{"status":200}"#).payload.get(), "null");
        assert_eq!(
            read(r#"{"status":-1,"payload":{"a":1}}"#).payload_as::<serde_json::Value>().unwrap()["a"],
            1
        );
    }
}
