//! Azure's built-in roles for IoT hubs and the data actions that they grant.

/// A built-in role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// All data actions.
    DataContributor,
    /// All read actions.
    DataReader,
    /// All actions on identities.
    RegistryContributor,
    /// All actions on twins.
    TwinContributor,
}

/// No role has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown role; the roles are {}", Role::ALL.map(Role::name).join(", "))]
pub struct UnknownRole;

impl Role {
    /// All roles.
    pub const ALL: [Self; 4] =
        [Self::DataContributor, Self::DataReader, Self::RegistryContributor, Self::TwinContributor];

    /// Returns Azure's name of the role.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::DataContributor => "IoT Hub Data Contributor",
            Self::DataReader => "IoT Hub Data Reader",
            Self::RegistryContributor => "IoT Hub Registry Contributor",
            Self::TwinContributor => "IoT Hub Twin Contributor",
        }
    }

    /// Returns the data action patterns, without the prefix `Microsoft.Devices/IotHubs/`; `*` matches any text.
    #[must_use]
    pub fn data_actions(self) -> &'static [&'static str] {
        match self {
            Self::DataContributor => &["*"],
            Self::DataReader => &["*/read"],
            Self::RegistryContributor => &["devices/*"],
            Self::TwinContributor => &["twins/*"],
        }
    }
}

impl std::str::FromStr for Role {
    type Err = UnknownRole;

    /// Parses the name as Azure writes it, or as the value of an application role, which has no spaces:
    /// `IoTHubDataContributor`, `IotHub.Data.Contributor`.
    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        let normalized = |name: &str| -> String {
            name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
        };
        let wanted = normalized(text);
        Self::ALL.into_iter().find(|role| normalized(role.name()) == wanted).ok_or(UnknownRole)
    }
}

/// Returns whether a pattern grants a data action. A `*` may be the first or the last character of the pattern.
pub(crate) fn grants(pattern: &str, action: &str) -> bool {
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(end), _) => action.ends_with(end),
        (None, Some(start)) => action.starts_with(start),
        (None, None) => pattern == action,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_grants_its_data_actions() {
        let grants_action =
            |role: Role, action| role.data_actions().iter().any(|pattern| grants(pattern, action));
        for (action, roles) in [
            ("devices/read", [true, true, true, false]),
            ("devices/write", [true, false, true, false]),
            ("twins/read", [true, true, false, true]),
            ("directMethods/invoke/action", [true, false, false, false]),
        ] {
            assert_eq!(Role::ALL.map(|role| grants_action(role, action)), roles, "{action}");
        }
    }

    #[test]
    fn role_names_parse_with_and_without_spaces() {
        assert_eq!("IoT Hub Data Contributor".parse(), Ok(Role::DataContributor));
        assert_eq!("IotHub.Data.Reader".parse(), Ok(Role::DataReader));
        assert_eq!("Contributor".parse::<Role>(), Err(UnknownRole));
    }
}
