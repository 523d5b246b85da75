//! A device on Microsoft's device client.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::certificate::CertificateFiles;
use crate::script_process::{Failure, Pending, ScriptProcess};
use crate::{Hub, Identity, Script};

/// Maximum time until a device receives a call or notices a change of its connection.
const EVENT_LIMIT: Duration = Duration::from_secs(30);

/// One of the two clients of `azure-iot-device`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// `azure.iot.device.IoTHubDeviceClient`
    Sync,
    /// `azure.iot.device.aio.IoTHubDeviceClient`
    Async,
}

/// A method call as the device received it.
#[derive(Debug, Clone, PartialEq)]
pub struct MethodRequest {
    /// The request id.
    pub request_id: String,
    /// The method's name.
    pub name: String,
    /// The payload from the caller.
    pub payload: Value,
}

/// A message to send, with the fields of the client's `Message`.
#[derive(Debug, Clone)]
#[must_use]
pub struct Message(Value);

impl Message {
    /// Creates a message with a text body.
    pub fn text(body: &str) -> Self {
        Self(json!({ "text": body, "system": {}, "custom": {} }))
    }

    /// Creates a message with a binary body.
    pub fn bytes(body: &[u8]) -> Self {
        Self(json!({ "base64": STANDARD.encode(body), "system": {}, "custom": {} }))
    }

    /// Sets an attribute of the client's `Message`, such as `message_id`.
    pub fn system(mut self, name: &str, value: &str) -> Self {
        self.0["system"][name] = value.into();
        self
    }

    /// Sets one of `custom_properties`.
    pub fn custom(mut self, name: &str, value: &str) -> Self {
        self.0["custom"][name] = value.into();
        self
    }
}

/// A message as the client received it.
#[derive(Debug, Clone, PartialEq)]
pub struct ReceivedMessage(Value);

impl ReceivedMessage {
    /// Returns the body.
    #[must_use]
    #[track_caller]
    pub fn body(&self) -> Vec<u8> {
        STANDARD.decode(self.text("data")).expect("a body in base64")
    }

    /// Returns the body as text.
    #[must_use]
    #[track_caller]
    pub fn body_text(&self) -> String {
        String::from_utf8(self.body()).expect("text")
    }

    /// Returns another field; null if it is missing.
    #[must_use]
    pub fn field(&self, name: &str) -> &Value {
        &self.0[name]
    }

    /// Returns another field as text; empty if it is missing.
    #[must_use]
    pub fn text(&self, name: &str) -> &str {
        self.0[name].as_str().unwrap_or_default()
    }
}

/// The upload URL of a file, in parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadInfo {
    /// `correlationId`
    pub correlation_id: String,
    /// `hostName`
    pub host_name: String,
    /// `containerName`
    pub container_name: String,
    /// `blobName`
    pub blob_name: String,
    /// `sasToken`
    pub sas_token: String,
}

impl UploadInfo {
    /// Builds the URL in the same way as Microsoft's samples.
    #[must_use]
    pub fn url(&self) -> String {
        let Self { host_name, container_name, blob_name, sas_token, .. } = self;
        format!("https://{host_name}/{container_name}/{blob_name}{sas_token}")
    }
}

/// The configuration of a device before its start.
#[must_use]
pub struct DeviceBuilder {
    client: Client,
    config: Value,
}

impl DeviceBuilder {
    /// Selects the client; the default is the synchronous one.
    pub fn client(mut self, client: Client) -> Self {
        self.client = client;
        self
    }

    /// Sets an option of the client, such as `websockets` or `sastoken_ttl`.
    pub fn option(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.config["options"][name] = value.into();
        self
    }

    /// Starts the program without connecting.
    #[must_use]
    #[track_caller]
    pub fn start(self, hub: &Hub) -> Device {
        let program = match self.client {
            Client::Sync => "device.py",
            Client::Async => "device_async.py",
        };
        Device(ScriptProcess::start(Script::new(hub, program).arg(self.config.to_string())))
    }

    /// Starts the program, connects and sets the handler for method calls.
    #[must_use]
    #[track_caller]
    pub fn listen(self, hub: &Hub) -> Device {
        let device = self.start(hub);
        device.listen().expect("the device connects and sets the handler");
        device
    }
}

/// A running device. `tests/python/device_program.py` defines its responses to methods.
pub struct Device(ScriptProcess);

impl Device {
    /// Creates a device with its primary key.
    pub fn with_identity(identity: &Identity) -> DeviceBuilder {
        Self::with_connection_string(&identity.connection_string())
    }

    /// `create_from_connection_string`
    pub fn with_connection_string(connection_string: &str) -> DeviceBuilder {
        Self::with(json!({ "connection_string": connection_string, "options": {} }))
    }

    /// `create_from_sastoken`
    pub fn with_token(token: &str) -> DeviceBuilder {
        Self::with(json!({ "sastoken": token, "options": {} }))
    }

    /// `create_from_x509_certificate`
    pub fn with_certificate(hub: &Hub, device_id: &str, certificate: &CertificateFiles) -> DeviceBuilder {
        Self::with(json!({
            "x509": {
                "hostname": hub.name(),
                "device_id": device_id,
                "cert_file": certificate.certificate,
                "key_file": certificate.key,
            },
            "options": {},
        }))
    }

    fn with(config: Value) -> DeviceBuilder {
        DeviceBuilder { client: Client::Sync, config }
    }

    /// Sets the handler for method calls, which connects first if necessary.
    ///
    /// # Errors
    /// The client's exception.
    #[track_caller]
    pub fn listen(&self) -> Result<(), Failure> {
        self.0.call("listen", &json!({})).map(drop)
    }

    /// `connect()`
    ///
    /// # Errors
    /// The client's exception.
    #[track_caller]
    pub fn connect(&self) -> Result<(), Failure> {
        self.0.call("connect", &json!({})).map(drop)
    }

    /// `disconnect()`
    #[track_caller]
    pub fn disconnect(&self) {
        self.0.call("disconnect", &json!({})).expect("the device disconnects");
    }

    /// `shutdown()`
    #[track_caller]
    pub fn shutdown(&self) {
        self.0.call("shutdown", &json!({})).expect("the device shuts down");
    }

    /// Kills the program to simulate a power failure of the device.
    pub fn kill(&self) {
        self.0.kill();
    }

    /// Waits for the next call.
    #[must_use]
    #[track_caller]
    pub fn next_request(&self) -> MethodRequest {
        request(&self.0.event(EVENT_LIMIT, |event| event["event"] == "request"))
    }

    /// Waits for a call of the method with this name. Other calls stay.
    #[track_caller]
    pub fn request_of(&self, name: &str) -> MethodRequest {
        request(&self.0.event(EVENT_LIMIT, |event| event["event"] == "request" && event["name"] == name))
    }

    /// Returns the received calls that were not returned before.
    #[must_use]
    pub fn requests(&self) -> Vec<MethodRequest> {
        let events = self.0.events(|event| event["event"] == "request");
        events.iter().map(request).collect()
    }

    /// `get_twin()`
    ///
    /// # Errors
    /// The client's exception.
    #[track_caller]
    pub fn twin(&self) -> Result<Value, Failure> {
        self.0.call("get_twin", &json!({}))
    }

    /// `patch_twin_reported_properties()`
    ///
    /// # Errors
    /// The client's exception.
    #[track_caller]
    pub fn report(&self, patch: &Value) -> Result<(), Failure> {
        self.0.call("report", &json!({ "patch": patch })).map(drop)
    }

    /// Calls `send_message()` for each message; with the asynchronous client concurrently.
    ///
    /// # Errors
    /// The client's exception.
    #[track_caller]
    pub fn send(&self, messages: &[Message]) -> Result<(), Failure> {
        let messages: Vec<&Value> = messages.iter().map(|message| &message.0).collect();
        self.0.call("send", &json!({ "messages": messages })).map(drop)
    }

    /// `send_message_to_output()`
    ///
    /// # Errors
    /// The client's exception.
    #[track_caller]
    pub fn send_to_output(&self, output: &str, message: &Message) -> Result<(), Failure> {
        self.0.call("send", &json!({ "messages": [message.0], "output": output })).map(drop)
    }

    /// Sends messages until one fails, each after the acknowledgement of the previous one. The body of a message is
    /// `prefix` followed by its number. The result is the number of acknowledged messages.
    #[track_caller]
    pub fn begin_sending_until_failure(&self, prefix: &str) -> Pending {
        self.0.begin("send_until_failure", &json!({ "prefix": prefix }))
    }

    /// Sets or removes the handler for changes of desired properties; connects first if necessary.
    #[track_caller]
    pub fn watch_desired(&self, on: bool) {
        self.0.call("watch_desired", &json!({ "on": on })).expect("the handler is set");
    }

    /// Waits for the next change of desired properties.
    #[must_use]
    #[track_caller]
    pub fn next_desired(&self) -> Value {
        self.0.event(EVENT_LIMIT, |event| event["event"] == "desired")["patch"].clone()
    }

    /// Returns the received changes that were not returned before.
    #[must_use]
    pub fn desired(&self) -> Vec<Value> {
        let events = self.0.events(|event| event["event"] == "desired");
        events.iter().map(|event| event["patch"].clone()).collect()
    }

    /// Sets or removes the handler for messages; connects first if necessary.
    #[track_caller]
    pub fn listen_for_messages(&self, on: bool) {
        self.0.call("listen_for_messages", &json!({ "on": on })).expect("the handler is set");
    }

    /// Waits for the next message.
    #[must_use]
    #[track_caller]
    pub fn next_message(&self) -> ReceivedMessage {
        ReceivedMessage(self.0.event(EVENT_LIMIT, |event| event["event"] == "message"))
    }

    /// Calls `receive_message()`, which keeps the order of messages, unlike handlers. `None` after the time-out.
    #[must_use]
    #[track_caller]
    pub fn receive_message(&self, limit: Duration) -> Option<ReceivedMessage> {
        let message = self.0.call("receive_message", &json!({ "timeout": limit.as_secs() }));
        Some(message.expect("the device receives")).filter(|message| !message.is_null()).map(ReceivedMessage)
    }

    /// Returns the received messages that were not returned before.
    #[must_use]
    pub fn messages(&self) -> Vec<ReceivedMessage> {
        self.0.events(|event| event["event"] == "message").into_iter().map(ReceivedMessage).collect()
    }

    /// `get_storage_info_for_blob()`
    ///
    /// # Errors
    /// The client's exception.
    #[track_caller]
    pub fn storage_info(&self, blob_name: &str) -> Result<UploadInfo, Failure> {
        let info = self.0.call("storage_info", &json!({ "blob_name": blob_name }))?;
        let text = |name: &str| info[name].as_str().unwrap_or_default().to_owned();
        Ok(UploadInfo {
            correlation_id: text("correlationId"),
            host_name: text("hostName"),
            container_name: text("containerName"),
            blob_name: text("blobName"),
            sas_token: text("sasToken"),
        })
    }

    /// `notify_blob_upload_status()`
    ///
    /// # Errors
    /// The client's exception.
    #[track_caller]
    pub fn notify_upload(&self, correlation_id: &str, is_success: bool) -> Result<(), Failure> {
        let outcome = json!({
            "correlation_id": correlation_id,
            "is_success": is_success,
            "status_code": if is_success { 200 } else { 500 },
            "status_description": "from the test",
        });
        self.0.call("notify_upload", &outcome).map(drop)
    }

    /// Waits until the client reports that it is connected, or disconnected.
    #[track_caller]
    pub fn wait_until_connected(&self, connected: bool, limit: Duration) {
        self.0.event(limit, |event| event["event"] == "connection" && event["connected"] == connected);
    }

    /// Returns the number of connects that the client reported since the previous call.
    #[must_use]
    pub fn connects(&self) -> usize {
        let events = self.0.events(|event| event["event"] == "connection");
        events.iter().filter(|event| event["connected"] == true).count()
    }
}

fn request(event: &Value) -> MethodRequest {
    let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
    MethodRequest { request_id: text("request_id"), name: text("name"), payload: event["payload"].clone() }
}
