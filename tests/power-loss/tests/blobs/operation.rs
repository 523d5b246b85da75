//! The operations of the workload on the blob folder.

use std::collections::BTreeMap;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use ferrohub_blobs::Folder;
use ferrohub_core::files::{BlobError, BlobFolder, ByteStream, Condition, PutOptions};
use ferrohub_model::file::BlobName;
use ferrohub_power_loss::Random;

/// The blobs of the workload.
const NAMES: [&str; 3] = ["a/one", "a/two", "b/three"];
/// Size of the largest blob or block.
const LARGE: u64 = 40_000;
/// Size of the chunks in which bytes arrive.
const CHUNK: usize = 9_000;

/// Blobs by name.
pub(crate) type Blobs = BTreeMap<&'static str, Vec<u8>>;
/// Uncommitted blocks by blob and block id.
pub(crate) type Blocks = BTreeMap<(&'static str, String), Vec<u8>>;

#[derive(Debug, Clone)]
pub(crate) enum Operation {
    /// Creates or replaces a blob.
    Put { name: &'static str, bytes: Vec<u8> },
    /// Uploads a block.
    PutBlock { name: &'static str, id: String, bytes: Vec<u8> },
    /// Makes a blob of all its blocks.
    PutBlockList { name: &'static str },
    /// Deletes a blob.
    Delete { name: &'static str },
}

impl Operation {
    pub(crate) fn random(random: &mut Random) -> Self {
        let name = *random.pick(&NAMES);
        match random.below(10) {
            0..4 => Self::Put { name, bytes: bytes(random) },
            4..7 => {
                let id = STANDARD.encode([b'0' + random.below(3) as u8]);
                Self::PutBlock { name, id, bytes: bytes(random) }
            }
            7..9 => Self::PutBlockList { name },
            _ => Self::Delete { name },
        }
    }

    pub(crate) async fn run(&self, folder: &Folder, blocks: &Blocks) -> Result<(), BlobError> {
        match self {
            Self::Put { name, bytes } => {
                folder.put(&blob(name), options(), &mut Chunks(bytes.clone().into())).await.map(drop)
            }
            Self::PutBlock { name, id, bytes } => {
                folder.put_block(&blob(name), id, None, &mut Chunks(bytes.clone().into())).await.map(drop)
            }
            Self::PutBlockList { name } => {
                let ids: Vec<String> = of_blob(blocks, name).map(|(id, _)| id.clone()).collect();
                folder.put_block_list(&blob(name), &ids, options()).await.map(drop)
            }
            Self::Delete { name } => match folder.delete(&blob(name), &Condition::default()).await {
                Err(BlobError::NotFound) => Ok(()),
                result => result,
            },
        }
    }

    /// Changes what the folder should contain.
    pub(crate) fn apply(&self, blobs: &mut Blobs, blocks: &mut Blocks) {
        match self {
            Self::Put { name, bytes } => {
                blobs.insert(name, bytes.clone());
                blocks.retain(|(blob, _), _| blob != name);
            }
            Self::PutBlock { name, id, bytes } => {
                blocks.insert((name, id.clone()), bytes.clone());
            }
            Self::PutBlockList { name } => {
                let bytes = of_blob(blocks, name).flat_map(|(_, bytes)| bytes.iter().copied()).collect();
                blobs.insert(name, bytes);
                blocks.retain(|(blob, _), _| blob != name);
            }
            Self::Delete { name } => {
                blobs.remove(name);
            }
        }
    }
}

fn of_blob<'a>(blocks: &'a Blocks, name: &'a str) -> impl Iterator<Item = (&'a String, &'a Vec<u8>)> {
    blocks.iter().filter(move |((blob, _), _)| *blob == name).map(|((_, id), bytes)| (id, bytes))
}

/// Returns bytes that no other operation has.
fn bytes(random: &mut Random) -> Vec<u8> {
    let size = 8 + if random.chance(50) { random.below(LARGE) } else { random.below(100) };
    let mut bytes = random.bits().to_be_bytes().to_vec();
    bytes.resize(size as usize, b'x');
    bytes
}

pub(crate) fn blob(name: &str) -> BlobName {
    BlobName::parse(name).unwrap()
}

fn options() -> PutOptions {
    PutOptions { properties: BTreeMap::new(), condition: Condition::default(), md5: None }
}

/// A body in chunks.
struct Chunks(Bytes);

#[async_trait]
impl ByteStream for Chunks {
    async fn next(&mut self) -> Result<Option<Bytes>, BlobError> {
        let chunk = self.0.split_to(CHUNK.min(self.0.len()));
        Ok((!chunk.is_empty()).then_some(chunk))
    }
}
