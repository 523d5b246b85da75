//! The MQTT user name: `{host}/{client id}/?{properties}`, and the legacy form without `?`.

use crate::percent;

/// A parsed user name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MqttUsername {
    /// The hub's host name.
    pub host: String,
    /// `device` or `device/module`; must be compared with the client id.
    pub identity: String,
    /// The `api-version` property.
    pub api_version: Option<String>,
    /// The `DeviceClientType` property, decoded: the SDK and its version.
    pub client_type: Option<String>,
    /// The `model-id` property, decoded: a DTMI.
    pub model_id: Option<String>,
}

impl MqttUsername {
    /// Parses a user name. `None` if the host or the identity is missing, or an escape is malformed.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (host, rest) = text.split_once('/')?;
        // An id may contain `?`, so only a last segment that begins with `?` contains properties. Old clients omit the
        // `?`.
        let (identity, properties) = match rest.rsplit_once('/') {
            Some((identity, last)) if last.starts_with('?') || last.starts_with("api-version=") => {
                (identity, last.strip_prefix('?').unwrap_or(last))
            }
            Some((identity, "")) => (identity, ""),
            _ => (rest, ""),
        };
        if host.is_empty() || identity.is_empty() {
            return None;
        }
        let mut username = Self { host: host.to_owned(), identity: identity.to_owned(), ..Self::default() };
        for property in properties.split('&') {
            let Some((name, value)) = property.split_once('=') else {
                continue;
            };
            let slot = match name {
                "api-version" => &mut username.api_version,
                "DeviceClientType" => &mut username.client_type,
                "model-id" => &mut username.model_id,
                _ => continue,
            };
            *slot = Some(percent::decode(value)?);
        }
        Some(username)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_and_unusual_ids_are_parsed() {
        for (text, identity, version) in [
            ("h/d/?api-version=2019-10-01&DeviceClientType=a%2Fb", "d", Some("2019-10-01")),
            ("h/d/m/?api-version=2019-10-01", "d/m", Some("2019-10-01")),
            ("h/d/api-version=2016-11-14&DeviceClientType=x", "d", Some("2016-11-14")),
            ("h/d?x/?api-version=1", "d?x", Some("1")),
            ("h/d", "d", None),
            ("h/d/", "d", None),
        ] {
            let username = MqttUsername::parse(text).unwrap();
            assert_eq!(
                (username.identity.as_str(), username.api_version.as_deref()),
                (identity, version),
                "{text}"
            );
        }
        assert_eq!(MqttUsername::parse("h"), None);
        assert_eq!(MqttUsername::parse("/d"), None);
        assert_eq!(MqttUsername::parse("h/d/?api-version=%zz"), None);
        let composed = MqttUsername::compose("h", "d", "2021-04-12", "a b/1", Some("dtmi:x;1"));
        let username = MqttUsername::parse(&composed).unwrap();
        assert_eq!(username.client_type.as_deref(), Some("a b/1"));
        assert_eq!(username.model_id.as_deref(), Some("dtmi:x;1"));
    }
}
