//! Twins: tags, desired and reported properties, and the rules for changing them.
//!
//! A change of a [`TwinDocument`] is atomic: it is applied as a whole or not at all. A twin lives as long as its
//! identity. A twin that was never changed equals [`TwinDocument::default`] and takes no space in the store.

mod change;
mod configured;
mod document;
mod limits;
mod report;
mod resync;
mod section;
mod store;

pub(crate) use change::{IdentityLocks, ServiceUpdate};
pub use configured::Configured;
pub use document::{TwinDocument, UpdateMode};
pub use limits::TwinLimits;
pub use section::Section;
pub(crate) use section::{LAST_UPDATED, LAST_UPDATED_VERSION};
pub use store::{TwinChangeFn, TwinStore};
