//! How the sender of an event proved itself, as readers are told.

use crate::connections::Credential;

/// How a sender proved itself. The numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthMethod {
    /// A token signed with its own key.
    DeviceKey = 0,
    /// A token signed with a policy's key.
    Policy = 1,
    /// A certificate known by its thumbprint.
    Thumbprint = 2,
    /// A certificate from a known authority.
    Authority = 3,
}

impl AuthMethod {
    /// The method with that number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        [Self::DeviceKey, Self::Policy, Self::Thumbprint, Self::Authority].get(usize::from(number)).copied()
    }

    /// JSON text, in the form of Azure's `iothub-connection-auth-method`.
    #[must_use]
    pub fn to_json(self, is_module: bool) -> String {
        let own = if is_module { "module" } else { "device" };
        let (scope, kind, issuer) = match self {
            Self::DeviceKey => (own, "sas", "iothub"),
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
    fn numbers_stay_what_they_mean() {
        for (number, method) in
            [AuthMethod::DeviceKey, AuthMethod::Policy, AuthMethod::Thumbprint, AuthMethod::Authority]
                .into_iter()
                .enumerate()
        {
            assert_eq!(method as usize, number);
            assert_eq!(AuthMethod::from_number(number as u8), Some(method));
        }
        assert_eq!(AuthMethod::from_number(4), None);
        assert_eq!(
            AuthMethod::DeviceKey.to_json(true),
            r#"{"scope":"module","type":"sas","issuer":"iothub","acceptingIpFilterRule":null}"#
        );
    }
}
