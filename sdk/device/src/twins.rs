//! The twin of the device: desired properties, which services set, and reported properties.

mod desired;
mod document;
mod requests;

pub use desired::{DesiredUpdate, DesiredUpdateStream};
pub use document::{DeviceTwin, TwinSection};
pub(crate) use requests::{Requester, TwinOperation, TwinQueue, TwinReply, TwinRequest};
