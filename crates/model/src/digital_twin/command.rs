//! The names of commands.

use std::fmt;

use crate::method::{InvalidMethodName, MethodName};

/// Separates the component from the command in the name of the method that the device receives.
const SEPARATOR: char = '*';

/// Why texts do not name a command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCommandName {
    /// The name of the component or of the command is blank.
    #[error("The name of the {0} must not be blank")]
    Blank(&'static str),
    /// A name contains a character that separates components from commands.
    #[error(
        "The name of the {part} must not contain {found:?}; the command of a component has the path \
         components/COMPONENT/commands/COMMAND"
    )]
    Separator {
        /// `component` or `command`.
        part: &'static str,
        /// The character.
        found: char,
    },
    /// A name contains a control character.
    #[error("The name of the component and of the command must not contain control characters")]
    Control,
    /// The names are too long for the name of a method.
    #[error(
        "The names of the component and of the command must have at most {} characters together",
        crate::method::MAX_METHOD_NAME_LENGTH
    )]
    TooLong,
}

/// The command of a device or of one of its components.
///
/// The device receives it as a method: `command` or `component*command`. Neither name contains `*` or `/`, so that no
/// command of the device has the name of a command of a component.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CommandName(MethodName);

impl CommandName {
    /// A command of the device itself.
    ///
    /// # Errors
    /// If the name is blank, too long, or contains a separator or a control character.
    pub fn of_device(command: &str) -> Result<Self, InvalidCommandName> {
        check("command", command)?;
        Self::from_method(command)
    }

    /// A command of a component.
    ///
    /// # Errors
    /// If a name is blank or contains a separator or a control character, or both are too long.
    pub fn of_component(component: &str, command: &str) -> Result<Self, InvalidCommandName> {
        check("component", component)?;
        check("command", command)?;
        Self::from_method(&format!("{component}{SEPARATOR}{command}"))
    }

    fn from_method(name: &str) -> Result<Self, InvalidCommandName> {
        MethodName::new(name).map(Self).map_err(|error| match error {
            InvalidMethodName::Blank => InvalidCommandName::Blank("command"),
            InvalidMethodName::TooLong => InvalidCommandName::TooLong,
            InvalidMethodName::Control => InvalidCommandName::Control,
        })
    }

    /// Returns the name of the method that the device receives.
    #[must_use]
    pub fn into_method_name(self) -> MethodName {
        self.0
    }
}

impl fmt::Debug for CommandName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn check(part: &'static str, name: &str) -> Result<(), InvalidCommandName> {
    if name.trim().is_empty() {
        return Err(InvalidCommandName::Blank(part));
    }
    match name.chars().find(|c| matches!(c, &SEPARATOR | '/')) {
        Some(found) => Err(InvalidCommandName::Separator { part, found }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_has_the_name_of_a_method() {
        let name = |name: Result<CommandName, _>| name.unwrap().into_method_name().to_string();
        assert_eq!(name(CommandName::of_device("reboot")), "reboot");
        assert_eq!(
            name(CommandName::of_component("thermostat1", "getMaxMinReport")),
            "thermostat1*getMaxMinReport"
        );
        let long = "x".repeat(50);
        assert!(CommandName::of_component(&long, &long[1..]).is_ok());
        assert_eq!(CommandName::of_component(&long, &long), Err(InvalidCommandName::TooLong));
    }

    #[test]
    fn no_command_of_a_device_has_the_name_of_a_command_of_a_component() {
        let separator = |part, found| Err(InvalidCommandName::Separator { part, found });
        assert_eq!(CommandName::of_device("thermostat1*reboot"), separator("command", '*'));
        assert_eq!(CommandName::of_device("thermostat1/reboot"), separator("command", '/'));
        assert_eq!(CommandName::of_component("a*b", "c"), separator("component", '*'));
        assert_eq!(CommandName::of_component("a", "b*c"), separator("command", '*'));
        assert_eq!(CommandName::of_component(" ", "c"), Err(InvalidCommandName::Blank("component")));
        assert_eq!(CommandName::of_component("a", ""), Err(InvalidCommandName::Blank("command")));
        assert_eq!(CommandName::of_component("a\n", "c"), Err(InvalidCommandName::Control));
    }
}
