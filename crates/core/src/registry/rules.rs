//! What a request may set on a device, and how a device looks to a reader.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ferrohub_model::device::{self, AuthenticationType, ConnectionState, Device, Status};
use ferrohub_model::{ErrorCode, HubError, IdentityId, SharedAccessKey, Timestamp};
use ring::rand::{SecureRandom, SystemRandom};

use super::{Authentication, Identity, Thumbprint};

/// Longest status reason, in characters.
const MAX_STATUS_REASON: usize = 128;

/// The `If-Match` of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IfMatch {
    /// Whatever the etag is, but the identity must be there.
    Any,
    /// Only this etag.
    Etag(String),
}

impl IfMatch {
    /// Reads the header in all its spellings: `*`, `"*"`, `"etag"`, `etag`, `W/"etag"`.
    #[must_use]
    pub fn parse(header: &str) -> Self {
        let text = header.trim();
        let text = text.strip_prefix("W/").unwrap_or(text);
        let bare = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
        if bare == "*" { Self::Any } else { Self::Etag(bare.to_owned()) }
    }

    /// Whether an identity of this etag is meant.
    #[must_use]
    pub fn admits(&self, etag: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Etag(wanted) => wanted == etag,
        }
    }
}

fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> HubError {
    HubError::new(ErrorCode::ArgumentInvalid, message)
}

/// A new etag: base64 of random digits, as opaque as Azure's.
#[must_use]
pub fn fresh_etag() -> String {
    let mut bytes = [0u8; 9];
    let _ = SystemRandom::new().fill(&mut bytes);
    STANDARD.encode(bytes)
}

/// The identity that a request makes: a new one, or `old` with what the request sets.
///
/// Where the request leaves `authentication` out, an existing identity keeps its own; where it leaves
/// keys out, existing keys stay and missing ones are generated.
pub fn apply(
    id: &IdentityId,
    request: &Device,
    old: Option<&Identity>,
    now: Timestamp,
) -> Result<Identity, HubError> {
    if !request.device_id.is_empty() && request.device_id != id.device_str() {
        return Err(invalid("deviceId in the body is not the one in the path"));
    }
    if request.status_reason.as_ref().is_some_and(|reason| reason.chars().count() > MAX_STATUS_REASON) {
        return Err(invalid("statusReason must have at most 128 characters"));
    }
    let authentication = match (&request.authentication, old) {
        (None, Some(old)) => old.authentication.clone(),
        (request, old) => {
            authentication(request.as_ref().unwrap_or(&device::Authentication::default()), old)?
        }
    };
    let status = request.status.or(old.map(|old| old.status)).unwrap_or_default();
    let generation_id = match old {
        Some(old) => old.generation_id.clone(),
        // Like Azure's: digits that grow with time, here with random ones behind so that none repeats.
        None => format!("{}{:04}", now.unix_millis(), random_below(10_000)),
    };
    let iot_edge = request.capabilities.map_or_else(|| old.is_some_and(|old| old.iot_edge), |c| c.iot_edge);
    let device_scope = match (iot_edge, old.and_then(|old| old.device_scope.clone())) {
        (true, Some(scope)) if old.is_some_and(|old| old.iot_edge) => Some(scope),
        (true, _) => Some(format!("ms-azure-iot-edge://{}-{generation_id}", id.device_str())),
        (false, scope) => request.device_scope.clone().or(scope),
    };
    Ok(Identity {
        id: id.clone(),
        generation_id,
        etag: fresh_etag(),
        status,
        status_reason: request.status_reason.clone(),
        status_updated: match old {
            Some(old) if old.status == status => old.status_updated,
            Some(_) => now,
            None => Timestamp::NEVER,
        },
        authentication,
        iot_edge,
        device_scope,
        parent_scopes: request
            .parent_scopes
            .clone()
            .or(old.map(|old| old.parent_scopes.clone()))
            .unwrap_or_default(),
        managed_by: old.and_then(|old| old.managed_by.clone()),
        connection_state_updated: old.map_or(Timestamp::NEVER, |old| old.connection_state_updated),
        last_activity: old.map_or(Timestamp::NEVER, |old| old.last_activity),
    })
}

fn random_below(bound: u16) -> u16 {
    let mut bytes = [0u8; 2];
    let _ = SystemRandom::new().fill(&mut bytes);
    u16::from_le_bytes(bytes) % bound
}

fn authentication(
    request: &device::Authentication,
    old: Option<&Identity>,
) -> Result<Authentication, HubError> {
    let thumbprints = request.x509_thumbprint.as_ref();
    let has_thumbprint =
        thumbprints.is_some_and(|t| t.primary_thumbprint.is_some() || t.secondary_thumbprint.is_some());
    let kind = match request.kind {
        Some(kind) => kind,
        None if has_thumbprint => AuthenticationType::SelfSigned,
        None => AuthenticationType::Sas,
    };
    match kind {
        AuthenticationType::None => Ok(Authentication::None),
        AuthenticationType::CertificateAuthority => Ok(Authentication::CertificateAuthority),
        AuthenticationType::SelfSigned => {
            let read = |text: Option<&String>| match text.map(String::as_str) {
                None | Some("") => Ok(None),
                Some(text) => Thumbprint::parse(text).map(Some).ok_or_else(|| {
                    invalid("a thumbprint must be 40 (SHA-1) or 64 (SHA-256) hexadecimal digits")
                }),
            };
            let primary = read(thumbprints.and_then(|t| t.primary_thumbprint.as_ref()))?;
            let secondary = read(thumbprints.and_then(|t| t.secondary_thumbprint.as_ref()))?;
            if primary.is_none() && secondary.is_none() {
                return Err(invalid("type selfSigned needs a thumbprint"));
            }
            Ok(Authentication::SelfSigned { primary, secondary })
        }
        AuthenticationType::Sas => {
            let kept = match old.map(|old| &old.authentication) {
                Some(Authentication::Sas { primary, secondary }) => {
                    (Some(primary.clone()), Some(secondary.clone()))
                }
                _ => (None, None),
            };
            let keys = request.symmetric_key.clone().unwrap_or_default();
            let read =
                |text: Option<String>, kept: Option<SharedAccessKey>, name: &str| match text.as_deref() {
                    None | Some("") => Ok(kept.unwrap_or_else(SharedAccessKey::generate)),
                    Some(text) => SharedAccessKey::from_base64(text)
                        .map_err(|error| invalid(format!("{name}: {error}"))),
                };
            Ok(Authentication::Sas {
                primary: read(keys.primary_key, kept.0, "primaryKey")?,
                secondary: read(keys.secondary_key, kept.1, "secondaryKey")?,
            })
        }
    }
}

/// How a device looks to a reader, keys included. `live` is its connection's start and last activity.
#[must_use]
pub fn to_device(identity: &Identity, live: Option<(Timestamp, Timestamp)>) -> Device {
    let (keys, thumbprints) = match &identity.authentication {
        Authentication::Sas { primary, secondary } => (
            device::SymmetricKeyPair {
                primary_key: Some(primary.to_base64()),
                secondary_key: Some(secondary.to_base64()),
            },
            device::X509Thumbprints::default(),
        ),
        Authentication::SelfSigned { primary, secondary } => (
            device::SymmetricKeyPair::default(),
            device::X509Thumbprints {
                primary_thumbprint: primary.as_ref().map(|t| t.as_str().to_owned()),
                secondary_thumbprint: secondary.as_ref().map(|t| t.as_str().to_owned()),
            },
        ),
        Authentication::CertificateAuthority | Authentication::None => Default::default(),
    };
    Device {
        device_id: identity.id.device_str().to_owned(),
        generation_id: Some(identity.generation_id.clone()),
        etag: Some(identity.etag.clone()),
        connection_state: Some(if live.is_some() {
            ConnectionState::Connected
        } else {
            ConnectionState::Disconnected
        }),
        status: Some(identity.status),
        status_reason: identity.status_reason.clone(),
        connection_state_updated_time: Some(
            live.map_or(identity.connection_state_updated, |(since, _)| since),
        ),
        status_updated_time: Some(identity.status_updated),
        last_activity_time: Some(live.map_or(identity.last_activity, |(_, last)| last)),
        cloud_to_device_message_count: Some(0),
        authentication: Some(device::Authentication {
            symmetric_key: Some(keys),
            x509_thumbprint: Some(thumbprints),
            kind: Some(identity.authentication.kind()),
        }),
        capabilities: Some(device::Capabilities { iot_edge: identity.iot_edge }),
        device_scope: identity.device_scope.clone(),
        parent_scopes: Some(identity.parent_scopes.clone()),
    }
}

/// Whether an update takes away what connections stand on.
pub(crate) fn ends_connections(old: &Identity, new: &Identity) -> Option<crate::connections::CloseReason> {
    use crate::connections::CloseReason;
    if new.status == Status::Disabled {
        Some(CloseReason::Disabled)
    } else if old.authentication != new.authentication {
        Some(CloseReason::CredentialChanged)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(json: &str) -> Device {
        serde_json::from_str(json).unwrap()
    }

    fn id() -> IdentityId {
        IdentityId::parse("d1").unwrap()
    }

    #[test]
    fn keys_are_generated_kept_and_replaced() {
        let now = Timestamp::from_unix_seconds(1);
        let first = apply(&id(), &device(r#"{"deviceId":"d1"}"#), None, now).unwrap();
        let Authentication::Sas { primary, .. } = &first.authentication else { panic!() };
        let kept = apply(&id(), &device(r#"{"authentication":{"type":"sas"}}"#), Some(&first), now).unwrap();
        assert_eq!(kept.authentication, first.authentication);
        assert_ne!(kept.etag, first.etag);
        let json = r#"{"authentication":{"symmetricKey":{"primaryKey":"AAECAwQFBgcICQoLDA0ODw=="}}}"#;
        let replaced = apply(&id(), &device(json), Some(&first), now).unwrap();
        let Authentication::Sas { primary: new, secondary } = &replaced.authentication else { panic!() };
        assert_ne!(new, primary);
        assert!(
            matches!(&first.authentication, Authentication::Sas { secondary: old, .. } if old == secondary)
        );
    }

    #[test]
    fn nonsense_is_refused() {
        let now = Timestamp::from_unix_seconds(1);
        for json in [
            r#"{"deviceId":"other"}"#,
            r#"{"authentication":{"type":"selfSigned"}}"#,
            r#"{"authentication":{"type":"selfSigned","x509Thumbprint":{"primaryThumbprint":"zz"}}}"#,
            r#"{"authentication":{"symmetricKey":{"primaryKey":"c2hvcnQ="}}}"#,
        ] {
            assert_eq!(
                apply(&id(), &device(json), None, now).unwrap_err().code,
                ErrorCode::ArgumentInvalid,
                "{json}"
            );
        }
    }

    #[test]
    fn if_match_comes_in_many_spellings() {
        for text in ["*", "\"*\"", " * "] {
            assert_eq!(IfMatch::parse(text), IfMatch::Any);
        }
        for text in ["abc", "\"abc\"", "W/\"abc\""] {
            assert!(IfMatch::parse(text).admits("abc"));
            assert!(!IfMatch::parse(text).admits("abd"));
        }
    }
}
