//! The MQTT user name: `{host}/{client id}/?{properties}`, and the legacy form without `?`.
//!
//! The identity is the client id of the CONNECT packet; the user name must repeat it. The properties only describe the
//! client. Clients copy unescaped text into them (`DeviceClientType=c/1.5.0(ard;esp32)` in Arduino sketches), so no
//! property makes a user name malformed.

use crate::percent;

/// Names with which the properties begin in clients that leave out the `?`.
const FIRST_PROPERTIES: [&str; 4] = ["api-version=", "DeviceClientType=", "model-id=", "auth-chain="];

/// Why a user name is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUsername {
    /// The host or the identity is missing.
    #[error("the user name lacks the host name or the device id")]
    Incomplete,
    /// The identity in the user name is not the client id.
    #[error("the user name and the client id name different identities")]
    OtherIdentity,
}

/// A parsed user name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MqttUsername {
    /// The hub's host name.
    pub host: String,
    /// The `api-version` property.
    pub api_version: Option<String>,
    /// The `DeviceClientType` property, decoded, without control characters: the SDK and its version.
    pub client_type: Option<String>,
    /// The `model-id` property, decoded, without control characters: a DTMI.
    pub model_id: Option<String>,
}

impl MqttUsername {
    /// Parses the user name of a client with this client id (`device` or `device/module`).
    ///
    /// # Errors
    /// See [`InvalidUsername`].
    pub fn parse(text: &str, client_id: &str) -> Result<Self, InvalidUsername> {
        let (host, rest) = text.split_once('/').ok_or(InvalidUsername::Incomplete)?;
        if host.is_empty() || rest.is_empty() {
            return Err(InvalidUsername::Incomplete);
        }
        // An id may contain `?`, `=` and `&`, so the client id decides where the identity ends.
        let properties = match rest.strip_prefix(client_id) {
            Some("") => "",
            Some(tail) => {
                tail.strip_prefix('/').and_then(properties).ok_or(InvalidUsername::OtherIdentity)?
            }
            None => return Err(InvalidUsername::OtherIdentity),
        };
        let mut username = Self { host: host.to_owned(), ..Self::default() };
        for property in properties.split('&') {
            // An old .NET client separates the properties with slashes.
            match property.split_once('/').filter(|(first, _)| first.starts_with("api-version=")) {
                Some((first, rest)) => {
                    username.set(first);
                    username.set(rest);
                }
                None => username.set(property),
            }
        }
        Ok(username)
    }

    /// Sets a property, unless it is unknown or was set before.
    fn set(&mut self, property: &str) {
        let Some((name, value)) = property.split_once('=') else { return };
        let slot = match name {
            "api-version" => &mut self.api_version,
            "DeviceClientType" => &mut self.client_type,
            "model-id" => &mut self.model_id,
            _ => return,
        };
        slot.get_or_insert_with(|| percent::decode_lossy(value).replace(char::is_control, ""));
    }

    /// Returns the user name that a client sends.
    #[must_use]
    pub fn compose(
        host: &str,
        identity: &str,
        api_version: &str,
        client_type: &str,
        model_id: Option<&str>,
    ) -> String {
        let mut text = format!(
            "{host}/{identity}/?api-version={api_version}&DeviceClientType={}",
            percent::encode(client_type)
        );
        if let Some(model_id) = model_id {
            text.push_str("&model-id=");
            percent::encode_into(model_id, &mut text);
        }
        text
    }
}

/// Returns the properties behind the identity; `None` if the text continues the identity, as that of a module.
fn properties(tail: &str) -> Option<&str> {
    match tail.strip_prefix('?') {
        Some(properties) => Some(properties),
        None => Some(tail).filter(|tail| {
            tail.is_empty() || FIRST_PROPERTIES.iter().any(|property| tail.starts_with(property))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_and_unusual_ids_are_parsed() {
        for (text, client_id, version) in [
            ("h/d/?api-version=2019-10-01&DeviceClientType=a%2Fb", "d", Some("2019-10-01")),
            ("h/d/m/?api-version=2019-10-01", "d/m", Some("2019-10-01")),
            ("h/d/api-version=2016-11-14&DeviceClientType=x", "d", Some("2016-11-14")),
            ("h/d?x/?api-version=1", "d?x", Some("1")),
            ("h/api-version=x/?api-version=2020-09-30", "api-version=x", Some("2020-09-30")),
            ("h/d/?api-version=1&api-version=2", "d", Some("1")),
            ("h/d/?api-version=%zz", "d", Some("%zz")),
            ("h/d/?x&=&api-version=1", "d", Some("1")),
            ("h/d", "d", None),
            ("h/d/", "d", None),
            ("h/d/?", "d", None),
        ] {
            let username = MqttUsername::parse(text, client_id).unwrap();
            assert_eq!((username.host.as_str(), username.api_version.as_deref()), ("h", version), "{text}");
        }
        let composed = MqttUsername::compose("h", "d", "2021-04-12", "a b/1", Some("dtmi:x;1"));
        let username = MqttUsername::parse(&composed, "d").unwrap();
        assert_eq!(username.client_type.as_deref(), Some("a b/1"));
        assert_eq!(username.model_id.as_deref(), Some("dtmi:x;1"));
    }

    /// The texts are those of azure-sdk-for-c-arduino's sketches (`AZURE_SDK_CLIENT_USER_AGENT`), of az_iot_hub_client.c,
    /// which copies `user_agent` verbatim, and of mqtt.go.
    #[test]
    fn descriptive_text_is_accepted_as_it_comes() {
        const DTMI: Option<&str> = Some("dtmi:com:example:T;1");
        for (properties, client_type, model_id) in [
            ("?api-version=2020-09-30&DeviceClientType=c/1.5.0(ard;esp32)", Some("c/1.5.0(ard;esp32)"), None),
            (
                "?api-version=2020-09-30&DeviceClientType=c%2F1.5.0 (ard;esp32)",
                Some("c/1.5.0 (ard;esp32)"),
                None,
            ),
            ("?api-version=2020-09-30&DeviceClientType=100%", Some("100%"), None),
            ("?api-version=1&DeviceClientType=%zz&model-id=dtmi:com:example:T;1", Some("%zz"), DTMI),
            (
                "?api-version=1&DeviceClientType=a/b/?c=d&model-id=dtmi%3acom%3aexample%3aT%3b1",
                Some("a/b/?c=d"),
                DTMI,
            ),
            ("?api-version=1&DeviceClientType=%ff%0A%00x", Some("\u{fffd}x"), None),
            ("?DeviceClientType=x/api-version=2&api-version=1", Some("x/api-version=2"), None),
            ("api-version=2020-09-30&model-id=dtmi%3Acom%3Aexample%3AT%3B1", None, DTMI),
            ("DeviceClientType=x/y&api-version=2020-09-30", Some("x/y"), None),
        ] {
            for client_id in ["d", "d/m", "a:b@c#d+e=f$g%41h!i(j)k*l'm"] {
                let text = format!("h/{client_id}/{properties}");
                let username = MqttUsername::parse(&text, client_id).unwrap();
                assert_eq!(
                    (username.client_type.as_deref(), username.model_id.as_deref()),
                    (client_type, model_id),
                    "{text}"
                );
            }
        }
    }

    /// MqttUsernameParser.cs of iotedge keeps a special case for this client.
    #[test]
    fn an_old_client_separates_its_properties_with_slashes() {
        let text =
            "h/d/m/api-version=2017-06-30/DeviceClientType=Microsoft.Azure.Devices.Client/1.5.1-preview-003";
        let username = MqttUsername::parse(text, "d/m").unwrap();
        assert_eq!(username.api_version.as_deref(), Some("2017-06-30"));
        assert_eq!(username.client_type.as_deref(), Some("Microsoft.Azure.Devices.Client/1.5.1-preview-003"));
    }

    #[test]
    fn a_user_name_of_another_identity_is_refused() {
        for (text, client_id) in [
            ("h/d/m/?api-version=1", "d"),
            ("h/d/?api-version=1", "d/m"),
            ("h/d2/?api-version=1", "d"),
            ("h/d/?api-version=1", "d2"),
            ("h/D/?api-version=1", "d"),
            ("h/d%31/?api-version=1", "d1"),
            ("h/d/m", "d"),
            ("h/d//?api-version=1", "d"),
            ("h//?api-version=1", "d"),
            ("h/d?api-version=1", "d"),
        ] {
            assert_eq!(
                MqttUsername::parse(text, client_id),
                Err(InvalidUsername::OtherIdentity),
                "{text} {client_id}"
            );
        }
        for text in ["", "h", "h/", "/d", "/d/?api-version=1"] {
            assert_eq!(MqttUsername::parse(text, "d"), Err(InvalidUsername::Incomplete), "{text}");
        }
    }
}
