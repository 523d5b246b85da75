//! Digital twins of IoT Plug and Play: a view of a device's twin, its changes, and commands.
//!
//! A digital twin is stored nowhere: it is derived from the twin and the model id of the device. A change of it is a change
//! of desired properties, and a command is a call of a method. The hub does not know models: what is a component follows from
//! the twin.

mod change;
mod invoke_command;
mod patch;
mod view;

pub use change::DigitalTwin;
pub use invoke_command::CommandCall;
pub use patch::desired_change;
pub use view::view;

use ferrohub_model::digital_twin::{COMPONENT, COMPONENT_MARKER};
use ferrohub_model::twin::Properties;
use serde_json::Value;

/// Returns the object if it is marked as a component.
fn as_component(value: Option<&Value>) -> Option<&Properties> {
    let object = value?.as_object()?;
    (object.get(COMPONENT_MARKER)?.as_str()? == COMPONENT).then_some(object)
}
