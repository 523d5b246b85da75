//! Opens the storage that devices upload files to.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use ferrohub_blobs::{AzureBlobStore, Folder, SignedContainers};
use ferrohub_core::clock::Clock;
use ferrohub_core::files::{BlobEndpoint, FileStorage, FolderLimits};
use ferrohub_core::import_export::ExternalContainers;
use ferrohub_core::metrics::Outcomes;
use ferrohub_core::store::Store;
use ferrohub_gateway::BLOB_CONTAINER;
use tracing::warn;

use crate::config::{Config, FilesConfig};

/// The default port of HTTPS URLs.
const HTTPS_PORT: u16 = 443;

/// Returns whether files are kept in the hub's own folder.
pub(super) fn are_in_folder(files: &FilesConfig) -> bool {
    files.enabled && files.storage_connection_string.is_none()
}

/// Opens the file storage. `None` if uploads are disabled. `folder` is the folder for files, if they are kept there.
pub(super) async fn set_up(
    config: &Config,
    https: &[SocketAddr],
    folder: Option<PathBuf>,
    store: &Arc<dyn Store>,
    clock: &Arc<dyn Clock>,
    panics: Outcomes,
) -> anyhow::Result<Option<FileStorage>> {
    let files = &config.files;
    if !files.enabled {
        return Ok(None);
    }
    if let Some(account) = &files.storage_connection_string {
        let endpoint = BlobEndpoint {
            host: account.blob_host.clone(),
            account: account.name.clone(),
            container: files.storage_container.clone(),
            https: account.https,
        };
        if !account.https {
            warn!(
                "the storage account is configured without TLS: files and the signatures of URLs are sent unencrypted"
            );
        }
        let store = AzureBlobStore::new(endpoint, account.key.clone(), clock.clone())
            .context("cannot use the storage account in files.storage_connection_string")?;
        return Ok(Some(FileStorage::Account(Arc::new(store), account.key.clone())));
    }
    let host = match https.first().map_or(HTTPS_PORT, SocketAddr::port) {
        HTTPS_PORT => config.hostname.clone(),
        port => format!("{}:{port}", config.hostname),
    };
    let endpoint = BlobEndpoint {
        host,
        account: config.hostname.clone(),
        container: BLOB_CONTAINER.to_owned(),
        https: true,
    };
    let limits = FolderLimits {
        blob_bytes: files.blob_bytes,
        total_bytes: files.total_bytes,
        device_bytes: files.bytes_per_device,
    };
    let path = folder.context("the folder for files was not opened")?;
    let folder = Folder::open(&path, endpoint, limits, store.clone(), clock.clone(), panics)
        .await
        .with_context(|| format!("cannot use the folder for files {}", path.display()))?;
    Ok(Some(FileStorage::Folder(Arc::new(folder))))
}

/// Returns the access to storage that import and export jobs may reach. `None` if they may reach none.
pub(super) fn containers(files: &FilesConfig) -> anyhow::Result<Option<Arc<dyn ExternalContainers>>> {
    if files.import_hosts.is_empty() {
        return Ok(None);
    }
    let containers = SignedContainers::new(files.import_hosts.clone())
        .context("cannot use TLS for the hosts in files.import_hosts")?;
    Ok(Some(Arc::new(containers)))
}
