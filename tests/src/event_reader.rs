//! Readers of events on Microsoft's packages for event hubs, and devices that send what they read.

use std::time::Duration;

use serde_json::{Value, json};

use crate::script_process::{Failure, Pending, ScriptProcess};
use crate::{Events, Hub, Identity, Script, Service};

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

/// Devices that send events over HTTPS.
pub struct EventSender<'a> {
    service: &'a Service,
    devices: Vec<Identity>,
}

impl<'a> EventSender<'a> {
    /// Creates devices `dev0`, `dev1` and so on. Eight have events in all four partitions.
    #[must_use]
    #[track_caller]
    pub fn with_devices(service: &'a Service, count: usize) -> Self {
        let devices = (0..count).map(|number| service.create_device(&format!("dev{number}"))).collect();
        Self { service, devices }
    }

    /// Sends an event of a device, with properties of every kind.
    #[track_caller]
    pub fn send(&self, device: usize, body: &str) {
        let headers = json!({
            "Content-Type": "application/json", "iothub-app-level": "high",
            "iothub-messageid": format!("m{body}"), "iothub-contenttype": "application/json",
            "iothub-contentencoding": "utf-8",
        });
        self.send_with(device, headers, body);
    }

    /// Sends an event of a device with these headers.
    #[track_caller]
    pub fn send_with(&self, device: usize, mut headers: Value, body: &str) {
        let device = &self.devices[device];
        let path = format!("/devices/{}/messages/events?api-version=2020-03-13", device.device_id);
        headers["Authorization"] = device.token().into();
        let answer = self.service.http_with("POST", &path, headers, Some(body));
        assert_eq!(answer.status, 204, "{}", answer.body);
    }

    /// Sends an event of each device, with its number as the body.
    #[track_caller]
    pub fn send_one_of_each(&self) {
        for device in 0..self.devices.len() {
            self.send(device, &device.to_string());
        }
    }

    /// Returns the partition of a device that has sent an event.
    #[must_use]
    #[track_caller]
    pub fn partition_of(&self, hub: &Hub, device: usize) -> String {
        let id = self.devices[device].device_id.clone();
        let events = Events::new(hub, self.service).all();
        events.iter().find(|event| event.device() == id).expect("an event").partition().to_string()
    }
}
