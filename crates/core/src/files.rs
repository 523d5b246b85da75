//! Files that devices upload: upload URLs, upload outcomes, notifications of services, and access to the stored files.

mod blob_store;
mod blobs;
mod condition;
mod maintenance;
mod notifications;
mod signing_keys;
mod store;
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
pub(crate) use signing_keys::UrlSigningKeys;
pub use store::{
    BeginUploadOutcome, BlobIndex, BlobWriteOutcome, EndUploadOutcome, FileNotificationStore,
    QueuedNotification, SigningKeyStore, StoredBlob, StoredNotification, StoredSigningKey, Upload,
    UploadStore,
};
