//! A device or module as stored in the registry: parsed and validated.

use ferrohub_model::device::{AuthenticationType, Status};
use ferrohub_model::random::random_bytes;
use ferrohub_model::{IdentityId, SharedAccessKey, Timestamp};

use crate::close_reason::CloseReason;

/// A device or module in the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The device id, and the module id of a module.
    pub id: IdentityId,
    /// The generation id: new each time an identity with this id is created.
    pub generation_id: String,
    /// The etag: new with each change.
    pub etag: String,
    /// Whether it may connect. Modules are always enabled; the status of their device applies.
    pub status: Status,
    /// The reason for the status, as free text.
    pub status_reason: Option<String>,
    /// When `status` last changed.
    pub status_updated: Timestamp,
    /// How it authenticates.
    pub authentication: Authentication,
    /// Whether other devices may connect through it.
    pub iot_edge: bool,
    /// For an edge device its own scope, otherwise the scope of its parent edge device.
    pub device_scope: Option<String>,
    /// The scope of the parent edge device; at most one.
    pub parent_scopes: Vec<String>,
    /// `managedBy` of a module.
    pub managed_by: Option<String>,
    /// When it last connected or disconnected.
    pub connection_state_updated: Timestamp,
    /// When the hub last received data from it.
    pub last_activity: Timestamp,
    /// Number of messages in its queue.
    pub messages: u32,
}

/// How an identity authenticates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authentication {
    /// With SAS tokens signed with either key.
    Sas {
        /// The primary key. Tokens may be signed with either key.
        primary: SharedAccessKey,
        /// The secondary key.
        secondary: SharedAccessKey,
    },
    /// With a certificate that has either thumbprint.
    SelfSigned {
        /// The primary thumbprint, if set.
        primary: Option<Thumbprint>,
        /// The secondary thumbprint, if set.
        secondary: Option<Thumbprint>,
    },
    /// With a certificate issued by a verified CA of the hub. Its common name is the id.
    CertificateAuthority,
    /// It cannot authenticate.
    None,
}

impl Authentication {
    /// Returns the authentication type.
    #[must_use]
    pub fn kind(&self) -> AuthenticationType {
        match self {
            Self::Sas { .. } => AuthenticationType::Sas,
            Self::SelfSigned { .. } => AuthenticationType::SelfSigned,
            Self::CertificateAuthority => AuthenticationType::CertificateAuthority,
            Self::None => AuthenticationType::None,
        }
    }
}

/// The SHA-1 or SHA-256 digest of a certificate's DER: 40 or 64 hexadecimal digits, upper case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thumbprint(String);

impl Thumbprint {
    /// Parses 40 or 64 hexadecimal digits of either case. Colons and spaces are ignored.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits: String =
            text.chars().filter(|c| !matches!(c, ':' | ' ')).map(|c| c.to_ascii_uppercase()).collect();
        (matches!(digits.len(), 40 | 64) && digits.bytes().all(|b| b.is_ascii_hexdigit()))
            .then_some(Self(digits))
    }

    /// Returns the digits, upper case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Returns the generation id for an identity created at `now`: like Azure's, digits that grow with time. Four random
/// digits are appended so that none repeats.
pub(super) fn fresh_generation_id(now: Timestamp) -> String {
    format!("{}{:04}", now.unix_millis(), u16::from_le_bytes(random_bytes()) % 10_000)
}

/// Returns why an update must close the identity's connection; `None` if the connection may stay open.
pub(crate) fn close_reason_for_update(old: &Identity, new: &Identity) -> Option<CloseReason> {
    if new.status == Status::Disabled {
        Some(CloseReason::Disabled)
    } else if old.authentication != new.authentication {
        Some(CloseReason::CredentialChanged)
    } else {
        None
    }
}
