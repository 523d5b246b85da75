//! SAS tokens created by the tests, valid and invalid.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

/// Returns the current time in seconds since 1970.
#[must_use]
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    i64::try_from(since.expect("a clock after 1970").as_secs()).expect("a time that fits into an i64")
}

/// The fields of a token.
#[derive(Debug, Clone)]
pub struct Token<'a> {
    /// Resource without percent-encoding, such as `host/devices/dev1`.
    pub resource: &'a str,
    /// Key in base64.
    pub key: &'a str,
    /// Expiry in seconds since 1970.
    pub expiry: i64,
    /// Name of the policy; none for a device key.
    pub policy: Option<&'a str>,
}

impl Token<'_> {
    /// Signs and encodes the token.
    #[must_use]
    pub fn sign(&self) -> String {
        let resource = encode(self.resource);
        let expiry = self.expiry;
        let signature = encode(&sign_text(&resource, self.key, expiry));
        let mut token = format!("SharedAccessSignature sr={resource}&sig={signature}&se={expiry}");
        if let Some(policy) = self.policy {
            token.push_str("&skn=");
            token.push_str(policy);
        }
        token
    }
}

/// Returns the signature over the resource exactly as it is written in the token, in base64 without percent-encoding.
#[must_use]
pub fn sign_text(resource: &str, key: &str, expiry: i64) -> String {
    let secret = STANDARD.decode(key).expect("a key in base64");
    let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
    STANDARD.encode(hmac::sign(&key, format!("{resource}\n{expiry}").as_bytes()))
}

/// Creates a token of a device or module key whose `sr` is exactly this text, valid for an hour.
#[must_use]
pub fn literal_token(sr: &str, key: &str) -> String {
    let expiry = now() + 3600;
    format!("SharedAccessSignature sr={sr}&sig={}&se={expiry}", encode(&sign_text(sr, key, expiry)))
}

/// Creates a token from the connection string of a policy, valid for an hour.
#[must_use]
pub fn policy_token(connection_string: &str) -> String {
    let field = |name: &str| {
        let mut fields = connection_string.split(';');
        let value = fields.find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
        value.unwrap_or_else(|| panic!("no {name} in the connection string"))
    };
    let token = Token {
        resource: field("HostName"),
        key: field("SharedAccessKey"),
        expiry: now() + 3600,
        policy: Some(field("SharedAccessKeyName")),
    };
    token.sign()
}

/// Percent-encodes all bytes except letters, digits and `-._~`.
#[must_use]
pub fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_equals_a_published_test_vector() {
        let token = Token {
            resource: "myhub.azure-devices.net/devices/device1",
            key: "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
            expiry: 1_735_689_600,
            policy: None,
        };
        assert_eq!(
            token.sign(),
            "SharedAccessSignature sr=myhub.azure-devices.net%2Fdevices%2Fdevice1\
             &sig=xH0%2F%2BRciNlrmGRmft%2FGaRUOWtxiP3dKxt1GTGUR2qrw%3D&se=1735689600"
        );
    }
}
