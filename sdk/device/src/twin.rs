//! The device's twin: what the back end wants of the device, and what the device reports.

mod desired;
mod document;
mod requests;

pub use desired::{DesiredUpdate, DesiredUpdateStream};
pub use document::{DeviceTwin, TwinSection};
pub(crate) use requests::{Requester, TwinOperation, TwinQueue, TwinReply, TwinRequest};
