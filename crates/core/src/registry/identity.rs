//! A device or module as the hub keeps it: parsed, checked, no half-filled fields.

use ferrohub_model::device::{AuthenticationType, Status};
use ferrohub_model::{IdentityId, SharedAccessKey, Timestamp};
use ring::rand::{SecureRandom, SystemRandom};

use crate::connections::CloseReason;

/// A device or module in the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Who it is.
    pub id: IdentityId,
    /// New each time the id is created.
    pub generation_id: String,
    /// New with each change.
    pub etag: String,
    /// Whether it may connect. Modules are always enabled; their device's status counts.
    pub status: Status,
    /// Why, for people.
    pub status_reason: Option<String>,
    /// When `status` last changed.
    pub status_updated: Timestamp,
    /// How it proves itself.
    pub authentication: Authentication,
    /// Whether other devices may connect through it.
    pub iot_edge: bool,
    /// The edge scope it belongs to or is.
    pub device_scope: Option<String>,
    /// The scopes above it.
    pub parent_scopes: Vec<String>,
    /// Who manages it, for modules.
    pub managed_by: Option<String>,
    /// When it last connected or disconnected.
    pub connection_state_updated: Timestamp,
    /// When the hub last heard from it.
    pub last_activity: Timestamp,
    /// How many messages wait for it.
    pub messages: u32,
}

/// How an identity proves itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authentication {
    /// With tokens signed by either key.
    Sas {
        /// Either key signs.
        primary: SharedAccessKey,
        /// Either key signs.
        secondary: SharedAccessKey,
    },
    /// With a certificate of either thumbprint.
    SelfSigned {
        /// The first, if set.
        primary: Option<Thumbprint>,
        /// The second, if set.
        secondary: Option<Thumbprint>,
    },
    /// With a certificate from a registered authority whose common name is the id.
    CertificateAuthority,
    /// Not at all.
    None,
}

impl Authentication {
    /// Which kind it is.
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

/// SHA-1 or SHA-256 of a certificate's DER: 40 or 64 hexadecimal digits, upper case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thumbprint(String);

impl Thumbprint {
    /// Reads 40 or 64 hexadecimal digits in either case; colons and spaces between them are dropped.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits: String =
            text.chars().filter(|c| !matches!(c, ':' | ' ')).map(|c| c.to_ascii_uppercase()).collect();
        (matches!(digits.len(), 40 | 64) && digits.bytes().all(|b| b.is_ascii_hexdigit()))
            .then_some(Self(digits))
    }

    /// The digits, upper case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The generation of an identity that is made now: like Azure's, digits that grow with time, here with random ones
/// behind so that none repeats.
pub(super) fn fresh_generation_id(now: Timestamp) -> String {
    let mut bytes = [0u8; 2];
    let _ = SystemRandom::new().fill(&mut bytes);
    format!("{}{:04}", now.unix_millis(), u16::from_le_bytes(bytes) % 10_000)
}

/// Whether an update takes away what connections stand on.
pub(crate) fn close_reason_for_update(old: &Identity, new: &Identity) -> Option<CloseReason> {
    if new.status == Status::Disabled {
        Some(CloseReason::Disabled)
    } else if old.authentication != new.authentication {
        Some(CloseReason::CredentialChanged)
    } else {
        None
    }
}
