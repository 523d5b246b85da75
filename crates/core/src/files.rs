//! Files that devices upload: upload URLs, upload outcomes, notifications of services, and access to the stored files.

mod blob_store;
mod blobs;
mod blocks;
mod condition;
mod maintenance;
mod notifications;
mod signing_keys;
mod store;
mod stored_files;
mod upload;

pub use blob_store::{
    Blob, BlobEndpoint, BlobError, BlobFolder, BlobProperties, BlobStore, ByteRange, ByteStream, FileStorage,
    FolderLimits, OpenBlob, PutOptions,
};
pub use blobs::BlobOperationError;
pub use blocks::{BlockId, MAX_BLOCKS, MAX_UNCOMMITTED_BLOCKS, UncommittedBlocks};
pub use condition::{Condition, ConditionFailed, EtagMatch};
pub use notifications::LockedNotification;
pub(crate) use notifications::NotificationQueue;
pub(crate) use signing_keys::UrlSigningKeys;
pub use store::{
    BeginUploadOutcome, BlobIndex, BlobWriteOutcome, EndUploadOutcome, FileNotificationStore,
    QueuedNotification, SigningKeyStore, StoredBlob, StoredNotification, StoredSigningKey, Upload,
    UploadStore,
};
