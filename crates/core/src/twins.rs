//! Twins: what a back end wants of a device, what the device reports, and the rules for changing both.
//!
//! A [`TwinDocument`] is changed as a whole: either everything a change says is in it, or nothing is. It lives as long
//! as its identity; one that was never changed is [`TwinDocument::default`] and needs no room in a store.

mod document;
mod limits;
mod section;

pub use document::{TwinDocument, UpdateMode};
pub use limits::TwinLimits;
pub use section::Section;
