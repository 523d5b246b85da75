//! Connection strings of devices and services: `Name=value;Name=value`.

use std::fmt;

use crate::identity::{DeviceId, IdentityId, InvalidId, ModuleId};
use crate::key::{InvalidKey, SharedAccessKey};

/// Why a text is not a connection string of the expected kind. Never contains a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectionStringError {
    /// A part is not `name=value`.
    #[error("a part of the connection string is not Name=value")]
    Part,
    /// A name occurs twice.
    #[error("the connection string has {0} twice")]
    Duplicate(&'static str),
    /// A name is unknown.
    #[error("the connection string has an unknown part, {0:?}")]
    Unknown(String),
    /// A required part is missing.
    #[error("the connection string has no {0}")]
    Missing(&'static str),
    /// A part is not allowed in this kind of connection string, or together with another part.
    #[error("the connection string has {0}, which this kind of connection string does not use")]
    Unexpected(&'static str),
    /// The key is not valid.
    #[error("SharedAccessKey: {0}")]
    Key(#[from] InvalidKey),
    /// An id is not valid.
    #[error("{0}: {1}")]
    Id(&'static str, InvalidId),
}

const NAMES: [&str; 8] = [
    "HostName",
    "DeviceId",
    "ModuleId",
    "SharedAccessKeyName",
    "SharedAccessKey",
    "SharedAccessSignature",
    "GatewayHostName",
    "x509",
];

/// Returns the values of the parts, in the order of [`NAMES`].
fn split(text: &str) -> Result<[Option<&str>; NAMES.len()], ConnectionStringError> {
    let mut parts = [None; NAMES.len()];
    for part in text.trim().split(';').filter(|part| !part.is_empty()) {
        // Only the first `=` separates name and value: base64 may end with `=`.
        let (name, value) = part.split_once('=').ok_or(ConnectionStringError::Part)?;
        let (slot, name) = parts
            .iter_mut()
            .zip(NAMES)
            .find(|(_, known)| known.eq_ignore_ascii_case(name))
            .ok_or_else(|| ConnectionStringError::Unknown(name.to_owned()))?;
        if slot.replace(value).is_some() {
            return Err(ConnectionStringError::Duplicate(name));
        }
    }
    Ok(parts)
}

fn required<'a>(value: Option<&'a str>, name: &'static str) -> Result<&'a str, ConnectionStringError> {
    value.filter(|value| !value.is_empty()).ok_or(ConnectionStringError::Missing(name))
}

/// How a device authenticates, as given by its connection string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceCredential {
    /// With its own key.
    Key(SharedAccessKey),
    /// With a token that was signed for it.
    Signature(String),
    /// With a certificate that is not in the connection string.
    X509,
}

/// `HostName=…;DeviceId=…[;ModuleId=…];SharedAccessKey=…` and its variants.
#[derive(Clone, PartialEq, Eq)]
pub struct DeviceConnectionString {
    /// The hub's host name, as in tokens and user names.
    pub host_name: String,
    /// The device or module.
    pub identity: IdentityId,
    /// How it authenticates.
    pub credential: DeviceCredential,
    /// The gateway to connect to instead of `host_name`, if there is one.
    pub gateway_host_name: Option<String>,
}

impl std::str::FromStr for DeviceConnectionString {
    type Err = ConnectionStringError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let [host, device, module, policy, key, signature, gateway, x509] = split(text)?;
        if policy.is_some() {
            return Err(ConnectionStringError::Unexpected("SharedAccessKeyName"));
        }
        let device = DeviceId::new(required(device, "DeviceId")?)
            .map_err(|e| ConnectionStringError::Id("DeviceId", e))?;
        let identity = match module {
            None => IdentityId::device(&device),
            Some(module) => {
                let module = ModuleId::new(module).map_err(|e| ConnectionStringError::Id("ModuleId", e))?;
                IdentityId::module(&device, &module)
            }
        };
        let x509 = x509.filter(|value| value.eq_ignore_ascii_case("true"));
        let credential = match (key, signature, x509) {
            (Some(key), None, None) => DeviceCredential::Key(SharedAccessKey::from_base64(key)?),
            (None, Some(signature), None) => DeviceCredential::Signature(signature.to_owned()),
            (None, None, Some(_)) => DeviceCredential::X509,
            (None, None, None) => return Err(ConnectionStringError::Missing("SharedAccessKey")),
            (_, _, Some(_)) => return Err(ConnectionStringError::Unexpected("x509")),
            (_, Some(_), None) => {
                return Err(ConnectionStringError::Unexpected("SharedAccessSignature"));
            }
        };
        Ok(Self {
            host_name: required(host, "HostName")?.to_owned(),
            identity,
            credential,
            gateway_host_name: gateway.filter(|gateway| !gateway.is_empty()).map(str::to_owned),
        })
    }
}

impl DeviceConnectionString {
    /// Returns the text form, including secrets.
    #[must_use]
    pub fn reveal(&self) -> String {
        let mut text = format!("HostName={};DeviceId={}", self.host_name, self.identity.device_str());
        if let Some(module) = self.identity.module_str() {
            text.push_str(&format!(";ModuleId={module}"));
        }
        match &self.credential {
            DeviceCredential::Key(key) => text.push_str(&format!(";SharedAccessKey={}", key.to_base64())),
            DeviceCredential::Signature(token) => text.push_str(&format!(";SharedAccessSignature={token}")),
            DeviceCredential::X509 => text.push_str(";x509=true"),
        }
        if let Some(gateway) = &self.gateway_host_name {
            text.push_str(&format!(";GatewayHostName={gateway}"));
        }
        text
    }
}

impl fmt::Debug for DeviceConnectionString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceConnectionString")
            .field("host_name", &self.host_name)
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

/// `HostName=…;SharedAccessKeyName=…;SharedAccessKey=…`: how a service connects to the hub.
#[derive(Clone, PartialEq, Eq)]
pub struct ServiceConnectionString {
    /// The hub's host name, with a port if it is not 443.
    pub host_name: String,
    /// The shared access policy.
    pub policy: String,
    /// One of the policy's two keys.
    pub key: SharedAccessKey,
}

impl std::str::FromStr for ServiceConnectionString {
    type Err = ConnectionStringError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let [host, device, module, policy, key, signature, gateway, x509] = split(text)?;
        for (part, name) in [
            (device, "DeviceId"),
            (module, "ModuleId"),
            (signature, "SharedAccessSignature"),
            (gateway, "GatewayHostName"),
            (x509, "x509"),
        ] {
            if part.is_some() {
                return Err(ConnectionStringError::Unexpected(name));
            }
        }
        Ok(Self {
            host_name: required(host, "HostName")?.to_owned(),
            policy: required(policy, "SharedAccessKeyName")?.to_owned(),
            key: SharedAccessKey::from_base64(required(key, "SharedAccessKey")?)?,
        })
    }
}

impl ServiceConnectionString {
    /// Returns the text form, including secrets.
    #[must_use]
    pub fn reveal(&self) -> String {
        format!(
            "HostName={};SharedAccessKeyName={};SharedAccessKey={}",
            self.host_name,
            self.policy,
            self.key.to_base64()
        )
    }
}

impl fmt::Debug for ServiceConnectionString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceConnectionString")
            .field("host_name", &self.host_name)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    #[test]
    fn connection_strings_are_parsed_as_written() {
        for text in [
            format!("HostName=h;DeviceId=d;SharedAccessKey={KEY}"),
            format!("HostName=h;DeviceId=d;ModuleId=m;SharedAccessKey={KEY};GatewayHostName=g"),
            "HostName=h;DeviceId=d;x509=true".to_owned(),
        ] {
            assert_eq!(text.parse::<DeviceConnectionString>().unwrap().reveal(), text);
        }
        let text = format!("HostName=h:8443;SharedAccessKeyName=service;SharedAccessKey={KEY}");
        assert_eq!(text.parse::<ServiceConnectionString>().unwrap().reveal(), text);
    }

    #[test]
    fn errors_and_debug_output_do_not_contain_the_secret() {
        use ConnectionStringError as E;
        let device = |text: String| text.parse::<DeviceConnectionString>().unwrap_err();
        assert_eq!(device(format!("DeviceId=d;SharedAccessKey={KEY}")), E::Missing("HostName"));
        assert_eq!(device("HostName=h;DeviceId=d".into()), E::Missing("SharedAccessKey"));
        assert_eq!(device("HostName=h;DeviceId=d;SharedAccessKey=zz".into()), E::Key(InvalidKey::Base64));
        assert_eq!(device("HostName=h;Device=d".into()), E::Unknown("Device".into()));
        assert_eq!(device("HostName=h;HostName=i".into()), E::Duplicate("HostName"));
        let parsed: ServiceConnectionString =
            format!("HostName=h;SharedAccessKeyName=s;SharedAccessKey={KEY}").parse().unwrap();
        assert!(!format!("{parsed:?}").contains("AAEC"));
    }
}
