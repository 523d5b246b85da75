//! `POST /twins/{id}/methods`: a method call, from its acceptance to its outcome.

use std::time::Duration;

use bytes::Bytes;
use ferrohub_model::device::Status;
use ferrohub_model::json::{self, InvalidJson};
use ferrohub_model::method::MethodName;
use ferrohub_model::{ErrorCode, HubError, IdentityId};
use futures_util::future::{Either, ready};
use tokio::time::Instant;
use tracing::{debug, info, trace};

use crate::callers::{DeviceCaller, ServiceCaller};
use crate::faults::FaultPoint;
use crate::hub::Hub;
use crate::metrics::{Metrics, count};
use crate::node::{CallEnd, MethodReply, OutgoingCall};
use crate::operations::Operation;
use crate::registry::{Identity, not_found};
use crate::store::store_failed;

/// A validated method call.
#[derive(Debug, Clone)]
pub struct MethodCall {
    /// The method's name.
    pub name: MethodName,
    /// The payload as JSON text, or `None` if the caller sent none.
    pub payload: Option<Bytes>,
    /// How long to wait for the device's response, in seconds.
    pub response_timeout: u32,
    /// How long to wait for the device to connect, in seconds.
    pub connect_timeout: u32,
}

/// The outcome of a successful call.
const ANSWERED: &str = "answered";

/// Counts a call exactly once. If the call's future is dropped, the caller has disconnected and the call counts as
/// cancelled.
struct CallMetrics<'a> {
    metrics: &'a Metrics,
    started: Instant,
    finished: bool,
}

impl<'a> CallMetrics<'a> {
    fn start(metrics: &'a Metrics) -> Self {
        metrics.calls_in_flight.inc();
        Self { metrics, started: Instant::now(), finished: false }
    }

    fn finish(&mut self, outcome: &'static str) -> Duration {
        self.finished = true;
        let elapsed = self.started.elapsed();
        match outcome {
            ANSWERED => drop(self.metrics.method_calls_answered.inc()),
            other => count(&self.metrics.method_calls, other),
        }
        self.metrics.method_call_seconds.observe(elapsed.as_secs_f64());
        elapsed
    }
}

impl Drop for CallMetrics<'_> {
    fn drop(&mut self) {
        self.metrics.calls_in_flight.dec();
        if !self.finished {
            self.finish("cancelled");
        }
    }
}

impl ServiceCaller {
    /// Calls a method on a device or module and waits for the response. Dropping the future cancels the call.
    // Without a state machine of its own: this is the hottest path of the hub.
    pub fn invoke_method<'a>(
        &'a self,
        target: &'a IdentityId,
        call: MethodCall,
    ) -> impl Future<Output = Result<MethodReply, HubError>> + Send + 'a {
        match self.permit(Operation::InvokeMethod) {
            Ok(hub) => Either::Left(hub.invoke_method(target, call)),
            Err(error) => Either::Right(ready(Err(error))),
        }
    }
}

impl DeviceCaller {
    /// Checks that a module may call this target, before its request is read: its own device, that device's modules, and
    /// if its device is an edge device, the devices in its scope (those below it) and their modules. `None` is a target that
    /// is not valid, which a module may not call.
    ///
    /// # Errors
    ///
    /// `IotHubUnauthorizedAccess`; the refusal is counted and logged.
    pub async fn check_method_target(&self, target: Option<&IdentityId>) -> Result<(), HubError> {
        let hub = self.permit(Operation::InvokeMethod)?;
        if target.is_some_and(|target| target.device_str() == self.id().device_str()) {
            return Ok(());
        }
        let device = self.device();
        if let Some(target) = target
            && let Some(scope) = device.device_scope.as_ref().filter(|_| device.iot_edge)
            && let Some(target) = hub.device_of(target).await?
            && is_in_scope(&target, scope)
        {
            return Ok(());
        }
        Err(self.refuse(Operation::InvokeMethod))
    }

    /// Calls a method on a device or module that the module may call, and waits for the response. Dropping the future
    /// cancels the call.
    pub async fn invoke_method(
        &self,
        target: &IdentityId,
        call: MethodCall,
    ) -> Result<MethodReply, HubError> {
        self.check_method_target(Some(target)).await?;
        self.permit(Operation::InvokeMethod)?.invoke_method(target, call).await
    }
}

/// Returns whether the device is directly below the edge device with this scope: a leaf device has the scope of its
/// parent as its own, an edge device lists it in its parent scopes.
fn is_in_scope(device: &Identity, scope: &str) -> bool {
    let is_leaf_of = !device.iot_edge && device.device_scope.as_deref() == Some(scope);
    is_leaf_of || device.parent_scopes.iter().any(|parent| parent == scope)
}

/// Why a call of [`Hub::invoke_once`] has no response.
pub(crate) enum NotAnswered {
    /// The device did not get the call.
    NotSent,
    /// The device may have got the call.
    MayHaveRun(HubError),
    /// The response of the device is not valid.
    BadReply(HubError),
}

impl Hub {
    /// Calls a method of a device once. Unlike [`ServiceCaller::invoke_method`], it does not read the registry, and it says
    /// whether the device may have the call.
    pub(crate) async fn invoke_once(
        &self,
        target: &IdentityId,
        call: OutgoingCall,
    ) -> Result<MethodReply, NotAnswered> {
        if self.is_stopping() {
            return Err(NotAnswered::NotSent);
        }
        let mut call_metrics = CallMetrics::start(&self.metrics);
        let response_timeout = u32::try_from(call.response_timeout.as_secs()).unwrap_or(u32::MAX);
        let (outcome, result) = match self.call_device(target, call).await {
            Err(CallEnd::NotOnline | CallEnd::NotSent) => ("not_online", Err(NotAnswered::NotSent)),
            Err(CallEnd::TooManyInFlight) => ("refused", Err(NotAnswered::NotSent)),
            Err(end @ CallEnd::InvalidStatus) => {
                let (outcome, error) = call_error(end, 0, response_timeout);
                (outcome, Err(NotAnswered::BadReply(error)))
            }
            Err(end) => {
                let (outcome, error) = call_error(end, 0, response_timeout);
                (outcome, Err(NotAnswered::MayHaveRun(error)))
            }
            Ok(reply) => match self.check_reply(&reply) {
                Ok(()) => (ANSWERED, Ok(reply)),
                Err(error) => ("bad_response", Err(NotAnswered::BadReply(error))),
            },
        };
        let milliseconds = call_metrics.finish(outcome).as_millis() as u64;
        debug!(device = %target, outcome, milliseconds, "method call of a job");
        result
    }

    /// Passes a call to the device, unless a fault loses or delays it.
    async fn call_device(&self, target: &IdentityId, call: OutgoingCall) -> Result<MethodReply, CallEnd> {
        if self.has_fault(FaultPoint::MethodRequest) {
            Box::pin(self.call_with_faults(target, call)).await
        } else {
            self.bus.call(target, call).await
        }
    }

    pub(crate) async fn invoke_method(
        &self,
        target: &IdentityId,
        call: MethodCall,
    ) -> Result<MethodReply, HubError> {
        let mut call_metrics = CallMetrics::start(&self.metrics);
        let name = call.name.clone();
        trace!(device = %target, method = %name, payload = ?call.payload, "method request");
        let result = self.try_invoke(target, call).await;
        let outcome = match &result {
            Ok(_) => ANSWERED,
            Err((outcome, _)) => outcome,
        };
        let milliseconds = call_metrics.finish(outcome).as_millis() as u64;
        // Successful calls are logged at debug level only: there may be many per second, and the metrics count them.
        if result.is_ok() {
            debug!(device = %target, method = %name, outcome, milliseconds, "method call");
        } else {
            info!(device = %target, method = %name, outcome, milliseconds, "method call");
        }
        if let Ok(reply) = &result {
            trace!(device = %target, method = %name, status = reply.status, payload = ?reply.payload, "method response");
        }
        result.map_err(|(_, error)| error)
    }

    async fn try_invoke(
        &self,
        target: &IdentityId,
        call: MethodCall,
    ) -> Result<MethodReply, (&'static str, HubError)> {
        if self.is_stopping() {
            return Err(("refused", HubError::new(ErrorCode::ServiceUnavailable, "The hub is stopping.")));
        }
        if call.payload.as_ref().is_some_and(|payload| payload.len() > self.limits.method_payload_bytes) {
            let text = format!(
                "The payload must have at most {} bytes (limits.method_payload_bytes).",
                self.limits.method_payload_bytes
            );
            return Err(("refused", HubError::new(ErrorCode::MessageTooLarge, text)));
        }
        // A connected identity exists and is enabled. For any other the hub reads the registry: before it waits for
        // the device to connect, or, if the caller does not wait, once the call has failed.
        let waits_for_connect = call.connect_timeout > 0;
        if waits_for_connect && !self.bus.is_connected(target).await {
            self.require_callable(target).await.map_err(|error| ("refused", error))?;
        }
        let outgoing = OutgoingCall {
            name: call.name,
            payload: call.payload,
            connect_timeout: Duration::from_secs(call.connect_timeout.into()),
            response_timeout: Duration::from_secs(call.response_timeout.into()),
        };
        let reply = match self.call_device(target, outgoing).await {
            Ok(reply) => reply,
            Err(end) => {
                if end == CallEnd::NotOnline && !waits_for_connect {
                    self.require_callable(target).await.map_err(|error| ("refused", error))?;
                }
                return Err(call_error(end, call.connect_timeout, call.response_timeout));
            }
        };
        self.check_reply(&reply).map_err(|error| ("bad_response", error))?;
        Ok(reply)
    }

    async fn require_callable(&self, target: &IdentityId) -> Result<(), HubError> {
        let identity = self.store.identity(target).await.map_err(store_failed)?;
        match identity {
            Some(identity) if identity.status == Status::Enabled => Ok(()),
            Some(_) => Err(HubError::new(ErrorCode::DeviceNotFound, format!("Device {target} is disabled."))),
            None if target.module_str().is_some() => Err(not_found(target)),
            None => {
                Err(HubError::new(ErrorCode::DeviceNotFound, format!("Device {target} is not registered.")))
            }
        }
    }

    fn check_reply(&self, reply: &MethodReply) -> Result<(), HubError> {
        let bad_gateway = |text: String| Err(HubError::new(ErrorCode::GenericBadGateway, text));
        if reply.payload.len() > self.limits.method_payload_bytes {
            return bad_gateway(format!(
                "The device's response has more than {} bytes.",
                self.limits.method_payload_bytes
            ));
        }
        // A device may answer without a payload.
        if reply.payload.is_empty() {
            return Ok(());
        }
        match json::check(&reply.payload) {
            Ok(()) => Ok(()),
            Err(InvalidJson::Syntax) => bad_gateway("The device's response is not JSON.".to_owned()),
            Err(reason) => bad_gateway(format!("The device's response is not valid JSON: {reason}.")),
        }
    }
}

/// Returns the outcome for metrics and logs, and the error for the caller.
fn call_error(end: CallEnd, connect_timeout: u32, response_timeout: u32) -> (&'static str, HubError) {
    match end {
        CallEnd::NotOnline | CallEnd::NotSent => (
            "not_online",
            HubError::new(ErrorCode::DeviceNotOnline, "Timed out waiting for device to connect.")
                .with_timeout_seconds(connect_timeout),
        ),
        CallEnd::TimedOut => (
            "timed_out",
            HubError::new(ErrorCode::GatewayTimeout, "Timed out waiting for the response from device.")
                .with_timeout_seconds(response_timeout),
        ),
        CallEnd::Disconnected => {
            ("disconnected", HubError::new(ErrorCode::DeviceNotOnline, "Device unavailable"))
        }
        CallEnd::TakenOver => (
            "taken_over",
            HubError::new(
                ErrorCode::ConnectionForcefullyClosedOnNewConnection,
                "Another connection of the device took over while the call was in flight.",
            ),
        ),
        CallEnd::FaultInjected => (
            "fault_injected",
            HubError::new(
                ErrorCode::ConnectionForcefullyClosedOnFaultInjection,
                "An injected fault closed the connection while the call was in flight.",
            ),
        ),
        CallEnd::TooManyInFlight => (
            "refused",
            HubError::new(
                ErrorCode::DeviceMaximumInflightMethodExceeded,
                "The device has the maximum number of method calls in flight (limits.in_flight_methods_per_device).",
            ),
        ),
        CallEnd::InvalidStatus => (
            "bad_response",
            HubError::new(
                ErrorCode::GenericBadGateway,
                "The status of the device's response is not an integer of 32 bits.",
            ),
        ),
        CallEnd::Stopping => {
            ("refused", HubError::new(ErrorCode::ServiceUnavailable, "The hub is stopping."))
        }
    }
}
