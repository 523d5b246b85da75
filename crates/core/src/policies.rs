//! Shared access policies: named pairs of keys with rights.

mod load;
mod manage;
mod store;
mod table;

pub use manage::PolicyKey;
pub use store::{PolicyStore, StoredPolicy};
pub(crate) use table::{DEFAULT_POLICIES, TokenDigest};
pub use table::{Policies, Policy, PolicySource};
