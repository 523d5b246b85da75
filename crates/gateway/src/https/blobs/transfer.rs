//! Streams file contents between a socket and the disk, chunk by chunk. A transfer without progress is aborted, and so
//! is a transfer of a device that is not complete when its URL expires.

use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use bytes::Bytes;
use ferrohub_core::files::{BlobError, ByteStream};
use ferrohub_core::metrics::counter;
use futures_util::stream;
use http_body_util::BodyExt as _;
use md5::{Digest as _, Md5};
use prometheus_client::metrics::counter::Counter;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::debug;

use super::super::request::read_body;
use super::super::server::{Api, HttpLimits};
use super::super::transfer_permits::TransferPermit;
use super::error::BlobApiError;

/// Maximum bytes that are read and discarded of the body of a refused request.
const MAX_DISCARDED: usize = 16 * 1024 * 1024;

/// The body of a request.
pub(super) struct UploadBody {
    body: Body,
    idle_timeout: Duration,
    /// When the whole body must have arrived.
    deadline: Option<Instant>,
    /// How long the body of a refused request is read.
    discard_timeout: Duration,
    received_bytes: Counter,
}

impl UploadBody {
    pub(super) fn new(body: Body, api: &Api) -> Self {
        let received_bytes = counter(&api.hub.metrics().file_bytes, "received");
        let limits = &api.limits;
        Self {
            body,
            idle_timeout: limits.file_idle_timeout,
            deadline: None,
            discard_timeout: limits.request_timeout,
            received_bytes,
        }
    }

    /// Sets the instant by which the whole body must have arrived.
    pub(super) fn set_deadline(&mut self, deadline: Instant) {
        self.deadline = Some(deadline);
    }

    /// Reads the whole body, for small bodies.
    pub(super) async fn read_all(
        &mut self,
        limits: &HttpLimits,
        md5: Option<[u8; 16]>,
    ) -> Result<Bytes, BlobApiError> {
        let bytes = read_body(&mut self.body, limits).await?;
        if md5.is_some_and(|md5| <[u8; 16]>::from(Md5::digest(&bytes)) != md5) {
            return Err(BlobApiError::md5_mismatch());
        }
        Ok(bytes)
    }

    /// Reads and discards the rest of the body. Limited in size and total time, because the client may be
    /// unauthenticated.
    pub(super) async fn discard(&mut self) {
        let discard_timeout = self.discard_timeout;
        let discard = async {
            let mut discarded = 0;
            while discarded <= MAX_DISCARDED
                && let Ok(Some(chunk)) = self.next_chunk().await
            {
                discarded += chunk.len();
            }
        };
        let _ = timeout(discard_timeout, discard).await;
    }

    async fn next_chunk(&mut self) -> Result<Option<Bytes>, BlobError> {
        loop {
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(_)) => return Err(BlobError::IncompleteBody("the connection failed")),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }
}

#[async_trait]
impl ByteStream for UploadBody {
    async fn next(&mut self) -> Result<Option<Bytes>, BlobError> {
        let (until, error) = next_deadline(self.idle_timeout, self.deadline);
        let chunk =
            timeout_at(until, self.next_chunk()).await.map_err(|_| BlobError::IncompleteBody(error))??;
        if let Some(chunk) = &chunk {
            self.received_bytes.inc_by(chunk.len() as u64);
        }
        Ok(chunk)
    }
}

/// Returns the deadline for the next chunk, and the reason to report if it passes.
fn next_deadline(idle_timeout: Duration, deadline: Option<Instant>) -> (Instant, &'static str) {
    let idle_deadline = Instant::now() + idle_timeout;
    match deadline.filter(|deadline| *deadline < idle_deadline) {
        Some(deadline) => (deadline, "the URL expired"),
        None => (idle_deadline, "no progress within files.idle_timeout_seconds"),
    }
}

/// The body of a download response.
pub(crate) struct DownloadBody {
    pub(crate) stream: Box<dyn ByteStream>,
    pub(crate) length: u64,
    /// When the whole body must be sent.
    pub(crate) deadline: Option<Instant>,
    /// Kept until the whole body is sent.
    pub(crate) permit: TransferPermit,
}

/// Builds a response body that reads the file while it is sent. The file is closed if the client makes no progress
/// within the idle time-out, or does not finish before the deadline.
pub(crate) fn download_body(body: DownloadBody, api: &Api) -> ([(axum::http::HeaderName, String); 1], Body) {
    let DownloadBody { mut stream, length, deadline, permit } = body;
    let (idle_timeout, sent_bytes) =
        (api.limits.file_idle_timeout, counter(&api.hub.metrics().file_bytes, "sent"));
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let _permit = permit;
        loop {
            let chunk = match stream.next().await {
                Ok(None) => return,
                Ok(Some(chunk)) => Ok(chunk),
                Err(error) => Err(error),
            };
            let (ends, length) = (chunk.is_err(), chunk.as_ref().map_or(0, Bytes::len));
            let (until, error) = next_deadline(idle_timeout, deadline);
            match timeout_at(until, sender.send(chunk)).await {
                Ok(Ok(())) if !ends => sent_bytes.inc_by(length as u64),
                Ok(_) => return,
                Err(_) => {
                    debug!(error, "download aborted");
                    return;
                }
            };
        }
    });
    let chunks =
        stream::unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) });
    let length = [(axum::http::header::CONTENT_LENGTH, length.to_string())];
    (length, Body::from_stream(chunks))
}
