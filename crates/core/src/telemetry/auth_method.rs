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

macro_rules! json {
    ($scope:literal, $kind:literal, $issuer:literal) => {
        concat!(
            "{\"scope\":\"",
            $scope,
            "\",\"type\":\"",
            $kind,
            "\",\"issuer\":\"",
            $issuer,
            "\",\"acceptingIpFilterRule\":null}"
        )
    };
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
    pub fn to_json(self, is_module: bool) -> &'static str {
        match (self, is_module) {
            (Self::DeviceKey, false) | (Self::ParentDeviceKey, _) => json!("device", "sas", "iothub"),
            (Self::DeviceKey, true) => json!("module", "sas", "iothub"),
            (Self::Policy, _) => json!("hub", "sas", "iothub"),
            (Self::Thumbprint, false) => json!("device", "x509Certificate", "external"),
            (Self::Thumbprint, true) => json!("module", "x509Certificate", "external"),
            (Self::Authority, false) => json!("device", "x509CA", "external"),
            (Self::Authority, true) => json!("module", "x509CA", "external"),
        }
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
