//! A device on plain paho-mqtt, for packets that Microsoft's client cannot send.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::sas::{self, Token};
use crate::script_process::ScriptProcess;
use crate::{Hub, Identity, Script};

/// A running device program.
pub struct PahoDevice(ScriptProcess);

impl PahoDevice {
    /// Starts the program without connecting.
    #[must_use]
    #[track_caller]
    pub fn new(hub: &Hub, identity: &Identity) -> Self {
        Self::start(hub, identity, &Value::Null)
    }

    /// Starts the program with a will, without connecting.
    #[must_use]
    #[track_caller]
    pub fn with_will(hub: &Hub, identity: &Identity, topic: &str, payload: &str, retain: bool) -> Self {
        Self::start(hub, identity, &json!({ "topic": topic, "payload": payload, "retain": retain }))
    }

    #[track_caller]
    fn start(hub: &Hub, identity: &Identity, will: &Value) -> Self {
        let resource = identity.resource();
        let token = Token {
            resource: &resource,
            key: &identity.primary_key,
            expiry: sas::now() + 3600,
            policy: None,
        };
        let config = json!({
            "host": hub.name(), "client_id": identity.device_id, "password": token.sign(), "will": will,
        });
        Self(ScriptProcess::start(Script::new(hub, "paho_device.py").arg(config.to_string())))
    }

    /// Connects and returns whether the hub accepted the connection.
    #[must_use]
    #[track_caller]
    pub fn connect(&self) -> bool {
        self.call_bool("connect", &json!({}))
    }

    /// Publishes at QoS 1. Returns whether the hub acknowledged the message; false if it closed the connection.
    #[must_use]
    #[track_caller]
    pub fn publish(&self, topic: &str, payload: &[u8]) -> bool {
        self.publish_with(topic, payload, 1, false)
    }

    /// Publishes with any QoS and retain flag. QoS 0 is never acknowledged.
    #[must_use]
    #[track_caller]
    pub fn publish_with(&self, topic: &str, payload: &[u8], qos: u8, retain: bool) -> bool {
        let payload = STANDARD.encode(payload);
        let arguments = json!({ "topic": topic, "payload": payload, "qos": qos, "retain": retain });
        self.call_bool("publish", &arguments)
    }

    /// Waits for the hub to close the connection, and returns whether it did.
    #[must_use]
    #[track_caller]
    pub fn is_closed(&self) -> bool {
        self.call_bool("wait_until_closed", &json!({}))
    }

    /// Closes the socket without DISCONNECT.
    #[track_caller]
    pub fn close_socket(&self) {
        self.0.call("close_socket", &json!({})).expect("the socket is closed");
    }

    /// Sends DISCONNECT.
    #[track_caller]
    pub fn disconnect(&self) {
        self.0.call("disconnect", &json!({})).expect("the device disconnects");
    }

    #[track_caller]
    fn call_bool(&self, operation: &str, arguments: &Value) -> bool {
        self.0.call(operation, arguments).expect("the operation succeeds").as_bool().expect("a boolean")
    }
}
