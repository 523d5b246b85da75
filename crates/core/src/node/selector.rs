//! Which connections a revocation closes.

use ferrohub_model::{DeviceId, IdentityId, KeyFingerprint};
use serde::{Deserialize, Serialize};

use super::What;

/// Selects connections to close, on all nodes. Plain data: the rules are in
/// [`Connections::disconnect`](super::Connections::disconnect).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Selector {
    /// The connection of this identity only.
    Identity(IdentityId),
    /// The connections of a device and of its modules.
    Device(DeviceId),
    /// The connection of an identity if it authenticated with this key. For a device, also the connections of its modules
    /// that authenticated with this key of the device.
    Key {
        /// The identity that has or had the key.
        identity: IdentityId,
        /// The key.
        key: KeyFingerprint,
    },
    /// The connections that authenticated with a token of this shared access policy.
    Policy {
        /// The policy's name.
        name: String,
    },
    /// The connections that authenticated with a certificate that this certificate authority issued.
    Authority {
        /// The authority's name.
        name: String,
    },
}

impl Selector {
    /// Selects the connection of an identity. If it is a device, also those of its modules.
    #[must_use]
    pub fn with_modules(id: &IdentityId) -> Self {
        id.to_device().map_or_else(|| Self::Identity(id.clone()), Self::Device)
    }

    /// Returns the cache that a node must reload before it closes these connections: with the old one it would accept the
    /// revoked credential again.
    pub(super) fn depends_on(&self) -> Option<What> {
        match self {
            Self::Identity(_) | Self::Device(_) | Self::Key { .. } => None,
            Self::Policy { .. } => Some(What::Policies),
            Self::Authority { .. } => Some(What::Authorities),
        }
    }
}
