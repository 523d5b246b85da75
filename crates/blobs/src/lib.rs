//! The [`BlobStore`](ferrohub_core::blobs::BlobStore) port: where the files that devices upload are kept.
//!
//! [`Folder`] keeps them in the hub's data folder, [`AzureBlobStore`] knows of those in an account of Azure Storage. What the catalogue (the hub's store) names is there as a whole; no
//! name from outside ever becomes part of a path. Read on in `folder.rs`.
#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

mod azure;
mod blocks;
mod folder;
mod paths;
mod quota;
mod temp_file;

pub use azure::AzureBlobStore;
pub use folder::{Folder, FolderLimits};
