//! Which paths there are. Every part of them is made here, of digits, whatever names come from outside.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ferrohub_core::blobs::BlobError;
use ferrohub_model::file::BlobName;
use ring::digest;

/// Longest id of a block, in bytes once decoded, as Azure has it.
const MAX_BLOCK_ID: usize = 64;

/// The folders inside the folder.
#[derive(Debug, Clone)]
pub(crate) struct Paths {
    /// Files with the bytes of blobs.
    data: PathBuf,
    /// Files that are being written.
    temp: PathBuf,
    /// For each blob to be, a folder with its blocks.
    blocks: PathBuf,
}

impl Paths {
    /// Makes what is not there yet, for nobody but the owner.
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        let paths =
            Self { data: folder.join("data"), temp: folder.join("parts"), blocks: folder.join("blocks") };
        for path in [&paths.data, &paths.temp, &paths.blocks] {
            create_private_folder(path)?;
        }
        Ok(paths)
    }

    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    pub(crate) fn temp(&self) -> &Path {
        &self.temp
    }

    pub(crate) fn blocks(&self) -> &Path {
        &self.blocks
    }

    /// The file that the catalogue calls `name`; none if that is no name of ours.
    pub(crate) fn data_file(&self, name: &str) -> Option<PathBuf> {
        let ours = name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        ours.then(|| self.data.join(name))
    }

    /// The folder for the blocks of a blob to be.
    pub(crate) fn block_folder(&self, blob: &BlobName) -> PathBuf {
        self.blocks.join(hex(digest::digest(&digest::SHA256, blob.as_str().as_bytes()).as_ref()))
    }
}

/// The name of a new file.
pub(crate) fn random_name() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// The file name of a block: the digits of what its id decodes to.
pub(crate) fn block_file_name(id: &str) -> Result<String, BlobError> {
    let bytes = STANDARD.decode(id).map_err(|_| BlobError::InvalidBlockId)?;
    if bytes.is_empty() || bytes.len() > MAX_BLOCK_ID {
        return Err(BlobError::InvalidBlockId);
    }
    Ok(hex(&bytes))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

pub(crate) fn create_private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// What was made or renamed in a folder stays when the power goes.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_from_outside_never_become_paths() {
        let folder = tempfile::tempdir().unwrap();
        let paths = Paths::open(folder.path()).unwrap();
        for name in ["..", "../../etc/passwd", "", "a/b", "0123456789abcdef0123456789abcde/"] {
            assert_eq!(paths.data_file(name), None, "{name}");
        }
        assert!(paths.data_file(&random_name()).is_some());
        for id in ["", "..", "Li4vLi4v=", "%2F", &STANDARD.encode([0; 65])] {
            assert!(matches!(block_file_name(id), Err(BlobError::InvalidBlockId)), "{id}");
        }
        assert_eq!(block_file_name(&STANDARD.encode("../")).unwrap(), "2e2e2f");
    }

    proptest! {
        #[test]
        fn each_blob_has_a_folder_of_its_own_in_the_right_place(one in ".{1,40}", two in ".{1,40}") {
            let paths = Paths { data: "d".into(), temp: "p".into(), blocks: "/b".into() };
            let names = [BlobName::new("d", &one), BlobName::new("d", &two)];
            if let [Ok(one), Ok(two)] = names {
                let (first, second) = (paths.block_folder(&one), paths.block_folder(&two));
                prop_assert_eq!(first == second, one == two);
                prop_assert_eq!(first.parent(), Some(Path::new("/b")));
                let last = first.file_name().unwrap().to_str().unwrap();
                prop_assert!(last.len() == 64 && last.bytes().all(|byte| byte.is_ascii_hexdigit()));
            }
        }

        #[test]
        fn each_block_has_a_file_of_its_own(one in any::<Vec<u8>>(), two in any::<Vec<u8>>()) {
            let file = |id: &[u8]| block_file_name(&STANDARD.encode(id)).ok();
            match (file(&one), file(&two)) {
                (Some(first), Some(second)) => {
                    prop_assert_eq!(first == second, one == two);
                    prop_assert!(first.bytes().all(|byte| byte.is_ascii_hexdigit()));
                }
                (first, second) => {
                    let good = |id: &Vec<u8>| (1..=64).contains(&id.len());
                    prop_assert_eq!(first.is_some(), good(&one));
                    prop_assert_eq!(second.is_some(), good(&two));
                }
            }
        }
    }
}
