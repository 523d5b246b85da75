//! Files that devices upload: notifications of them, and reading them from a Ferrohub.

mod notifications;
mod stored;

pub use notifications::LockedFileNotification;
pub use stored::{FileQuery, FileStream, StoredFile};
