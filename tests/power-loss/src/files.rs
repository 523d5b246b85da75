//! The file system of the blob folder on a simulated disk.

use std::fs::File;
use std::io::{self, Seek as _};
use std::path::Path;

use ferrohub_blobs::{FileSystem, SystemFiles};

use crate::{Change, Disk};

impl FileSystem for Disk {
    fn create_file(&self, path: &Path) -> io::Result<File> {
        self.change(Change::Create(path), || SystemFiles.create_file(path))?
    }

    fn append(&self, path: &Path, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        let offset = file.stream_position()?;
        self.change(Change::Write { path, offset, data: bytes }, || SystemFiles.append(path, file, bytes))?
    }

    fn sync_file(&self, path: &Path, _: &File) -> io::Result<()> {
        Ok(self.change(Change::Sync { path, with_name: false }, || ())?)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change(Change::Rename { from, to }, || SystemFiles.rename(from, to))?
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.change(Change::Remove(path), || SystemFiles.remove_file(path))?
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        self.change(Change::CreateFolder(path), || SystemFiles.create_folder(path))?
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        self.change(Change::Remove(path), || SystemFiles.remove_folder(path))?
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        Ok(self.change(Change::SyncFolder(path), || ())?)
    }
}
