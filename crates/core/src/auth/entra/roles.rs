//! Roles and the data actions they grant. The names are Azure's.

/// A built-in role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Everything.
    DataContributor,
    /// Everything that only reads.
    DataReader,
    /// Devices.
    RegistryContributor,
    /// Twins.
    TwinContributor,
}

/// There is no role of that name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no role of that name; the roles are {}", Role::ALL.map(Role::name).join(", "))]
pub struct UnknownRole;

impl Role {
    /// Every role.
    pub const ALL: [Self; 4] =
        [Self::DataContributor, Self::DataReader, Self::RegistryContributor, Self::TwinContributor];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::DataContributor => "IoT Hub Data Contributor",
            Self::DataReader => "IoT Hub Data Reader",
            Self::RegistryContributor => "IoT Hub Registry Contributor",
            Self::TwinContributor => "IoT Hub Twin Contributor",
        }
    }

    /// Patterns of data actions, without `Microsoft.Devices/IotHubs/`; `*` stands for any text.
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

    /// Reads the name as Azure writes it, or as the value of an application role, which has no spaces:
    /// `IoTHubDataContributor`, `IotHub.Data.Contributor`.
    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        let plain = |name: &str| -> String {
            name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
        };
        let wanted = plain(text);
        Self::ALL.into_iter().find(|role| plain(role.name()) == wanted).ok_or(UnknownRole)
    }
}

/// Whether a pattern grants a data action. A `*` stands at an end or is the whole pattern.
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
    fn each_role_grants_its_own() {
        let may = |role: Role, action| role.data_actions().iter().any(|pattern| grants(pattern, action));
        for (action, roles) in [
            ("devices/read", [true, true, true, false]),
            ("devices/write", [true, false, true, false]),
            ("twins/read", [true, true, false, true]),
            ("directMethods/invoke/action", [true, false, false, false]),
        ] {
            assert_eq!(Role::ALL.map(|role| may(role, action)), roles, "{action}");
        }
    }

    #[test]
    fn names_are_read_with_and_without_spaces() {
        assert_eq!("IoT Hub Data Contributor".parse(), Ok(Role::DataContributor));
        assert_eq!("IotHub.Data.Reader".parse(), Ok(Role::DataReader));
        assert_eq!("Contributor".parse::<Role>(), Err(UnknownRole));
    }
}
