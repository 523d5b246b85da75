//! The authentication method of an event's sender, which readers see in the event.

use crate::auth::Credential;

/// The authentication method of a sender. The numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthMethod {
    /// A token signed with the identity's own key.
    DeviceKey = 0,
    /// A token signed with the key of a shared access policy.
    Policy = 1,
    /// A certificate whose thumbprint the identity lists.
    Thumbprint = 2,
    /// A certificate that chains to a registered certificate authority.
    Authority = 3,
    /// A token of a module, signed with the key of its device.
    ParentDeviceKey = 4,
}

impl AuthMethod {
    /// Returns the method with this number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        [Self::DeviceKey, Self::Policy, Self::Thumbprint, Self::Authority, Self::ParentDeviceKey]
            .get(usize::from(number))
            .copied()
    }

    /// Returns the method as JSON text, in the form of Azure's `iothub-connection-auth-method`.
    #[must_use]
    pub fn to_json(self, is_module: bool) -> String {
        let own = if is_module { "module" } else { "device" };
        let (scope, kind, issuer) = match self {
            Self::DeviceKey => (own, "sas", "iothub"),
            Self::ParentDeviceKey => ("device", "sas", "iothub"),
            Self::Policy => ("hub", "sas", "iothub"),
            Self::Thumbprint => (own, "x509Certificate", "external"),
            Self::Authority => (own, "x509CA", "external"),
        };
        format!(
            "{{\"scope\":\"{scope}\",\"type\":\"{kind}\",\"issuer\":\"{issuer}\",\"acceptingIpFilterRule\":null}}"
        )
    }
}

impl From<&Credential> for AuthMethod {
    fn from(credential: &Credential) -> Self {
        match credential {
            Credential::DeviceKey(_) => Self::DeviceKey,
            Credential::ParentDeviceKey(_) => Self::ParentDeviceKey,
            Credential::Policy { .. } => Self::Policy,
            Credential::Thumbprint => Self::Thumbprint,
            Credential::Authority { .. } => Self::Authority,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_numbers_keep_their_meaning() {
        let methods = [
            AuthMethod::DeviceKey,
            AuthMethod::Policy,
            AuthMethod::Thumbprint,
            AuthMethod::Authority,
            AuthMethod::ParentDeviceKey,
        ];
        for (number, method) in methods.into_iter().enumerate() {
            assert_eq!(method as usize, number);
            assert_eq!(AuthMethod::from_number(number as u8), Some(method));
        }
        assert_eq!(AuthMethod::from_number(5), None);
        assert_eq!(
            AuthMethod::DeviceKey.to_json(true),
            r#"{"scope":"module","type":"sas","issuer":"iothub","acceptingIpFilterRule":null}"#
        );
        assert_eq!(
            AuthMethod::ParentDeviceKey.to_json(true),
            r#"{"scope":"device","type":"sas","issuer":"iothub","acceptingIpFilterRule":null}"#
        );
    }
}
