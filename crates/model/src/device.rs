//! The JSON of a device in the registry.

use serde::{Deserialize, Serialize};

use crate::names::{self, serde_by_name};
use crate::timestamp::Timestamp;

/// Whether an identity may authenticate. The type `Status` of the device SDK is the state of its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Status {
    /// It may authenticate.
    #[default]
    Enabled,
    /// It may not authenticate; the hub closes its connection.
    Disabled,
}

impl Status {
    /// Returns the name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Disabled => "disabled",
        }
    }
}

serde_by_name!(Status, &[Self::Enabled, Self::Disabled]);

/// Whether an identity has a connection now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ConnectionState {
    /// It has a connection.
    Connected,
    /// It has no connection.
    #[default]
    Disconnected,
}

impl ConnectionState {
    /// Returns `Connected` if `connected` is true, otherwise `Disconnected`.
    #[must_use]
    pub fn of(connected: bool) -> Self {
        if connected { Self::Connected } else { Self::Disconnected }
    }

    /// Returns the name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Connected => "Connected",
            Self::Disconnected => "Disconnected",
        }
    }
}

serde_by_name!(ConnectionState, &[Self::Connected, Self::Disconnected]);

/// How an identity authenticates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AuthenticationType {
    /// With tokens signed by one of its two keys.
    #[default]
    Sas,
    /// With a certificate of one of two thumbprints.
    SelfSigned,
    /// With a certificate that chains to a certificate authority registered at the hub.
    CertificateAuthority,
    /// It cannot authenticate, and so not connect.
    None,
}

impl AuthenticationType {
    /// Returns the name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sas => "sas",
            Self::SelfSigned => "selfSigned",
            Self::CertificateAuthority => "certificateAuthority",
            Self::None => "none",
        }
    }
}

serde_by_name!(AuthenticationType, &[Self::Sas, Self::SelfSigned, Self::CertificateAuthority, Self::None]);

/// The two keys of an identity, as base64 text, so that a request with only one key can be detected.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SymmetricKeyPair {
    /// Base64 of 16 to 64 bytes.
    pub primary_key: Option<String>,
    /// Base64 of 16 to 64 bytes.
    pub secondary_key: Option<String>,
}

impl std::fmt::Debug for SymmetricKeyPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SymmetricKeyPair(***)")
    }
}

/// The two thumbprints of an identity.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct X509Thumbprints {
    /// SHA-1 (40) or SHA-256 (64) of the certificate's DER, in hexadecimal digits.
    pub primary_thumbprint: Option<String>,
    /// The thumbprint of a second certificate.
    pub secondary_thumbprint: Option<String>,
}

/// The `authentication` object of an identity.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Authentication {
    /// The keys, for type `sas`.
    pub symmetric_key: Option<SymmetricKeyPair>,
    /// The thumbprints, for type `selfSigned`.
    pub x509_thumbprint: Option<X509Thumbprints>,
    /// The authentication type; default `sas`.
    #[serde(rename = "type")]
    pub kind: Option<AuthenticationType>,
}

impl Authentication {
    /// Returns authentication with keys, in base64.
    pub fn keys(primary: impl Into<String>, secondary: impl Into<String>) -> Self {
        let keys =
            SymmetricKeyPair { primary_key: Some(primary.into()), secondary_key: Some(secondary.into()) };
        Self { symmetric_key: Some(keys), kind: Some(AuthenticationType::Sas), ..Self::default() }
    }

    /// Returns authentication with a self-signed certificate, given by its SHA-1 or SHA-256 thumbprint, or a second
    /// one.
    pub fn thumbprints(primary: impl Into<String>, secondary: Option<String>) -> Self {
        let thumbprints =
            X509Thumbprints { primary_thumbprint: Some(primary.into()), secondary_thumbprint: secondary };
        Self {
            x509_thumbprint: Some(thumbprints),
            kind: Some(AuthenticationType::SelfSigned),
            ..Self::default()
        }
    }

    /// Returns authentication with a certificate of a certificate authority that is registered at the hub. Its common
    /// name must be the id.
    #[must_use]
    pub fn certificate_authority() -> Self {
        Self { kind: Some(AuthenticationType::CertificateAuthority), ..Self::default() }
    }

    /// Returns the primary key, if there is one and the response contains it.
    #[must_use]
    pub fn primary_key(&self) -> Option<&str> {
        self.symmetric_key.as_ref()?.primary_key.as_deref()
    }
}

/// The `capabilities` object of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Capabilities {
    /// Whether other devices may connect through this one.
    pub iot_edge: bool,
}

/// A device identity. Requests set only some fields, of which the hub uses only some. Responses of the hub set all
/// fields.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Device {
    /// The device id.
    pub device_id: String,
    /// New each time the device is created, which distinguishes a re-created device from the old one.
    #[serde(deserialize_with = "names::read_only")]
    pub generation_id: Option<String>,
    /// The etag of the identity, without quotes.
    #[serde(deserialize_with = "names::read_only")]
    pub etag: Option<String>,
    /// Whether it is connected now.
    #[serde(deserialize_with = "names::read_only")]
    pub connection_state: Option<ConnectionState>,
    /// Whether it may connect.
    pub status: Option<Status>,
    /// The reason of the status, for people; at most 128 characters.
    pub status_reason: Option<String>,
    /// When `connection_state` last changed.
    #[serde(deserialize_with = "names::read_only")]
    pub connection_state_updated_time: Option<Timestamp>,
    /// When `status` last changed.
    #[serde(deserialize_with = "names::read_only")]
    pub status_updated_time: Option<Timestamp>,
    /// When the hub last received a packet or request from it.
    #[serde(deserialize_with = "names::read_only")]
    pub last_activity_time: Option<Timestamp>,
    /// Number of messages in its queue.
    #[serde(deserialize_with = "names::read_only")]
    pub cloud_to_device_message_count: Option<u32>,
    /// How it authenticates.
    pub authentication: Option<Authentication>,
    /// The capabilities of the device.
    pub capabilities: Option<Capabilities>,
    /// The scope of the edge device that it belongs to or is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_scope: Option<String>,
    /// The scopes of the parents of an edge device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_scopes: Option<Vec<String>>,
}

impl Device {
    /// Returns a device to create: enabled, with keys that the hub generates.
    pub fn new(device_id: impl Into<String>) -> Self {
        Self { device_id: device_id.into(), ..Self::default() }
    }

    /// Sets its keys, in base64.
    #[must_use]
    pub fn with_keys(self, primary: impl Into<String>, secondary: impl Into<String>) -> Self {
        self.with_authentication(Authentication::keys(primary, secondary))
    }

    /// Sets authentication with a self-signed certificate, given by its SHA-1 or SHA-256 thumbprint, or a second one.
    #[must_use]
    pub fn with_thumbprints(self, primary: impl Into<String>, secondary: Option<String>) -> Self {
        self.with_authentication(Authentication::thumbprints(primary, secondary))
    }

    /// Sets authentication with a certificate of a certificate authority that is registered at the hub. Its common name
    /// must be the device id.
    #[must_use]
    pub fn with_certificate_authority(self) -> Self {
        self.with_authentication(Authentication::certificate_authority())
    }

    /// Sets the status.
    #[must_use]
    pub fn with_status(mut self, status: Status) -> Self {
        self.status = Some(status);
        self
    }

    fn with_authentication(mut self, authentication: Authentication) -> Self {
        self.authentication = Some(authentication);
        self
    }

    /// Returns the primary key, if the device has one and the response contains it.
    #[must_use]
    pub fn primary_key(&self) -> Option<&str> {
        self.authentication.as_ref()?.primary_key()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::module::Module;

    #[test]
    fn enumerations_are_read_in_any_case_and_written_in_azures_spelling() {
        for (status, expected) in [("Enabled", "enabled"), ("DISABLED", "disabled"), ("enabled", "enabled")] {
            let device: Device = serde_json::from_value(json!({ "status": status })).unwrap();
            assert_eq!(serde_json::to_value(&device).unwrap()["status"], expected);
        }
        for (kind, expected) in [
            ("SAS", "sas"),
            ("SelfSigned", "selfSigned"),
            ("certificateauthority", "certificateAuthority"),
            ("None", "none"),
        ] {
            let sent = json!({ "authentication": { "type": kind } });
            let device: Device = serde_json::from_value(sent.clone()).unwrap();
            assert_eq!(serde_json::to_value(&device).unwrap()["authentication"]["type"], expected);
            let module: Module = serde_json::from_value(sent).unwrap();
            assert_eq!(serde_json::to_value(&module).unwrap()["authentication"]["type"], expected);
        }
        let state: ConnectionState = serde_json::from_value(json!("connected")).unwrap();
        assert_eq!(serde_json::to_value(state).unwrap(), "Connected");
        let error = serde_json::from_value::<Device>(json!({ "status": "on" })).unwrap_err().to_string();
        assert_eq!(error, "unknown variant `on`, expected one of `enabled`, `disabled`");
        assert!(serde_json::from_value::<Device>(json!({ "status": 1 })).is_err());
    }

    #[test]
    fn members_that_only_the_hub_sets_are_read_in_any_form() {
        let names = [
            "generationId",
            "etag",
            "connectionState",
            "connectionStateUpdatedTime",
            "statusUpdatedTime",
            "lastActivityTime",
            "cloudToDeviceMessageCount",
        ];
        for odd in [json!(null), json!("odd"), json!(-1.5), json!({ "a": [null] }), json!([true])] {
            for name in names {
                let sent = json!({ "deviceId": "d", name: odd });
                let text = sent.to_string();
                let device: Device =
                    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
                assert_eq!((device.device_id.as_str(), device.connection_state), ("d", None), "{text}");
                let module: Module =
                    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
                assert_eq!((module.device_id.as_str(), module.last_activity_time), ("d", None), "{text}");
            }
        }
        let shown = json!({ "connectionState": "connected", "cloudToDeviceMessageCount": 3,
            "lastActivityTime": "2026-01-01T00:00:00Z", "etag": "e" });
        let device: Device = serde_json::from_value(shown).unwrap();
        assert_eq!(device.connection_state, Some(ConnectionState::Connected));
        assert_eq!((device.cloud_to_device_message_count, device.etag.as_deref()), (Some(3), Some("e")));
        assert!(device.last_activity_time.is_some());
    }
}
