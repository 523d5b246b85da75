//! Files that devices upload: upload URLs, upload outcomes, notifications of services, and access to the stored files.

mod blob_store;
mod blobs;
mod condition;
mod maintenance;
mod notifications;
mod signing_keys;
mod stored_files;
mod upload;

pub use blob_store::{
    Blob, BlobEndpoint, BlobError, BlobFolder, BlobProperties, BlobStore, ByteRange, ByteStream, FileStorage,
    OpenBlob, PutOptions,
};
pub use blobs::BlobOperationError;
pub use condition::{Condition, ConditionFailed, EtagMatch};
pub use notifications::LockedNotification;
pub(crate) use notifications::NotificationQueue;
pub use signing_keys::StoredSigningKey;
pub(crate) use signing_keys::UrlSigningKeys;
