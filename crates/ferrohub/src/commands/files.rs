//! Files that devices upload: uploading one as a device, and reading those that the hub stores.

mod stored;
mod upload;

pub(crate) use stored::FilesCommand;
pub(crate) use upload::Upload;
