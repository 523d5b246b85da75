//! Uploaded files in memory.

mod content;
mod upload;
mod usage;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use ferrohub_core::clock::Clock;
use ferrohub_core::files::{
    Blob, BlobEndpoint, BlobError, BlobFolder, BlobStore, BlockId, ByteRange, ByteStream, Condition,
    FolderLimits, MAX_BLOCKS, OpenBlob, PutOptions, UncommittedBlocks,
};
use ferrohub_model::Timestamp;
use ferrohub_model::file::BlobName;
use tokio::task::yield_now;

use content::Content;
use upload::Upload;
use usage::Usage;

/// The hub's own folder of uploaded files, in memory.
pub struct MemoryBlobFolder {
    endpoint: BlobEndpoint,
    limits: FolderLimits,
    clock: Arc<dyn Clock>,
    usage: Arc<Usage>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    blobs: BTreeMap<BlobName, (Blob, Bytes)>,
    blocks: BTreeMap<BlobName, Blocks>,
}

/// The uncommitted blocks of a blob.
#[derive(Debug, Default)]
struct Blocks {
    content: BTreeMap<BlockId, Bytes>,
    /// When the last one was uploaded.
    last: Timestamp,
}

impl Blocks {
    fn stats(&self) -> UncommittedBlocks {
        let each = self.content.iter();
        each.fold(UncommittedBlocks::default(), |stats, (id, bytes)| stats.with(id, bytes.len() as u64, None))
    }

    /// Returns how large a block may be.
    fn max_bytes(&self, id: &BlockId, blob_bytes: u64) -> Result<u64, BlobError> {
        let replaced = self.content.get(id).map(|old| old.len() as u64);
        self.stats().max_bytes(id, replaced, blob_bytes)
    }
}

impl MemoryBlobFolder {
    /// Creates an empty folder that clients reach at `endpoint`.
    #[must_use]
    pub fn new(endpoint: BlobEndpoint, limits: FolderLimits, clock: Arc<dyn Clock>) -> Self {
        let usage = Arc::new(Usage::new(limits));
        Self { endpoint, limits, clock, usage, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns an upload of at most `limit` bytes that counts toward the limits of the blob's device.
    fn upload(&self, name: &BlobName, limit: u64) -> Upload {
        Upload::new(self.usage.clone(), name.device(), limit)
    }

    /// Checks the condition before the content is received.
    fn check_condition(&self, name: &BlobName, condition: &Condition) -> Result<(), BlobError> {
        let state = self.lock();
        Ok(condition.check(state.blobs.get(name).map(|(blob, _)| blob))?)
    }

    /// Makes the upload the content of the blob, if the condition is met now, and discards the blob's blocks.
    fn commit(&self, name: &BlobName, upload: Upload, options: PutOptions) -> Result<Blob, BlobError> {
        let md5 = upload.check_md5(options.md5)?;
        let mut state = self.lock();
        options.condition.check(state.blobs.get(name).map(|(blob, _)| blob))?;
        let content = upload.keep();
        let bytes = content.len() as u64;
        let blob = Blob::written(name.clone(), bytes, md5, options.properties, self.clock.now());
        if let Some((old, _)) = state.blobs.insert(name.clone(), (blob.clone(), content)) {
            self.usage.release(name.device(), old.bytes);
        }
        self.discard(&mut state, name);
        Ok(blob)
    }

    /// Removes the uncommitted blocks of a blob.
    fn discard(&self, state: &mut State, name: &BlobName) {
        if let Some(blocks) = state.blocks.remove(name) {
            self.usage.release(name.device(), blocks.stats().bytes);
        }
    }

    fn place_block(
        &self,
        name: &BlobName,
        id: BlockId,
        upload: Upload,
        md5: Option<[u8; 16]>,
    ) -> Result<[u8; 16], BlobError> {
        let md5 = upload.check_md5(md5)?;
        let mut state = self.lock();
        // Other blocks may have been stored while this one was received.
        let empty = Blocks::default();
        let max_bytes = state.blocks.get(name).unwrap_or(&empty).max_bytes(&id, self.limits.blob_bytes)?;
        if upload.bytes() > max_bytes {
            return Err(BlobError::TooLarge(self.limits.blob_bytes));
        }
        let blocks = state.blocks.entry(name.clone()).or_default();
        blocks.last = self.clock.now();
        if let Some(old) = blocks.content.insert(id, upload.keep()) {
            self.usage.release(name.device(), old.len() as u64);
        }
        Ok(md5)
    }
}

#[async_trait]
impl BlobStore for MemoryBlobFolder {
    fn endpoint(&self) -> &BlobEndpoint {
        &self.endpoint
    }

    async fn stat(&self, name: &BlobName) -> Result<Option<Blob>, BlobError> {
        Ok(self.lock().blobs.get(name).map(|(blob, _)| blob.clone()))
    }
}

#[async_trait]
impl BlobFolder for MemoryBlobFolder {
    async fn put(
        &self,
        name: &BlobName,
        options: PutOptions,
        stream: &mut dyn ByteStream,
    ) -> Result<Blob, BlobError> {
        self.check_condition(name, &options.condition)?;
        let mut upload = self.upload(name, self.limits.blob_bytes);
        upload.receive(stream).await?;
        let committed = self.commit(name, upload, options);
        yield_now().await;
        committed
    }

    async fn put_block(
        &self,
        name: &BlobName,
        id: &str,
        md5: Option<[u8; 16]>,
        stream: &mut dyn ByteStream,
    ) -> Result<[u8; 16], BlobError> {
        let id = BlockId::parse(id)?;
        let empty = Blocks::default();
        let limit = self.lock().blocks.get(name).unwrap_or(&empty).max_bytes(&id, self.limits.blob_bytes)?;
        let mut upload = self.upload(name, limit);
        match upload.receive(stream).await {
            Err(BlobError::TooLarge(_)) => return Err(BlobError::TooLarge(self.limits.blob_bytes)),
            result => result?,
        }
        let placed = self.place_block(name, id, upload, md5);
        yield_now().await;
        placed
    }

    async fn put_block_list(
        &self,
        name: &BlobName,
        ids: &[String],
        options: PutOptions,
    ) -> Result<Blob, BlobError> {
        if ids.len() > MAX_BLOCKS {
            return Err(BlobError::TooManyBlocks);
        }
        self.check_condition(name, &options.condition)?;
        let mut upload = self.upload(name, self.limits.blob_bytes);
        let mut chunks = Vec::with_capacity(ids.len());
        {
            let state = self.lock();
            let blocks = state.blocks.get(name);
            for id in ids {
                let id = BlockId::parse(id)?;
                let block = blocks.and_then(|blocks| blocks.content.get(&id));
                chunks.push(block.ok_or(BlobError::UnknownBlock)?.clone());
            }
        }
        for chunk in chunks {
            upload.append(&chunk)?;
        }
        // The digest in the request is that of the list.
        let committed = self.commit(name, upload, PutOptions { md5: None, ..options });
        yield_now().await;
        committed
    }

    async fn open(&self, name: &BlobName, range: Option<ByteRange>) -> Result<OpenBlob, BlobError> {
        let (blob, bytes) = self.lock().blobs.get(name).cloned().ok_or(BlobError::NotFound)?;
        let (offset, length) = match range {
            None => (0, blob.bytes),
            Some(range) => range.within(blob.bytes).unwrap_or((blob.bytes, 0)),
        };
        let stream = Box::new(Content::new(&bytes, offset, length));
        Ok(OpenBlob { blob, offset, length, stream })
    }

    async fn delete(&self, name: &BlobName, condition: &Condition) -> Result<(), BlobError> {
        let delete = || {
            let mut state = self.lock();
            let (blob, _) = state.blobs.get(name).ok_or(BlobError::NotFound)?;
            condition.check(Some(blob))?;
            self.usage.release(name.device(), blob.bytes);
            state.blobs.remove(name);
            Ok(())
        };
        let deleted = delete();
        yield_now().await;
        deleted
    }

    async fn list(
        &self,
        device: Option<&str>,
        after: Option<&str>,
        top: usize,
    ) -> Result<Vec<Blob>, BlobError> {
        let is_listed = |name: &BlobName| {
            device.is_none_or(|device| name.device() == device)
                && after.is_none_or(|after| name.as_str() > after)
        };
        let state = self.lock();
        let found = state.blobs.iter().filter(|(name, _)| is_listed(name)).take(top);
        Ok(found.map(|(_, (blob, _))| blob.clone()).collect())
    }

    fn check_quota(&self, name: &BlobName) -> Result<(), BlobError> {
        self.usage.check(name.device())
    }

    async fn discard_blocks(&self, name: &BlobName) -> Result<(), BlobError> {
        self.discard(&mut self.lock(), name);
        yield_now().await;
        Ok(())
    }

    async fn discard_stale_blocks(&self, before: Timestamp) -> Result<(), BlobError> {
        {
            let mut state = self.lock();
            let is_stale =
                |(name, blocks): (&BlobName, &Blocks)| (blocks.last < before).then(|| name.clone());
            let stale: Vec<BlobName> = state.blocks.iter().filter_map(is_stale).collect();
            stale.iter().for_each(|name| self.discard(&mut state, name));
        }
        yield_now().await;
        Ok(())
    }
}
