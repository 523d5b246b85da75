//! Blobs in a folder: bytes in files with random names, everything else in the catalogue.
//!
//! A blob is written to `parts/`, synced, renamed into `data/`, and only then entered in the catalogue: whoever looks finds
//! the old blob or the new one, whole, whenever the power goes. What a crash leaves behind has no entry, and is removed at
//! the next start. Blocks wait in `blocks/`, a folder for each blob to be.

use std::collections::{HashMap, HashSet};
use std::io::{self, Seek as _, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use std::{fs, path};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ferrohub_core::blobs::{
    Blob, BlobError, BlobFolder, BlobPlace, BlobStore, ByteRange, Condition, NewContent, OpenBlob, Pieces,
};
use ferrohub_core::clock::Clock;
use ferrohub_core::store::{BlobWritten, Store, StoredBlob};
use ferrohub_model::Timestamp;
use ferrohub_model::file::BlobName;
use tracing::{info, warn};

use crate::blocks::{self, FilePart, Files, Locks, MAX_BLOCKS, MAX_WAITING, Tallies, Tally};
use crate::part::{Part, Whole, blocking};
use crate::place::{Places, block_file, fresh_name, private_folder, sync_folder};
use crate::quota::Quota;

/// What the folder refuses to exceed.
#[derive(Debug, Clone, Copy)]
pub struct FolderLimits {
    /// Bytes of one blob.
    pub blob_bytes: u64,
    /// Bytes of all blobs, and of those that are being written.
    pub total_bytes: u64,
}

/// Blobs in a folder of the hub's own.
pub struct Folder(Arc<Inner>);

struct Inner {
    place: BlobPlace,
    places: Places,
    limits: FolderLimits,
    quota: Quota,
    tallies: Arc<Tallies>,
    locks: Arc<Locks>,
    catalogue: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
}

impl Folder {
    /// Opens the folder `path`, or makes it (mode 0700, its files 0600), and clears away what a crash left behind.
    pub async fn open(
        path: &Path,
        place: BlobPlace,
        limits: FolderLimits,
        catalogue: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, BlobError> {
        let known: HashMap<String, u64> = catalogue.blob_files().await?.into_iter().collect();
        let quota = Quota::new(limits.total_bytes);
        let (folder, taken) = (path.to_path_buf(), quota.clone());
        let places = blocking(move || {
            let places = Places::open(&folder)?;
            clear(&places, &known, &taken)?;
            Ok(places)
        })
        .await?;
        let (tallies, locks) = Default::default();
        Ok(Self(Arc::new(Inner { place, places, limits, quota, tallies, locks, catalogue, clock })))
    }
}

/// Removes what no entry names, and counts what there is.
fn clear(places: &Places, known: &HashMap<String, u64>, quota: &Quota) -> io::Result<()> {
    let mut left_behind = 0;
    for entry in fs::read_dir(places.parts())? {
        fs::remove_file(entry?.path())?;
        left_behind += 1;
    }
    let mut found = HashSet::new();
    for entry in fs::read_dir(places.data())? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if known.contains_key(&name) {
            quota.found(entry.metadata()?.len());
            found.insert(name);
        } else {
            fs::remove_file(entry.path())?;
            left_behind += 1;
        }
    }
    for entry in fs::read_dir(places.blocks())? {
        blocks::waiting(&entry?.path())?.values().for_each(|bytes| quota.found(*bytes));
    }
    if left_behind > 0 {
        info!(files = left_behind, "removed what unfinished uploads left behind");
    }
    let missing = known.keys().filter(|name| !found.contains(*name)).count();
    if missing > 0 {
        warn!(files = missing, "files of blobs are missing from the hub's folder");
    }
    Ok(())
}

impl Inner {
    /// Moves a file to its place and enters it in the catalogue. In a task of its own: whoever waits may go, the entry and
    /// the file belong together.
    async fn enter(
        self: &Arc<Self>,
        name: &BlobName,
        whole: Whole,
        content: NewContent,
    ) -> Result<Blob, BlobError> {
        let (inner, name) = (self.clone(), name.clone());
        let task = tokio::spawn(async move { inner.try_enter(name, whole, content).await });
        task.await.unwrap_or_else(|cause| Err(BlobError::Io(io::Error::other(cause))))
    }

    async fn try_enter(&self, name: BlobName, whole: Whole, content: NewContent) -> Result<Blob, BlobError> {
        let mut properties = content.properties;
        properties.entry("content-md5".to_owned()).or_insert_with(|| STANDARD.encode(whole.md5));
        let file = fresh_name();
        let path = self.places.data().join(&file);
        let bytes = whole.bytes;
        let blob = Blob {
            name: name.clone(),
            bytes,
            etag: format!("0x{:016X}", rand::random::<u64>()),
            modified: self.clock.now(),
            properties,
        };
        whole.move_to(&path).await?;
        let stored = StoredBlob { blob, file };
        let data = self.places.data().to_path_buf();
        if let Err(error) = blocking(move || Ok(sync_folder(&data)?)).await {
            self.remove(&stored).await;
            return Err(error);
        }
        let written = match self.catalogue.put_blob(&stored, &content.condition).await {
            Ok(written) => written,
            // It may be entered all the same: the next start finds out.
            Err(error) => return Err(error.into()),
        };
        match written {
            BlobWritten::Done(old) => {
                if let Some(old) = old {
                    self.remove(&old).await;
                }
                // The blob is there: that its blocks are as well is no reason to deny it. The clean-up finds them.
                if let Err(error) = self.forget(&name).await {
                    warn!(%error, "blocks of a blob were not removed");
                }
                Ok(stored.blob)
            }
            BlobWritten::Refused(failed) => {
                self.remove(&stored).await;
                Err(failed.into())
            }
        }
    }

    /// Removes the file of a blob that is in the catalogue no more.
    async fn remove(&self, blob: &StoredBlob) {
        let Some(path) = self.places.data_file(&blob.file) else { return };
        let (quota, bytes) = (self.quota.clone(), blob.blob.bytes);
        let removed = blocking(move || Ok(fs::remove_file(path)?)).await;
        match removed {
            Ok(()) => quota.free(bytes),
            Err(cause) => warn!(%cause, "a file of the hub's folder was not removed"),
        }
    }

    async fn forget(&self, name: &BlobName) -> Result<(), BlobError> {
        let (folder, tallies) = (self.places.blocks_of(name), self.tallies.clone());
        let quota = self.quota.clone();
        let one_at_a_time = self.locks.of(&folder).lock_owned().await;
        blocking(move || {
            // Held to the end, also when nobody waits for it any more.
            let _held = one_at_a_time;
            Ok(blocks::forget(&folder, &tallies, &quota)?)
        })
        .await
    }

    /// How large a block in the file `file` may be, where one of `replaced` bytes may be already. Blocks that wait count
    /// as their blob: nobody piles up what can never be one.
    fn room_for_block(&self, file: &str, tally: Tally, replaced: Option<u64>) -> Result<u64, BlobError> {
        if tally.blocks >= MAX_WAITING && replaced.is_none() {
            return Err(BlobError::TooManyBlocks);
        }
        if tally.name_length.is_some_and(|length| length != file.len()) {
            return Err(BlobError::InvalidBlockId);
        }
        Ok((self.limits.blob_bytes + replaced.unwrap_or(0)).saturating_sub(tally.bytes))
    }

    /// Whether the condition holds now: there is no use in receiving what cannot be kept.
    async fn check(&self, name: &BlobName, condition: &Condition) -> Result<(), BlobError> {
        if *condition == Condition::default() {
            return Ok(());
        }
        let there = self.catalogue.blob(name).await?;
        Ok(condition.check(there.as_ref().map(|there| &there.blob))?)
    }
}

#[async_trait]
impl BlobStore for Folder {
    fn place(&self) -> &BlobPlace {
        &self.0.place
    }

    async fn stat(&self, name: &BlobName) -> Result<Option<Blob>, BlobError> {
        Ok(self.0.catalogue.blob(name).await?.map(|stored| stored.blob))
    }
}

#[async_trait]
impl BlobFolder for Folder {
    async fn put(
        &self,
        name: &BlobName,
        content: NewContent,
        pieces: &mut dyn Pieces,
    ) -> Result<Blob, BlobError> {
        let inner = &self.0;
        inner.check(name, &content.condition).await?;
        let mut part = Part::create(&inner.places, &inner.quota, inner.limits.blob_bytes).await?;
        part.take(pieces).await?;
        let whole = part.finish(content.md5).await?;
        inner.enter(name, whole, content).await
    }

    async fn put_block(
        &self,
        name: &BlobName,
        id: &str,
        md5: Option<[u8; 16]>,
        pieces: &mut dyn Pieces,
    ) -> Result<[u8; 16], BlobError> {
        let inner = &self.0;
        let file = block_file(id)?;
        let folder = inner.places.blocks_of(name);
        let (tally, replaced) = blocking({
            let (path, folder, tallies) = (folder.join(&file), folder.clone(), inner.tallies.clone());
            move || Ok((tallies.of(&folder)?, fs::metadata(path).ok().map(|old| old.len())))
        })
        .await?;
        let limit = inner.room_for_block(&file, tally, replaced)?;
        let mut part = Part::create(&inner.places, &inner.quota, limit).await?;
        match part.take(pieces).await {
            Err(BlobError::TooLarge(_)) => return Err(BlobError::TooLarge(inner.limits.blob_bytes)),
            taken => taken?,
        }
        let whole = part.finish(md5).await?;
        let md5 = whole.md5;
        let inner = inner.clone();
        let place = async move {
            let _one_at_a_time = inner.locks.of(&folder).lock_owned().await;
            let (path, blocks) = (folder.join(&file), inner.places.blocks().to_path_buf());
            let (tally, old) = blocking({
                let (path, folder, tallies) = (path.clone(), folder.clone(), inner.tallies.clone());
                move || {
                    private_folder(&folder)?;
                    sync_folder(&blocks)?;
                    Ok((tallies.of(&folder)?, fs::metadata(&path).ok().map(|old| old.len())))
                }
            })
            .await?;
            // Others may have come meanwhile.
            let bytes = whole.bytes;
            if bytes > inner.room_for_block(&file, tally, old)? {
                return Err(BlobError::TooLarge(inner.limits.blob_bytes));
            }
            whole.move_to(&path).await?;
            inner.quota.free(old.unwrap_or(0));
            inner.tallies.came(&folder, tally, file.len(), bytes, old);
            blocking(move || Ok(sync_folder(&folder)?)).await?;
            Ok(md5)
        };
        tokio::spawn(place).await.unwrap_or_else(|cause| Err(BlobError::Io(io::Error::other(cause))))
    }

    async fn put_block_list(
        &self,
        name: &BlobName,
        ids: &[String],
        content: NewContent,
    ) -> Result<Blob, BlobError> {
        let inner = &self.0;
        if ids.len() > MAX_BLOCKS {
            return Err(BlobError::TooManyBlocks);
        }
        inner.check(name, &content.condition).await?;
        let folder = inner.places.blocks_of(name);
        let waiting = blocking({
            let folder = folder.clone();
            move || Ok(blocks::waiting(&folder)?)
        })
        .await?;
        let mut files: Vec<path::PathBuf> = Vec::with_capacity(ids.len());
        for id in ids {
            let file = block_file(id)?;
            if !waiting.contains_key(&file) {
                return Err(BlobError::UnknownBlock);
            }
            files.push(folder.join(file));
        }
        let mut part = Part::create(&inner.places, &inner.quota, inner.limits.blob_bytes).await?;
        part.take(&mut Files::new(files)).await?;
        let whole = part.finish(None).await?;
        inner.enter(name, whole, content).await
    }

    async fn open(&self, name: &BlobName, range: Option<ByteRange>) -> Result<OpenBlob, BlobError> {
        let inner = &self.0;
        // A blob that is replaced between is looked up again; its new file is there before its entry.
        for _ in 0..3 {
            let stored = inner.catalogue.blob(name).await?.ok_or(BlobError::NotFound)?;
            let path = inner.places.data_file(&stored.file).ok_or(BlobError::NotFound)?;
            let bytes = stored.blob.bytes;
            let (from, length) = match range {
                None => (0, bytes),
                Some(range) => range.within(bytes).unwrap_or((bytes, 0)),
            };
            let opened = blocking(move || {
                let mut file = fs::File::open(path)?;
                file.seek(SeekFrom::Start(from))?;
                Ok(file)
            });
            match opened.await {
                Ok(file) => {
                    let pieces = Box::new(FilePart::new(file, length));
                    return Ok(OpenBlob { blob: stored.blob, from, length, pieces });
                }
                Err(BlobError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Err(BlobError::NotFound)
    }

    async fn delete(&self, name: &BlobName, condition: &Condition) -> Result<(), BlobError> {
        let (inner, name, condition) = (self.0.clone(), name.clone(), condition.clone());
        let delete = async move {
            match inner.catalogue.delete_blob(&name, &condition).await? {
                BlobWritten::Done(None) => Err(BlobError::NotFound),
                BlobWritten::Done(Some(old)) => {
                    inner.remove(&old).await;
                    Ok(())
                }
                BlobWritten::Refused(failed) => Err(failed.into()),
            }
        };
        tokio::spawn(delete).await.unwrap_or_else(|cause| Err(BlobError::Io(io::Error::other(cause))))
    }

    async fn list(
        &self,
        device: Option<&str>,
        after: Option<&str>,
        top: usize,
    ) -> Result<Vec<Blob>, BlobError> {
        Ok(self.0.catalogue.blobs(device, after, top).await?)
    }

    fn has_room(&self) -> bool {
        self.0.quota.has_room()
    }

    async fn forget_blocks(&self, name: &BlobName) -> Result<(), BlobError> {
        self.0.forget(name).await
    }

    async fn clean_up(&self, before: Timestamp) -> Result<(), BlobError> {
        let (places, quota) = (self.0.places.clone(), self.0.quota.clone());
        let (tallies, locks) = (self.0.tallies.clone(), self.0.locks.clone());
        let before = SystemTime::UNIX_EPOCH
            + Duration::from_millis(u64::try_from(before.unix_millis()).unwrap_or_default());
        blocking(move || {
            for entry in fs::read_dir(places.blocks())? {
                let folder = entry?.path();
                let lock = locks.of(&folder);
                let _one_at_a_time = lock.blocking_lock();
                if blocks::last_change(&folder)? < before {
                    blocks::forget(&folder, &tallies, &quota)?;
                    info!("removed the blocks of an upload that never ended");
                }
            }
            Ok(())
        })
        .await
    }
}
