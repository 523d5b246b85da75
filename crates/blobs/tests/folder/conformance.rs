//! The conformance suite, over a real folder.

use std::sync::Arc;

use ferrohub_conformance::Fixture;
use ferrohub_core::files::{BlobFolder, FolderLimits};

use super::fixture::DataFolder;

ferrohub_conformance::blob_folder_suite!(open);

async fn open(limits: FolderLimits) -> Fixture<dyn BlobFolder> {
    let data = DataFolder::new();
    Fixture::with(Arc::new(data.open_with(limits).await), data)
}
