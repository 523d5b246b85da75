//! The paths in the folder. Their file names consist of hexadecimal digits that are generated here; names that clients
//! choose never become part of a path.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use data_encoding::HEXLOWER;
use ferrohub_core::files::BlockId;
use ferrohub_model::file::BlobName;
use ferrohub_model::random::random_bytes;
use ring::digest;

use crate::file_system::FileSystem;

/// Identifies a device: the beginning of the SHA-256 digest of its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct DeviceKey([u8; 16]);

impl DeviceKey {
    /// The container for import and export, which belongs to no device and so has no limit of one.
    pub(crate) const CONTAINER: Self = Self([0; 16]);

    /// Returns the key of a blob's device.
    pub(crate) fn of(blob: &BlobName) -> Self {
        if blob.name_in_container().is_some() {
            return Self::CONTAINER;
        }
        let digest = digest::digest(&digest::SHA256, blob.device().as_bytes());
        let digest: &[u8] = digest.as_ref();
        let mut key = [0; 16];
        key.iter_mut().zip(digest).for_each(|(byte, from)| *byte = *from);
        Self(key)
    }

    /// Returns the device that a folder of blocks belongs to; `None` for a folder of an older version.
    pub(crate) fn of_block_folder(folder: &Path) -> Option<Self> {
        let (_, key) = folder.file_name()?.to_str()?.split_once('-')?;
        u128::from_str_radix(key, 16).ok().map(|key| Self(key.to_be_bytes()))
    }
}

/// The subfolders of the folder, and the file system that they are in.
#[derive(Clone)]
pub(crate) struct Paths {
    files: Arc<dyn FileSystem>,
    folder: PathBuf,
    /// Files with the bytes of blobs.
    data: PathBuf,
    /// Files that are being written.
    temp: PathBuf,
    /// One folder for each blob with uncommitted blocks.
    blocks: PathBuf,
    /// Files without a catalogue entry that were found at a start.
    set_aside: PathBuf,
}

impl Paths {
    /// Creates missing subfolders, accessible only to the owner.
    pub(crate) fn open(folder: &Path, files: Arc<dyn FileSystem>) -> io::Result<Self> {
        let paths = Self {
            folder: folder.to_path_buf(),
            data: folder.join("data"),
            temp: folder.join("parts"),
            blocks: folder.join("blocks"),
            set_aside: folder.join("set-aside"),
            files,
        };
        for path in [&paths.data, &paths.temp, &paths.blocks] {
            paths.files.create_folder(path)?;
        }
        // If the power was cut before, even existing folders may not be safe.
        paths.files.sync_folder(folder)?;
        Ok(paths)
    }

    /// Creates the folder for files without a catalogue entry.
    pub(crate) fn create_set_aside(&self) -> io::Result<()> {
        self.files.create_folder(&self.set_aside)?;
        self.files.sync_folder(&self.folder)
    }

    pub(crate) fn files(&self) -> &Arc<dyn FileSystem> {
        &self.files
    }

    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    pub(crate) fn temp(&self) -> &Path {
        &self.temp
    }

    pub(crate) fn set_aside(&self) -> &Path {
        &self.set_aside
    }

    pub(crate) fn blocks(&self) -> &Path {
        &self.blocks
    }

    /// Returns the path of the file `name` in the catalogue; `None` if `name` is not a name that the hub generates.
    pub(crate) fn data_file(&self, name: &str) -> Option<PathBuf> {
        let is_generated = name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_generated.then(|| self.data.join(name))
    }

    /// Returns the folder for the uncommitted blocks of a blob. Its name also identifies the device, whose quota the
    /// blocks count toward.
    pub(crate) fn block_folder(&self, blob: &BlobName) -> PathBuf {
        let name = HEXLOWER.encode(digest::digest(&digest::SHA256, blob.as_str().as_bytes()).as_ref());
        self.blocks.join(format!("{name}-{}", HEXLOWER.encode(&DeviceKey::of(blob).0)))
    }
}

/// Returns a random name for a new file.
pub(crate) fn random_name() -> String {
    HEXLOWER.encode(&random_bytes::<16>())
}

/// Returns the file name of a block: its decoded id in hexadecimal digits.
pub(crate) fn block_file_name(id: &BlockId) -> String {
    HEXLOWER.encode(id.as_bytes())
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    use super::*;
    use crate::file_system::SystemFiles;

    #[test]
    fn names_that_clients_choose_never_become_paths() {
        let folder = tempfile::tempdir().unwrap();
        let paths = Paths::open(folder.path(), Arc::new(SystemFiles)).unwrap();
        for name in ["..", "../../etc/passwd", "", "a/b", "0123456789abcdef0123456789abcde/"] {
            assert_eq!(paths.data_file(name), None, "{name}");
        }
        assert!(paths.data_file(&random_name()).is_some());
        assert_eq!(block_file_name(&BlockId::parse(&STANDARD.encode("../")).unwrap()), "2e2e2f");
    }

    proptest! {
        #[test]
        fn each_blob_has_its_own_folder_for_blocks(one in ".{1,40}", two in ".{1,40}") {
            let paths = Paths {
                files: Arc::new(SystemFiles),
                folder: "/".into(),
                data: "d".into(),
                temp: "p".into(),
                blocks: "/b".into(),
                set_aside: "s".into(),
            };
            let names = [BlobName::new("d", &one), BlobName::new("d", &two)];
            if let [Ok(one), Ok(two)] = names {
                let (first, second) = (paths.block_folder(&one), paths.block_folder(&two));
                prop_assert_eq!(first == second, one == two);
                prop_assert_eq!(first.parent(), Some(Path::new("/b")));
                let last = first.file_name().unwrap().to_str().unwrap();
                let is_name_byte = |byte: u8| byte.is_ascii_hexdigit() || byte == b'-';
                prop_assert!(last.len() == 97 && last.bytes().all(is_name_byte));
                prop_assert_eq!(DeviceKey::of_block_folder(&first), Some(DeviceKey::of(&one)));
            }
        }

        #[test]
        fn each_block_has_its_own_file(one in any::<Vec<u8>>(), two in any::<Vec<u8>>()) {
            let file = |id: &[u8]| BlockId::parse(&STANDARD.encode(id)).ok().map(|id| block_file_name(&id));
            match (file(&one), file(&two)) {
                (Some(first), Some(second)) => {
                    prop_assert_eq!(first == second, one == two);
                    prop_assert!(first.bytes().all(|byte| byte.is_ascii_hexdigit()));
                }
                (first, second) => {
                    let is_valid = |id: &Vec<u8>| (1..=64).contains(&id.len());
                    prop_assert_eq!(first.is_some(), is_valid(&one));
                    prop_assert_eq!(second.is_some(), is_valid(&two));
                }
            }
        }
    }
}
