//! The second step: the file is written as a block blob.
//!
//! A small file is one `Put Blob`. A larger one is a `Put Block` for each block, in order, and then `Put Block List`,
//! which creates the blob; before that it is not visible. A request that fails with a retryable error is repeated on a
//! new connection. Blocks that are stored already are not sent again.

use std::time::Duration;

use bytes::Bytes;
use hyper::header::CONTENT_TYPE;
use hyper::{HeaderMap, Method};
use tokio::time::{sleep, timeout};
use tracing::debug;

use super::{FileUpload, UploadInfo, is_retryable, target};
use crate::driver::Shared;
use crate::error::{Error, ErrorKind};
use crate::https::{Connection, header_name, header_value};
use crate::retry::Backoff;
use crate::transport::Endpoint;

/// Small enough for the memory of a device, and for a cheap retry.
const BLOCK_BYTES: usize = 1024 * 1024;
/// The most blocks of a block blob, which limits files to 48 GiB.
const MAX_BLOCKS: u32 = 50_000;
/// How often each request is sent at most.
const ATTEMPTS: u32 = 5;
/// Time limit of one request: enough for a block at 28 kbit/s.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(300);
/// The version of the Azure Storage protocol. Later storage services support it, too.
const STORAGE_VERSION: &str = "2019-12-12";

pub(super) struct BlobWriter<'a> {
    shared: &'a Shared,
    endpoint: Endpoint,
    target: String,
    /// Open while requests succeed.
    connection: Option<Connection>,
}

impl<'a> BlobWriter<'a> {
    pub(super) fn new(shared: &'a Shared, info: &UploadInfo) -> Result<Self, Error> {
        let endpoint = shared.config.https()?.endpoint(&info.host_name)?;
        Ok(Self { shared, endpoint, target: target(info), connection: None })
    }

    /// Writes the whole file and returns its size.
    pub(super) async fn write(mut self, mut upload: FileUpload) -> Result<u64, Error> {
        let content_type = upload.content_type.as_deref().unwrap_or("application/octet-stream");
        let content_type = header_value(content_type)?;
        let mut block = read_block(&mut upload).await?;
        if block.len() < BLOCK_BYTES {
            let mut headers = HeaderMap::new();
            headers.insert(header_name("x-ms-blob-type"), header_value("BlockBlob")?);
            headers.insert(CONTENT_TYPE, content_type);
            let bytes = block.len() as u64;
            self.put("", &headers, block).await?;
            upload.report_progress(bytes);
            return Ok(bytes);
        }
        let (mut blocks, mut bytes) = (0, 0);
        while !block.is_empty() {
            if blocks == MAX_BLOCKS {
                let message = format!("the file is larger than {MAX_BLOCKS} blocks of {BLOCK_BYTES} bytes");
                return Err(Error::new(ErrorKind::TooLarge, message));
            }
            bytes += block.len() as u64;
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, header_value("application/octet-stream")?)]);
            self.put(&format!("&comp=block&blockid={}", block_id(blocks)), &headers, block).await?;
            upload.report_progress(bytes);
            blocks += 1;
            block = read_block(&mut upload).await?;
        }
        let headers = HeaderMap::from_iter([
            (CONTENT_TYPE, header_value("application/xml")?),
            (header_name("x-ms-blob-content-type"), content_type),
        ]);
        self.put("&comp=blocklist", &headers, block_list(blocks).into()).await?;
        Ok(bytes)
    }

    async fn put(&mut self, query: &str, headers: &HeaderMap, body: Bytes) -> Result<(), Error> {
        let target = format!("{}{query}", self.target);
        let mut headers = headers.clone();
        headers.insert(header_name("x-ms-version"), header_value(STORAGE_VERSION)?);
        let mut backoff = Backoff::default();
        let mut attempts = 1;
        loop {
            let request = self.put_once(&target, headers.clone(), body.clone());
            let outcome = timeout(REQUEST_TIMEOUT, request).await.unwrap_or_else(|_| {
                Err(Error::new(ErrorKind::Timeout, "the storage did not respond in time"))
            });
            match outcome {
                Ok(()) => return Ok(()),
                Err(error) if attempts >= ATTEMPTS || !is_retryable(&error) => return Err(error),
                Err(error) => debug!(%error, attempts, "a part of a file was not stored; retrying"),
            }
            attempts += 1;
            self.connection = None;
            sleep(backoff.next_delay(&self.shared.config.retry)).await;
        }
    }

    async fn put_once(&mut self, target: &str, headers: HeaderMap, body: Bytes) -> Result<(), Error> {
        let connection = match &mut self.connection {
            Some(connection) if connection.is_open() => connection,
            slot => slot.insert(Connection::open(&self.endpoint).await?),
        };
        let response = connection.send(Method::PUT, target, headers, body).await?;
        let stored = response.success("the storage refused the file").map(drop);
        // A 504 of a storage is about the storage, not about a device.
        stored.map_err(|error| match error.kind() {
            ErrorKind::DeviceTimeout => error.with_kind(ErrorKind::Timeout),
            _ => error,
        })
    }
}

async fn read_block(upload: &mut FileUpload) -> Result<Bytes, Error> {
    upload
        .read_block(BLOCK_BYTES)
        .await
        .map_err(|error| Error::invalid_input(format!("the file cannot be read: {error}")).with_source(error))
}

/// Eight digits, which are valid base64. All block ids of a blob must have the same length.
fn block_id(number: u32) -> String {
    format!("{number:08}")
}

fn block_list(blocks: u32) -> String {
    let mut list = String::from("<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>");
    for number in 0..blocks {
        list.push_str("<Latest>");
        list.push_str(&block_id(number));
        list.push_str("</Latest>");
    }
    list.push_str("</BlockList>");
    list
}
