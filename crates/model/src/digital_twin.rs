//! The JSON of digital twins: the view of a device's twin that IoT Plug and Play defines, and its changes.
//!
//! A digital twin has properties, and components that have properties. In the twin of the device, a component is an object
//! with the member [`COMPONENT_MARKER`].

mod command;
mod patch;

pub use command::{CommandName, InvalidCommandName};
pub use patch::{
    DigitalTwinPatch, InvalidPatch, InvalidPatchReason, InvalidPath, MAX_PATCH_OPERATIONS, PatchOperation,
    PatchPath,
};

/// Member that marks an object of a twin as a component.
pub const COMPONENT_MARKER: &str = "__t";
/// Value of [`COMPONENT_MARKER`].
pub const COMPONENT: &str = "c";
/// Member of a digital twin: the id of the device.
pub const DIGITAL_TWIN_ID: &str = "$dtId";
/// Member of a digital twin and of a component: what is known about their properties.
pub const METADATA: &str = "$metadata";
/// Member of the metadata of a digital twin: the model id that the device announced.
pub const MODEL: &str = "$model";
/// Header of the response to a command: the status that the device returned.
pub const COMMAND_STATUS_HEADER: &str = "x-ms-command-statuscode";
