//! The adapters of the [`BlobStore`](ferrohub_core::files::BlobStore) port: storage of the files that devices upload.
//!
//! [`Folder`] stores the files in the hub's data folder. [`AzureBlobStore`] looks up files in a container of Azure
//! Storage. [`SignedContainers`] reads and writes the containers of import and export jobs. Each blob in the catalogue (the hub's store) has a complete file. Names that clients choose never become
//! part of a path. Start with `folder.rs`.
#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

mod azure;
mod blocks;
mod external;
mod file_system;
mod folder;
mod paths;
mod quota;
mod temp_file;

pub use azure::AzureBlobStore;
pub use external::{AllowedHost, InvalidAllowedHost, SignedContainers};
pub use file_system::{FileSystem, SystemFiles};
pub use folder::Folder;
