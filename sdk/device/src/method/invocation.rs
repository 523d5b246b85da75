//! A call of another device's method.

use std::fmt;
use std::time::Duration;

use ferrohub_model::percent;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::MethodResponse;
use crate::error::{Error, ErrorKind};

/// How long a hub waits for the answer if the caller does not say.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);

/// Whose method. Made from the id of a device, or from those of a device and a module of it.
///
/// ```
/// # use ferrohub_device::MethodTarget;
/// let _: MethodTarget<'_> = "myDevice".into();
/// let _: MethodTarget<'_> = ("myDevice", "myModule").into();
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MethodTarget<'a> {
    device_id: &'a str,
    module_id: Option<&'a str>,
}

impl<'a> From<&'a str> for MethodTarget<'a> {
    fn from(device_id: &'a str) -> Self {
        Self { device_id, module_id: None }
    }
}

impl<'a> From<(&'a str, &'a str)> for MethodTarget<'a> {
    fn from((device_id, module_id): (&'a str, &'a str)) -> Self {
        Self { device_id, module_id: Some(module_id) }
    }
}

impl MethodTarget<'_> {
    pub(crate) fn path(self) -> Result<String, Error> {
        if self.device_id.is_empty() || self.module_id.is_some_and(str::is_empty) {
            return Err(Error::invalid_input("the device id or the module id is empty"));
        }
        let device = percent::encode(self.device_id);
        Ok(match self.module_id {
            None => format!("/twins/{device}/methods"),
            Some(module) => format!("/twins/{device}/modules/{}/methods", percent::encode(module)),
        })
    }
}

/// A method to call, and how long to wait for the device; for
/// [`DeviceClient::invoke_method`](crate::DeviceClient::invoke_method).
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[must_use]
pub struct MethodInvocation {
    method_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Box<RawValue>>,
    response_timeout_in_seconds: u64,
    connect_timeout_in_seconds: u64,
}

impl MethodInvocation {
    /// A call of this method without payload, with 30 seconds for the answer, and no waiting for a device that is not
    /// connected.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            method_name: name.into(),
            payload: None,
            response_timeout_in_seconds: RESPONSE_TIMEOUT.as_secs(),
            connect_timeout_in_seconds: 0,
        }
    }

    /// The payload, written as JSON.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidPayload`] if it cannot be.
    pub fn payload<T: Serialize + ?Sized>(mut self, payload: &T) -> Result<Self, Error> {
        let payload = serde_json::value::to_raw_value(payload).map_err(|error| {
            Error::caused(ErrorKind::InvalidPayload, "the payload cannot be written as JSON", error)
        })?;
        self.payload = Some(payload);
        Ok(self)
    }

    /// How long the device may take to answer: 5 to 300 seconds.
    pub fn response_timeout(mut self, time: Duration) -> Self {
        self.response_timeout_in_seconds = seconds(time);
        self
    }

    /// How long to wait for a device that is not connected: up to 300 seconds.
    pub fn connect_timeout(mut self, time: Duration) -> Self {
        self.connect_timeout_in_seconds = seconds(time);
        self
    }

    /// How long the hub may take altogether.
    pub(crate) fn total_timeout(&self) -> Duration {
        let seconds = self.response_timeout_in_seconds.saturating_add(self.connect_timeout_in_seconds);
        Duration::from_secs(seconds.min(86_400))
    }
}

/// Whole seconds, as the hub counts them. Half a second must not become none.
fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

impl fmt::Debug for MethodInvocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Payloads may be large, and secret.
        f.debug_struct("MethodInvocation").field("method_name", &self.method_name).finish_non_exhaustive()
    }
}

/// What the hub passes on of the device's answer.
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

    #[test]
    fn a_call_is_what_the_hub_reads() {
        let call =
            MethodInvocation::new("m").payload(&[1]).unwrap().connect_timeout(Duration::from_millis(1500));
        assert_eq!(
            serde_json::to_string(&call).unwrap(),
            r#"{"methodName":"m","payload":[1],"responseTimeoutInSeconds":30,"connectTimeoutInSeconds":2}"#
        );
        assert_eq!(call.total_timeout().as_secs(), 32);
        let path = |target: MethodTarget<'_>| target.path();
        assert_eq!(path("d#".into()).unwrap(), "/twins/d%23/methods");
        assert_eq!(path(("d", "m%").into()).unwrap(), "/twins/d/modules/m%25/methods");
        assert_eq!(path(("d", "").into()).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}
