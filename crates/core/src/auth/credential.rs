//! What a device or module proved its identity with.

use std::sync::Arc;

use ferrohub_model::KeyFingerprint;

/// The credential with which a connection authenticated. The connection is closed when that credential expires,
/// changes or is removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// A token signed with this key of the identity.
    DeviceKey(KeyFingerprint),
    /// A token of a module, signed with this key of its device.
    ParentDeviceKey(KeyFingerprint),
    /// A token signed with the key of a shared access policy.
    Policy {
        /// The policy's name.
        name: Arc<str>,
    },
    /// A certificate whose thumbprint the identity lists.
    Thumbprint,
    /// A certificate that chains to this registered certificate authority.
    Authority {
        /// The authority's name.
        name: Arc<str>,
    },
}
