//! Conversion of an identity's authentication between its JSON form and the registry.

use ferrohub_model::device::{self, AuthenticationType, SymmetricKeyPair, X509Thumbprints};
use ferrohub_model::{ErrorCode, HubError, KeyChange, KeyFingerprint, SharedAccessKey};

use super::{Authentication, Identity, Thumbprint};

pub(super) fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> HubError {
    HubError::new(ErrorCode::ArgumentInvalid, message)
}

/// Returns the authentication of an identity after a create or update request. If the request omits `authentication`,
/// an existing identity keeps its own. If it omits keys, existing keys stay and missing ones are generated.
///
/// # Errors
/// `ArgumentInvalid` if a key or thumbprint is not valid, or a self-signed identity has no thumbprint.
pub(super) fn resolve_authentication(
    request: Option<&device::Authentication>,
    old: Option<&Authentication>,
) -> Result<Authentication, HubError> {
    let default = device::Authentication::default();
    let request = match (request, old) {
        (None, Some(old)) => return Ok(old.clone()),
        (request, _) => request.unwrap_or(&default),
    };
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
            let existing = match old {
                Some(Authentication::Sas { primary, secondary }) => {
                    (Some(primary.clone()), Some(secondary.clone()))
                }
                _ => (None, None),
            };
            let keys = request.symmetric_key.clone().unwrap_or_default();
            let read =
                |text: Option<String>, existing: Option<SharedAccessKey>, name: &str| match text.as_deref() {
                    None | Some("") => Ok(existing.unwrap_or_else(SharedAccessKey::generate)),
                    Some(text) => SharedAccessKey::from_base64(text)
                        .map_err(|error| invalid(format!("{name}: {error}"))),
                };
            Ok(Authentication::Sas {
                primary: read(keys.primary_key, existing.0, "primaryKey")?,
                secondary: read(keys.secondary_key, existing.1, "secondaryKey")?,
            })
        }
    }
}

/// Regenerates one key or both, or swaps them. Returns the new authentication, and the fingerprints of the keys that are no
/// longer valid.
///
/// # Errors
/// `InvalidOperation` if the identity does not authenticate with keys.
pub(crate) fn rotate_key(
    old: &Authentication,
    change: KeyChange,
) -> Result<(Authentication, Vec<KeyFingerprint>), HubError> {
    let Authentication::Sas { primary, secondary } = old else {
        return Err(HubError::new(
            ErrorCode::InvalidOperation,
            "The identity does not authenticate with keys.",
        ));
    };
    let new = SharedAccessKey::generate;
    let (new_primary, new_secondary) = match change {
        KeyChange::Primary => (new(), secondary.clone()),
        KeyChange::Secondary => (primary.clone(), new()),
        KeyChange::Both => (new(), new()),
        KeyChange::Swap => (secondary.clone(), primary.clone()),
    };
    let valid = [new_primary.fingerprint(), new_secondary.fingerprint()];
    let removed = [primary, secondary].map(SharedAccessKey::fingerprint);
    let removed = removed.into_iter().filter(|key| !valid.contains(key)).collect();
    Ok((Authentication::Sas { primary: new_primary, secondary: new_secondary }, removed))
}

/// Returns how an identity authenticates, keys included.
pub(crate) fn export_authentication(identity: &Identity) -> device::Authentication {
    authentication_view(&identity.authentication)
}

/// Converts to the JSON form, keys included.
pub(super) fn authentication_view(authentication: &Authentication) -> device::Authentication {
    let keys = match authentication {
        Authentication::Sas { primary, secondary } => SymmetricKeyPair {
            primary_key: Some(primary.to_base64()),
            secondary_key: Some(secondary.to_base64()),
        },
        _ => SymmetricKeyPair::default(),
    };
    device::Authentication {
        symmetric_key: Some(keys),
        x509_thumbprint: Some(thumbprints(authentication)),
        kind: Some(authentication.kind()),
    }
}

/// Returns the thumbprints; empty unless the type is self-signed.
pub(crate) fn thumbprints(authentication: &Authentication) -> X509Thumbprints {
    let digits = |thumbprint: &Option<Thumbprint>| thumbprint.as_ref().map(|t| t.as_str().to_owned());
    match authentication {
        Authentication::SelfSigned { primary, secondary } => {
            X509Thumbprints { primary_thumbprint: digits(primary), secondary_thumbprint: digits(secondary) }
        }
        _ => X509Thumbprints::default(),
    }
}
