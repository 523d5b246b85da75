//! A reader of events on Microsoft's packages for event hubs.

use std::time::Duration;

use serde_json::{Value, json};

use crate::script_process::{Failure, Pending, ScriptProcess};
use crate::{Hub, Script};

/// How long an event may take.
const EVENT_LIMIT: Duration = Duration::from_secs(60);

/// A program of `tests/python` or `tests/node` that runs; killed when dropped.
pub struct EventReaderClient {
    process: ScriptProcess,
}

impl EventReaderClient {
    /// `azure-eventhub` for Python. `config` has the fields that `tests/python/event_reader.py` reads; the connection
    /// string is that of `ferrohub env` if it has none.
    #[must_use]
    #[track_caller]
    pub fn python(hub: &Hub, config: Value) -> Self {
        Self::start(Script::new(hub, "event_reader.py"), hub, config)
    }

    /// `@azure/event-hubs` for Node.
    #[must_use]
    #[track_caller]
    pub fn node(hub: &Hub, config: Value) -> Self {
        Self::start(Script::node(hub, "event_reader.js"), hub, config)
    }

    #[track_caller]
    fn start(script: Script, hub: &Hub, mut config: Value) -> Self {
        if config["connection_string"].is_null() {
            config["connection_string"] = hub.variable("EVENTHUB_CONNECTION_STRING").into();
        }
        Self { process: ScriptProcess::start(script.arg(config.to_string())) }
    }

    /// Returns what the client learns about the event hub and its partitions.
    ///
    /// # Errors
    /// The error of the client.
    #[track_caller]
    pub fn properties(&self) -> Result<Value, Failure> {
        self.process.call("properties", &json!({}))
    }

    /// Receives events as `arguments` say, and returns them.
    ///
    /// # Panics
    /// If the client reports an error or receives too few.
    #[track_caller]
    pub fn receive(&self, arguments: &Value) -> Vec<Value> {
        let result = self.process.call("receive", arguments).expect("the client receives");
        assert_eq!(result["errors"], json!([]), "{result}");
        assert_eq!(result["completed"], true, "{result}");
        result["events"].as_array().expect("a list").clone()
    }

    /// Receives until the client reports an error, and returns it.
    #[track_caller]
    pub fn receive_error(&self, arguments: &Value) -> Value {
        let result = self.process.call("receive", arguments).expect("the client ends");
        result["errors"].get(0).unwrap_or_else(|| panic!("no error: {result}")).clone()
    }

    /// Starts to receive.
    pub fn begin(&self, arguments: &Value) -> Pending {
        self.process.begin("receive", arguments)
    }

    /// Waits for the next event that any operation receives.
    #[must_use]
    #[track_caller]
    pub fn next_event(&self) -> Value {
        self.process.event(EVENT_LIMIT, |event| event["event"] == "received")
    }
}
