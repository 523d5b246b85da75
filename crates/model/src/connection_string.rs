//! Connection strings of devices and services: `Name=value;Name=value`.
//!
//! A value that contains `;`, which an id may, is written in double quotes: `DeviceId="a;b"`. A quote in it is doubled.
//! Ids never contain quotes, so every other value is written as it is. Microsoft's clients do not read quotes; they
//! cannot read `;` in a value in any form.

use std::borrow::Cow;
use std::fmt;

use crate::event_hub::event_hub_name;
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

const NAMES: [&str; 9] = [
    "HostName",
    "DeviceId",
    "ModuleId",
    "SharedAccessKeyName",
    "SharedAccessKey",
    "SharedAccessSignature",
    "GatewayHostName",
    "x509",
    // Names an Event Hub; has no meaning for a hub, and is ignored.
    "EntityPath",
];

type Parts<'a> = [Option<Cow<'a, str>>; NAMES.len()];

/// Returns the values of the parts, in the order of [`NAMES`].
fn split(text: &str) -> Result<Parts<'_>, ConnectionStringError> {
    let mut parts = Parts::default();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(|c: char| c == ';' || c.is_whitespace());
        if rest.is_empty() {
            return Ok(parts);
        }
        // Only the first `=` separates name and value: base64 may end with `=`.
        let (name, after) = rest.split_once('=').ok_or(ConnectionStringError::Part)?;
        let name = name.trim_end();
        if name.contains(';') {
            return Err(ConnectionStringError::Part);
        }
        let value;
        (value, rest) = split_value(after.trim_start())?;
        let (slot, name) = parts
            .iter_mut()
            .zip(NAMES)
            .find(|(_, known)| known.eq_ignore_ascii_case(name))
            .ok_or_else(|| ConnectionStringError::Unknown(name.to_owned()))?;
        if slot.replace(value).is_some() {
            return Err(ConnectionStringError::Duplicate(name));
        }
    }
}

/// Splits a text into the value at its beginning and the text after it.
fn split_value(text: &str) -> Result<(Cow<'_, str>, &str), ConnectionStringError> {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, rest) = text.split_once(';').unwrap_or((text, ""));
        return Ok((value.trim_end().into(), rest));
    };
    let mut end = quoted.find('"').ok_or(ConnectionStringError::Part)?;
    while quoted.get(end + 1..).is_some_and(|rest| rest.starts_with('"')) {
        let after = end + 2;
        let next = quoted.get(after..).and_then(|rest| rest.find('"'));
        end = after + next.ok_or(ConnectionStringError::Part)?;
    }
    let (value, rest) = quoted.split_at(end);
    let rest = rest.trim_start_matches('"').trim_start();
    if !rest.is_empty() && !rest.starts_with(';') {
        return Err(ConnectionStringError::Part);
    }
    let value = if value.contains('"') { value.replace("\"\"", "\"").into() } else { value.into() };
    Ok((value, rest))
}

/// Formats a value: in quotes if it would not be read back otherwise.
struct Value<'a>(&'a str);

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.contains([';', '"']) || self.0.trim() != self.0 {
            write!(f, "\"{}\"", self.0.replace('"', "\"\""))
        } else {
            f.write_str(self.0)
        }
    }
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
        let parts = split(text)?;
        let [host, device, module, policy, key, signature, gateway, x509, _] =
            parts.each_ref().map(Option::as_deref);
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
        let mut text =
            format!("HostName={};DeviceId={}", Value(&self.host_name), Value(self.identity.device_str()));
        if let Some(module) = self.identity.module_str() {
            text.push_str(&format!(";ModuleId={}", Value(module)));
        }
        match &self.credential {
            DeviceCredential::Key(key) => text.push_str(&format!(";SharedAccessKey={}", key.to_base64())),
            DeviceCredential::Signature(token) => {
                text.push_str(&format!(";SharedAccessSignature={}", Value(token)));
            }
            DeviceCredential::X509 => text.push_str(";x509=true"),
        }
        if let Some(gateway) = &self.gateway_host_name {
            text.push_str(&format!(";GatewayHostName={}", Value(gateway)));
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
        let parts = split(text)?;
        let [host, device, module, policy, key, signature, gateway, x509, _] =
            parts.each_ref().map(Option::as_deref);
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
            Value(&self.host_name),
            Value(&self.policy),
            self.key.to_base64()
        )
    }

    /// Returns the connection string for readers of events, as of an event hub on Azure, including secrets. It has no
    /// port: such clients use that of AMQP.
    #[must_use]
    pub fn reveal_for_event_hubs(&self) -> String {
        let host = self.host_name.rsplit_once(':').map_or(self.host_name.as_str(), |(host, _)| host);
        format!(
            "Endpoint=sb://{host}/;SharedAccessKeyName={};SharedAccessKey={};EntityPath={}",
            Value(&self.policy),
            self.key.to_base64(),
            event_hub_name(host)
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
    fn readers_of_events_get_an_endpoint_and_an_entity() {
        let text = format!("HostName=h.example.lan:8443;SharedAccessKeyName=service;SharedAccessKey={KEY}");
        let login: ServiceConnectionString = text.parse().unwrap();
        let expected = format!(
            "Endpoint=sb://h.example.lan/;SharedAccessKeyName=service;SharedAccessKey={KEY};EntityPath=h"
        );
        assert_eq!(login.reveal_for_event_hubs(), expected);
    }

    #[test]
    fn ids_with_a_semicolon_are_written_in_quotes_and_read_back() {
        let id = "a;SharedAccessKey=x;b'=";
        let text = format!("HostName=h;DeviceId=\"{id}\";ModuleId=\";\";SharedAccessKey={KEY}");
        let parsed: DeviceConnectionString = text.parse().unwrap();
        assert_eq!((parsed.identity.device_str(), parsed.identity.module_str()), (id, Some(";")));
        assert_eq!(parsed.reveal(), text);
        for policy in ["a;b", "say \"hi\"", " x ", "\"\"", ";"] {
            let login = ServiceConnectionString {
                host_name: "h".to_owned(),
                policy: policy.to_owned(),
                key: SharedAccessKey::from_base64(KEY).unwrap(),
            };
            assert_eq!(login.reveal().parse(), Ok(login));
        }
        for invalid in ["HostName=\"h", "HostName=\"h\"x;DeviceId=d", "HostName=\"h\"\"", "Host;Name=h", "a"]
        {
            let error = invalid.parse::<DeviceConnectionString>().unwrap_err();
            assert_eq!(error, ConnectionStringError::Part, "{invalid}");
        }
    }

    #[test]
    fn blanks_around_separators_and_an_entity_path_are_ignored() {
        let text = format!(" HostName = h ;\n ; DeviceId=\td ; SharedAccessKey = {KEY} ; EntityPath=x;");
        let parsed: DeviceConnectionString = text.parse().unwrap();
        assert_eq!(parsed.reveal(), format!("HostName=h;DeviceId=d;SharedAccessKey={KEY}"));
        let text = format!("HostName=h; SharedAccessKeyName=service ;SharedAccessKey={KEY};entitypath=hub");
        let parsed: ServiceConnectionString = text.parse().unwrap();
        assert_eq!((parsed.host_name.as_str(), parsed.policy.as_str()), ("h", "service"));
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
