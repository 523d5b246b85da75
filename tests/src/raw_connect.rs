//! One MQTT connection with arbitrary credentials.

use std::time::Duration;

use serde_json::{Value, json};

use crate::certificate::CertificateFiles;
use crate::{Hub, Script};

/// The fields of the CONNECT packet, and the client certificate.
#[derive(Debug, Clone, Default)]
pub struct Connect<'a> {
    /// MQTT client id.
    pub client_id: &'a str,
    /// MQTT user name; [`Connect::device`] makes the usual one.
    pub username: String,
    /// MQTT password.
    pub password: Option<String>,
    /// For the TLS handshake.
    pub certificate: Option<&'a CertificateFiles>,
    /// Whether the connection uses MQTT over WebSocket.
    pub websocket: bool,
}

/// The hub's response to CONNECT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// CONNACK with this return code.
    Connack(u64),
    /// The connection ended before any CONNACK.
    Closed(String),
}

impl<'a> Connect<'a> {
    /// Creates a CONNECT like that of Microsoft's device client.
    #[must_use]
    pub fn device(hub: &Hub, device_id: &'a str) -> Self {
        Self {
            client_id: device_id,
            username: format!("{}/{device_id}/?api-version=2019-10-01", hub.name()),
            ..Self::default()
        }
    }

    /// Sets the password.
    #[must_use]
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(password.into());
        self
    }

    /// Sets the client certificate.
    #[must_use]
    pub fn certificate(mut self, certificate: &'a CertificateFiles) -> Self {
        self.certificate = Some(certificate);
        self
    }

    /// Selects MQTT over WebSocket.
    #[must_use]
    pub fn websocket(mut self) -> Self {
        self.websocket = true;
        self
    }

    /// Connects, returns the response, and closes the connection.
    #[must_use]
    #[track_caller]
    pub fn run(&self, hub: &Hub) -> Outcome {
        let config = json!({
            "host": hub.name(),
            "client_id": self.client_id,
            "username": self.username,
            "password": self.password,
            "cert_file": self.certificate.map(|files| &files.certificate),
            "key_file": self.certificate.map(|files| &files.key),
            "websocket": self.websocket,
        });
        let script = Script::new(hub, "raw_connect.py").arg(config.to_string());
        let output = script.output(Duration::from_secs(60));
        let result: Value = serde_json::from_str(&output).expect("a JSON line");
        match result["return_code"].as_u64() {
            Some(code) => Outcome::Connack(code),
            None => Outcome::Closed(result["error"].as_str().unwrap_or_default().to_owned()),
        }
    }
}
