//! One MQTT connection with any credentials at all.

use std::time::Duration;

use serde_json::{Value, json};

use crate::certificate::CertificateFiles;
use crate::{Hub, Script};

/// What the CONNECT packet says, and the client certificate under it.
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
}

/// How the hub answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// CONNACK with this return code.
    Connack(u64),
    /// The connection ended before any CONNACK.
    Closed(String),
}

impl<'a> Connect<'a> {
    /// As the device client connects.
    #[must_use]
    pub fn device(hub: &Hub, device_id: &'a str) -> Self {
        Self {
            client_id: device_id,
            username: format!("{}/{device_id}/?api-version=2019-10-01", hub.name()),
            ..Self::default()
        }
    }

    /// With a password.
    #[must_use]
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(password.into());
        self
    }

    /// With a client certificate.
    #[must_use]
    pub fn certificate(mut self, certificate: &'a CertificateFiles) -> Self {
        self.certificate = Some(certificate);
        self
    }

    /// Connects, hears the answer, and goes.
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
        });
        let script = Script::new(hub, "raw_connect.py").arg(config.to_string());
        let output = script.output(Duration::from_secs(60));
        let said: Value = serde_json::from_str(&output).expect("a JSON line");
        match said["return_code"].as_u64() {
            Some(code) => Outcome::Connack(code),
            None => Outcome::Closed(said["error"].as_str().unwrap_or_default().to_owned()),
        }
    }
}
