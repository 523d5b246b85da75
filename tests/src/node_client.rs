//! A device or a back end on Microsoft's Node SDKs.

use std::time::Duration;

use serde_json::{Value, json};

use crate::script_process::{Failure, ScriptProcess};
use crate::{Hub, Script};

/// How long an event may take.
const EVENT_LIMIT: Duration = Duration::from_secs(30);

/// A program under `tests/node` that runs; killed when dropped.
pub struct NodeClient {
    process: ScriptProcess,
}

impl NodeClient {
    /// A device (`azure-iot-device`). `transport` is `mqtt`, `mqtt_ws` or `http`.
    #[must_use]
    #[track_caller]
    pub fn device(hub: &Hub, connection_string: &str, transport: &str) -> Self {
        Self::device_with(hub, &json!({ "connection_string": connection_string, "transport": transport }))
    }

    /// A device with more of what `tests/node/device.js` takes.
    #[must_use]
    #[track_caller]
    pub fn device_with(hub: &Hub, config: &Value) -> Self {
        Self { process: ScriptProcess::start(Script::node(hub, "device.js").arg(config.to_string())) }
    }

    /// A back end (`azure-iothub`) with the rights of `iothubowner`.
    #[must_use]
    #[track_caller]
    pub fn service(hub: &Hub) -> Self {
        Self::service_over(hub, "amqp")
    }

    /// A back end with the rights of `iothubowner`. `transport` is `amqp` or `amqp_ws`.
    #[must_use]
    #[track_caller]
    pub fn service_over(hub: &Hub, transport: &str) -> Self {
        let connection_string = hub.variable("IOTHUB_CONNECTION_STRING");
        Self::service_with(hub, &json!({ "connection_string": connection_string, "transport": transport }))
    }

    /// A back end with more of what `tests/node/service.js` takes.
    #[must_use]
    #[track_caller]
    pub fn service_with(hub: &Hub, config: &Value) -> Self {
        Self { process: ScriptProcess::start(Script::node(hub, "service.js").arg(config.to_string())) }
    }

    /// Runs an operation to its end.
    ///
    /// # Errors
    /// The error it was rejected with.
    #[track_caller]
    pub fn call(&self, operation: &str, arguments: &Value) -> Result<Value, Failure> {
        self.process.call(operation, arguments)
    }

    /// Runs an operation that succeeds.
    #[track_caller]
    pub fn ok(&self, operation: &str, arguments: &Value) -> Value {
        self.call(operation, arguments).unwrap_or_else(|failure| panic!("{operation}: {failure:?}"))
    }

    /// Waits for an event of this name that fits.
    #[must_use]
    #[track_caller]
    pub fn event(&self, name: &str, fits: impl Fn(&Value) -> bool) -> Value {
        self.process.event(EVENT_LIMIT, |event| event["event"] == name && fits(event))
    }
}
