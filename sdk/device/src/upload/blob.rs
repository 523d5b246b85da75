//! The second step: a block blob.
//!
//! A small file is one `Put Blob`. A larger one is `Put Block` for each of its blocks, in their order, and then
//! `Put Block List`, which makes a file of them; before that nobody sees anything. A request that fails for a reason that
//! passes is made again, on a new connection: blocks that are there stay there.

use std::time::Duration;

use bytes::Bytes;
use hyper::header::CONTENT_TYPE;
use hyper::{HeaderMap, Method};
use tokio::time::{sleep, timeout};
use tracing::debug;

use super::{FileUpload, Place};
use crate::driver::Shared;
use crate::error::{Error, ErrorKind};
use crate::https::{Connection, header_name, header_value};
use crate::reconnect::Backoff;
use crate::transport::Endpoint;

/// Small enough for a device to hold one, and not to lose much when a request fails.
const BLOCK_BYTES: usize = 1024 * 1024;
/// The most blocks that a block blob has: files have 48 GiB at most.
const MAX_BLOCKS: u32 = 50_000;
/// How often each request is made.
const ATTEMPTS: u32 = 5;
/// How long one request may take: a block goes through at 28 kbit/s.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(300);
/// The version of the store's protocol, which every store since has.
const STORAGE_VERSION: &str = "2019-12-12";

pub(super) struct BlobWriter<'a> {
    shared: &'a Shared,
    endpoint: Endpoint,
    target: String,
    /// Open while requests succeed.
    connection: Option<Connection>,
}

impl<'a> BlobWriter<'a> {
    pub(super) fn new(shared: &'a Shared, place: &Place) -> Result<Self, Error> {
        let endpoint = shared.config.https()?.endpoint(&place.host_name)?;
        Ok(Self { shared, endpoint, target: place.target(), connection: None })
    }

    /// Sends all of it; how many bytes it has.
    pub(super) async fn write(mut self, mut upload: FileUpload) -> Result<u64, Error> {
        let content_type = upload.content_type.as_deref().unwrap_or("application/octet-stream");
        let content_type = header_value(content_type)?;
        let mut piece = read_block(&mut upload).await?;
        if piece.len() < BLOCK_BYTES {
            let mut headers = HeaderMap::new();
            headers.insert(header_name("x-ms-blob-type"), header_value("BlockBlob")?);
            headers.insert(CONTENT_TYPE, content_type);
            let bytes = piece.len() as u64;
            self.put("", &headers, piece).await?;
            upload.report_progress(bytes);
            return Ok(bytes);
        }
        let (mut blocks, mut bytes) = (0, 0);
        while !piece.is_empty() {
            if blocks == MAX_BLOCKS {
                let message = format!("the file is larger than {MAX_BLOCKS} blocks of {BLOCK_BYTES} bytes");
                return Err(Error::new(ErrorKind::InvalidPayload, message));
            }
            bytes += piece.len() as u64;
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, header_value("application/octet-stream")?)]);
            self.put(&format!("&comp=block&blockid={}", block_id(blocks)), &headers, piece).await?;
            upload.report_progress(bytes);
            blocks += 1;
            piece = read_block(&mut upload).await?;
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
                Err(Error::new(ErrorKind::Timeout, "the store did not take a part of the file in time"))
            });
            match outcome {
                Ok(()) => return Ok(()),
                Err(error) if attempts >= ATTEMPTS || !error.is_retryable() => return Err(error),
                Err(error) => debug!(%error, attempts, "a part of a file is sent again"),
            }
            attempts += 1;
            self.connection = None;
            sleep(backoff.next_delay(&self.shared.config.reconnect)).await;
        }
    }

    async fn put_once(&mut self, target: &str, headers: HeaderMap, body: Bytes) -> Result<(), Error> {
        let connection = match &mut self.connection {
            Some(connection) if connection.is_open() => connection,
            place => place.insert(Connection::open(&self.endpoint).await?),
        };
        let answer = connection.send(Method::PUT, target, headers, body).await?;
        answer.success("the store does not take the file").map(drop)
    }
}

async fn read_block(upload: &mut FileUpload) -> Result<Bytes, Error> {
    upload.read_block(BLOCK_BYTES).await.map_err(|error| {
        Error::caused(ErrorKind::InvalidInput, format!("the file cannot be read: {error}"), error)
    })
}

/// Eight digits, which are base64 as they are: all ids of a blob must have the same length.
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
