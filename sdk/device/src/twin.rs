//! The device's twin: what the back end wants of the device, and what the device reports.

mod desired;
mod document;
mod requests;

pub use desired::{DesiredUpdate, DesiredUpdates};
pub use document::{Twin, TwinSection};
pub(crate) use requests::{Asker, TwinAnswer, TwinAsk, TwinQueue, TwinRequest};
