//! Blobs in a folder: the bytes are in files with random names, everything else is in the catalogue.
//!
//! A blob is written to `parts/`, synced, renamed into `data/`, and only then entered in the catalogue. After a power
//! loss at any time, a reader finds either the complete old blob or the complete new one. The next start moves complete
//! files without an entry to `set-aside/`: a crash leaves such a file behind, but an older catalogue that was restored
//! from a backup knows none of the newer files, and they must not be lost. Uncommitted blocks are in `blocks/`, in one folder for each
//! blob.

use std::collections::{HashMap, HashSet};
use std::io::{self, Seek as _, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use std::{fs, path};

use async_trait::async_trait;
use ferrohub_core::clock::Clock;
use ferrohub_core::files::{
    Blob, BlobEndpoint, BlobError, BlobFolder, BlobIndex, BlobStore, BlobWriteOutcome, BlockId, ByteRange,
    ByteStream, Condition, FolderLimits, MAX_BLOCKS, OpenBlob, PutOptions, StoredBlob,
};
use ferrohub_core::metrics::Outcomes;
use ferrohub_core::uncancelled::run_uncancelled;
use ferrohub_model::Timestamp;
use ferrohub_model::file::BlobName;
use tracing::{info, warn};

use crate::blocks::{self, BlockStatsCache, ConcatenatedFiles, FileRange, FolderLocks};
use crate::file_system::{FileSystem, SystemFiles};
use crate::paths::{DeviceKey, Paths, block_file_name, random_name};
use crate::quota::Quota;
use crate::temp_file::{CompleteFile, TempFile, blocking};

/// Number of blobs that one read of the catalogue returns.
const CATALOGUE_PAGE: usize = 10_000;

/// The blob store in the hub's own folder.
pub struct Folder(Arc<Inner>);

struct Inner {
    endpoint: BlobEndpoint,
    paths: Paths,
    limits: FolderLimits,
    quota: Quota,
    block_stats: Arc<BlockStatsCache>,
    folder_locks: Arc<FolderLocks>,
    catalogue: Arc<dyn BlobIndex>,
    clock: Arc<dyn Clock>,
    /// Panics of operations, by place.
    panics: Outcomes,
}

impl Folder {
    /// Opens the folder `path`, creates it (mode 0700, its files 0600) if it does not exist, and cleans up after a crash.
    /// `panics` counts operations that panicked.
    pub async fn open(
        path: &Path,
        endpoint: BlobEndpoint,
        limits: FolderLimits,
        catalogue: Arc<dyn BlobIndex>,
        clock: Arc<dyn Clock>,
        panics: Outcomes,
    ) -> Result<Self, BlobError> {
        Self::open_in(Arc::new(SystemFiles), path, endpoint, limits, catalogue, clock, panics).await
    }

    /// Like [`Folder::open`], in another file system than that of the operating system.
    ///
    /// # Errors
    /// Those of the file system and of the catalogue.
    pub async fn open_in(
        files: Arc<dyn FileSystem>,
        path: &Path,
        endpoint: BlobEndpoint,
        limits: FolderLimits,
        catalogue: Arc<dyn BlobIndex>,
        clock: Arc<dyn Clock>,
        panics: Outcomes,
    ) -> Result<Self, BlobError> {
        let known = known_files(&*catalogue).await?;
        let quota = Quota::new(limits.total_bytes, limits.device_bytes);
        let (folder, recovered_quota) = (path.to_path_buf(), quota.clone());
        let paths = blocking(move || {
            let paths = Paths::open(&folder, files)?;
            recover(&paths, &known, &recovered_quota)?;
            Ok(paths)
        })
        .await?;
        let (block_stats, folder_locks) = Default::default();
        Ok(Self(Arc::new(Inner {
            endpoint,
            paths,
            limits,
            quota,
            block_stats,
            folder_locks,
            catalogue,
            clock,
            panics,
        })))
    }
}

/// Removes incomplete files, sets files without a catalogue entry aside, and adds all other files to the quota.
fn recover(paths: &Paths, known: &HashMap<String, BlobName>, quota: &Quota) -> io::Result<()> {
    let mut leftovers = 0;
    for entry in fs::read_dir(paths.temp())? {
        paths.files().remove_file(&entry?.path())?;
        leftovers += 1;
    }
    let (mut found, mut set_aside) = (HashSet::new(), 0);
    for entry in fs::read_dir(paths.data())? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some(blob) = known.get(&name) {
            quota.add_existing(Some(DeviceKey::of(blob)), entry.metadata()?.len());
            found.insert(name);
        } else {
            paths.create_set_aside()?;
            paths.files().rename(&entry.path(), &paths.set_aside().join(&name))?;
            set_aside += 1;
        }
    }
    for entry in fs::read_dir(paths.blocks())? {
        let folder = entry?.path();
        let owner = DeviceKey::of_block_folder(&folder);
        blocks::uncommitted(&folder)?.values().for_each(|bytes| quota.add_existing(owner, *bytes));
    }
    if leftovers > 0 {
        info!(files = leftovers, "removed files of unfinished uploads");
    }
    if set_aside > 0 {
        warn!(
            files = set_aside,
            folder = %paths.set_aside().display(),
            "moved files without an entry in hub.db out of the way. A crash leaves single files; many mean that hub.db \
             was restored from an older backup. The hub does not use or delete them"
        );
    }
    let missing = known.keys().filter(|name| !found.contains(*name)).count();
    if missing > 0 {
        warn!(files = missing, "stored files are missing from the data folder");
    }
    Ok(())
}

impl Inner {
    /// Moves a file into `data/` and enters it in the catalogue. Runs in a separate task, so that cancelling the caller
    /// cannot separate the file from its entry.
    async fn commit(
        self: &Arc<Self>,
        name: &BlobName,
        complete: CompleteFile,
        options: PutOptions,
    ) -> Result<Blob, BlobError> {
        let (inner, name) = (self.clone(), name.clone());
        run_uncancelled(&self.panics, async move { inner.commit_now(name, complete, options).await }).await
    }

    async fn commit_now(
        &self,
        name: BlobName,
        complete: CompleteFile,
        options: PutOptions,
    ) -> Result<Blob, BlobError> {
        let file = random_name();
        let path = self.paths.data().join(&file);
        let (bytes, md5) = (complete.bytes, complete.md5);
        let blob = Blob::written(name.clone(), bytes, md5, options.properties, self.clock.now());
        complete.persist(&path).await?;
        let stored = StoredBlob { blob, file };
        let paths = self.paths.clone();
        if let Err(error) = blocking(move || Ok(paths.files().sync_folder(paths.data())?)).await {
            self.remove_file(&stored).await;
            return Err(error);
        }
        let written = match self.catalogue.put_blob(&stored, &options.condition).await {
            Ok(written) => written,
            // The entry may have been written, so keep the file. The next start sets it aside if it has no entry.
            Err(error) => return Err(error.into()),
        };
        match written {
            BlobWriteOutcome::Done(old) => {
                if let Some(old) = old {
                    self.remove_file(&old).await;
                }
                // The blob is stored, so leftover blocks are not an error of this call. The clean-up removes them
                // later.
                if let Err(error) = self.discard_blocks(&name).await {
                    warn!(%error, "cannot remove the blocks of a blob");
                }
                Ok(stored.blob)
            }
            BlobWriteOutcome::Refused(failed) => {
                self.remove_file(&stored).await;
                Err(failed.into())
            }
        }
    }

    /// Removes the file of a blob that is no longer in the catalogue.
    async fn remove_file(&self, blob: &StoredBlob) {
        let Some(path) = self.paths.data_file(&blob.file) else { return };
        let (quota, bytes, owner) = (self.quota.clone(), blob.blob.bytes, DeviceKey::of(&blob.blob.name));
        let files = self.paths.files().clone();
        let removed = blocking(move || Ok(files.remove_file(&path)?)).await;
        match removed {
            Ok(()) => quota.release(Some(owner), bytes),
            Err(error) => warn!(%error, "cannot remove a file from the data folder"),
        }
    }

    async fn discard_blocks(&self, name: &BlobName) -> Result<(), BlobError> {
        let (folder, block_stats) = (self.paths.block_folder(name), self.block_stats.clone());
        let (quota, files) = (self.quota.clone(), self.paths.files().clone());
        let lock = self.folder_locks.get(&folder).lock_owned().await;
        blocking(move || {
            // Keep the lock until the end, even if the caller is cancelled.
            let _guard = lock;
            Ok(blocks::discard(&folder, &*files, &block_stats, &quota)?)
        })
        .await
    }

    /// Checks the condition before the upload begins, so that the hub does not receive data that it cannot store.
    async fn check_condition(&self, name: &BlobName, condition: &Condition) -> Result<(), BlobError> {
        if *condition == Condition::default() {
            return Ok(());
        }
        let stored = self.catalogue.blob(name).await?;
        Ok(condition.check(stored.as_ref().map(|stored| &stored.blob))?)
    }
}

/// Reads the catalogue: the blobs by the names of their files.
async fn known_files(catalogue: &dyn BlobIndex) -> Result<HashMap<String, BlobName>, BlobError> {
    let mut known = HashMap::new();
    let mut last = None;
    loop {
        let page = catalogue.blob_files(last.as_ref(), CATALOGUE_PAGE).await?;
        let Some((_, name)) = page.last() else { return Ok(known) };
        last = Some(name.clone());
        known.extend(page);
    }
}

#[async_trait]
impl BlobStore for Folder {
    fn endpoint(&self) -> &BlobEndpoint {
        &self.0.endpoint
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
        options: PutOptions,
        stream: &mut dyn ByteStream,
    ) -> Result<Blob, BlobError> {
        let inner = &self.0;
        inner.check_condition(name, &options.condition).await?;
        let (owner, limit) = (DeviceKey::of(name), inner.limits.blob_bytes);
        let mut temp = TempFile::create(&inner.paths, &inner.quota, owner, limit).await?;
        temp.write_stream(stream).await?;
        let complete = temp.finish(options.md5).await?;
        inner.commit(name, complete, options).await
    }

    async fn put_block(
        &self,
        name: &BlobName,
        id: &str,
        md5: Option<[u8; 16]>,
        stream: &mut dyn ByteStream,
    ) -> Result<[u8; 16], BlobError> {
        let inner = &self.0;
        let id = BlockId::parse(id)?;
        let file = block_file_name(&id);
        let folder = inner.paths.block_folder(name);
        let (stats, replaced) = blocking({
            let (path, folder, block_stats) = (folder.join(&file), folder.clone(), inner.block_stats.clone());
            move || Ok((block_stats.get(&folder)?, fs::metadata(path).ok().map(|old| old.len())))
        })
        .await?;
        let limit = stats.max_bytes(&id, replaced, inner.limits.blob_bytes)?;
        let owner = DeviceKey::of(name);
        let mut temp = TempFile::create(&inner.paths, &inner.quota, owner, limit).await?;
        match temp.write_stream(stream).await {
            Err(BlobError::TooLarge(_)) => return Err(BlobError::TooLarge(inner.limits.blob_bytes)),
            result => result?,
        }
        let complete = temp.finish(md5).await?;
        let md5 = complete.md5;
        let (panics, inner) = (&inner.panics, inner.clone());
        let place_block = async move {
            let _guard = inner.folder_locks.get(&folder).lock_owned().await;
            let (path, paths) = (folder.join(&file), inner.paths.clone());
            let (stats, old) = blocking({
                let (path, folder, block_stats) = (path.clone(), folder.clone(), inner.block_stats.clone());
                move || {
                    paths.files().create_folder(&folder)?;
                    paths.files().sync_folder(paths.blocks())?;
                    Ok((block_stats.get(&folder)?, fs::metadata(&path).ok().map(|old| old.len())))
                }
            })
            .await?;
            // Other blocks may have been stored in the meantime.
            let bytes = complete.bytes;
            if bytes > stats.max_bytes(&id, old, inner.limits.blob_bytes)? {
                return Err(BlobError::TooLarge(inner.limits.blob_bytes));
            }
            complete.persist(&path).await?;
            inner.quota.release(Some(owner), old.unwrap_or(0));
            inner.block_stats.set(&folder, stats.with(&id, bytes, old));
            let files = inner.paths.files().clone();
            blocking(move || Ok(files.sync_folder(&folder)?)).await?;
            Ok(md5)
        };
        run_uncancelled(panics, place_block).await
    }

    async fn put_block_list(
        &self,
        name: &BlobName,
        ids: &[String],
        options: PutOptions,
    ) -> Result<Blob, BlobError> {
        let inner = &self.0;
        if ids.len() > MAX_BLOCKS {
            return Err(BlobError::TooManyBlocks);
        }
        inner.check_condition(name, &options.condition).await?;
        let folder = inner.paths.block_folder(name);
        let uncommitted = blocking({
            let folder = folder.clone();
            move || Ok(blocks::uncommitted(&folder)?)
        })
        .await?;
        let mut files: Vec<path::PathBuf> = Vec::with_capacity(ids.len());
        for id in ids {
            let file = block_file_name(&BlockId::parse(id)?);
            if !uncommitted.contains_key(&file) {
                return Err(BlobError::UnknownBlock);
            }
            files.push(folder.join(file));
        }
        let (owner, limit) = (DeviceKey::of(name), inner.limits.blob_bytes);
        let mut temp = TempFile::create(&inner.paths, &inner.quota, owner, limit).await?;
        temp.write_stream(&mut ConcatenatedFiles::new(files)).await?;
        let complete = temp.finish(None).await?;
        inner.commit(name, complete, options).await
    }

    async fn open(&self, name: &BlobName, range: Option<ByteRange>) -> Result<OpenBlob, BlobError> {
        let inner = &self.0;
        // If the blob is replaced between the look-up and the open, look it up again. The new file exists before its
        // entry.
        for _ in 0..3 {
            let stored = inner.catalogue.blob(name).await?.ok_or(BlobError::NotFound)?;
            let path = inner.paths.data_file(&stored.file).ok_or(BlobError::NotFound)?;
            let bytes = stored.blob.bytes;
            let (offset, length) = match range {
                None => (0, bytes),
                Some(range) => range.within(bytes).unwrap_or((bytes, 0)),
            };
            let opened = blocking(move || {
                let mut file = fs::File::open(path)?;
                file.seek(SeekFrom::Start(offset))?;
                Ok(file)
            });
            match opened.await {
                Ok(file) => {
                    let stream = Box::new(FileRange::new(file, length));
                    return Ok(OpenBlob { blob: stored.blob, offset, length, stream });
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
                BlobWriteOutcome::Done(None) => Err(BlobError::NotFound),
                BlobWriteOutcome::Done(Some(old)) => {
                    inner.remove_file(&old).await;
                    Ok(())
                }
                BlobWriteOutcome::Refused(failed) => Err(failed.into()),
            }
        };
        run_uncancelled(&self.0.panics, delete).await
    }

    async fn list(
        &self,
        device: Option<&str>,
        after: Option<&str>,
        top: usize,
    ) -> Result<Vec<Blob>, BlobError> {
        Ok(self.0.catalogue.blobs(device, after, top).await?)
    }

    fn check_quota(&self, name: &BlobName) -> Result<(), BlobError> {
        self.0.quota.check_quota(DeviceKey::of(name))
    }

    async fn discard_blocks(&self, name: &BlobName) -> Result<(), BlobError> {
        self.0.discard_blocks(name).await
    }

    async fn discard_stale_blocks(&self, before: Timestamp) -> Result<(), BlobError> {
        let (paths, quota) = (self.0.paths.clone(), self.0.quota.clone());
        let (block_stats, folder_locks) = (self.0.block_stats.clone(), self.0.folder_locks.clone());
        let before = SystemTime::UNIX_EPOCH
            + Duration::from_millis(u64::try_from(before.unix_millis()).unwrap_or_default());
        blocking(move || {
            for entry in fs::read_dir(paths.blocks())? {
                let folder = entry?.path();
                let lock = folder_locks.get(&folder);
                let _guard = lock.blocking_lock();
                if blocks::last_modified(&folder)? < before {
                    blocks::discard(&folder, &**paths.files(), &block_stats, &quota)?;
                    info!("removed the blocks of an abandoned upload");
                }
            }
            Ok(())
        })
        .await
    }
}
