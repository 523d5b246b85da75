//! A device on plain paho-mqtt that sends PUBACK only when the test requests it.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::script_process::ScriptProcess;
use crate::{Hub, Identity, Script};

const LIMIT: Duration = Duration::from_secs(60);

/// A received PUBLISH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Topic.
    pub topic: String,
    /// Body as text.
    pub body: String,
    /// QoS.
    pub qos: u64,
    /// Packet identifier.
    pub packet_id: u64,
    /// DUP flag.
    pub dup: bool,
}

impl Delivery {
    fn from_event(event: &Value) -> Self {
        let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        let body = STANDARD.decode(text("body")).expect("base64");
        Self {
            topic: text("topic"),
            body: String::from_utf8(body).expect("a text"),
            qos: event["qos"].as_u64().unwrap_or_default(),
            packet_id: event["packet_id"].as_u64().unwrap_or_default(),
            dup: event["dup"].as_bool().unwrap_or_default(),
        }
    }
}

/// A running device program.
pub struct ManualAckDevice(ScriptProcess);

impl ManualAckDevice {
    /// Starts a device or module with a token of its primary key.
    #[must_use]
    #[track_caller]
    pub fn start(hub: &Hub, identity: &Identity, clean_session: bool) -> Self {
        let module = identity.module_id.as_ref().map(|module| format!("/{module}")).unwrap_or_default();
        let config = json!({
            "host": hub.name(),
            "client_id": format!("{}{module}", identity.device_id),
            "password": identity.token(),
            "clean_session": clean_session,
        });
        Self(ScriptProcess::start(Script::new(hub, "manual_ack_device.py").arg(config.to_string())))
    }

    /// Connects and returns "session present".
    #[track_caller]
    pub fn connect(&self) -> bool {
        self.0.call("connect", &json!({})).expect("a connection");
        let connected = self.0.event(LIMIT, |event| event["event"] == "connected");
        assert_eq!(connected["code"], 0);
        connected["session_present"] == true
    }

    /// Waits until the client has reconnected on its own.
    #[track_caller]
    pub fn wait_until_connected(&self) {
        self.0.event(LIMIT, |event| event["event"] == "connected" && event["code"] == 0);
    }

    /// Sends DISCONNECT.
    #[track_caller]
    pub fn disconnect(&self) {
        self.0.call("disconnect", &json!({})).expect("the device disconnects");
    }

    /// Kills the program, so that no DISCONNECT is sent.
    pub fn kill(&self) {
        self.0.kill();
    }

    /// Subscribes and returns the granted QoS.
    #[track_caller]
    pub fn subscribe(&self, filter: &str, qos: u8) -> u64 {
        self.0.call("subscribe", &json!({ "filter": filter, "qos": qos })).expect("a subscription");
        let subscribed = self.0.event(LIMIT, |event| event["event"] == "subscribed");
        subscribed["granted"][0].as_u64().unwrap_or_default()
    }

    /// Waits for the next message.
    #[must_use]
    #[track_caller]
    pub fn next(&self) -> Delivery {
        Delivery::from_event(&self.0.event(LIMIT, |event| event["event"] == "message"))
    }

    /// Returns the received messages that were not returned before.
    #[must_use]
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.0.events(|event| event["event"] == "message").iter().map(Delivery::from_event).collect()
    }

    /// Sends PUBACK.
    #[track_caller]
    pub fn acknowledge(&self, delivery: &Delivery) {
        self.0.call("acknowledge", &json!({ "packet_id": delivery.packet_id })).expect("an acknowledgement");
    }
}
