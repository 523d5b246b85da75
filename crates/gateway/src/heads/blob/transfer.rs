//! The body of an upload, which is streamed to the disk chunk by chunk. An upload without progress is aborted, and so is
//! one that is not complete when its URL expires.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use ferrohub_core::files::{BlobError, ByteStream};
use ferrohub_core::metrics::counter;
use http_body_util::BodyExt as _;
use md5::{Digest as _, Md5};
use prometheus_client::metrics::counter::Counter;
use tokio::time::{Instant, timeout, timeout_at};

use super::error::BlobApiError;
use crate::http::{HttpContext, HttpLimits, RequestBody, next_deadline, read_body};

/// Maximum bytes that are read and discarded of the body of a refused request.
const MAX_DISCARDED: usize = 16 * 1024 * 1024;

/// The body of a request.
pub(super) struct UploadBody {
    body: RequestBody,
    idle_timeout: Duration,
    /// When the whole body must have arrived.
    deadline: Option<Instant>,
    /// How long the body of a refused request is read.
    discard_timeout: Duration,
    received_bytes: Counter,
}

impl UploadBody {
    pub(super) fn new(body: RequestBody, context: &HttpContext) -> Self {
        let received_bytes = counter(&context.hub.metrics().file_bytes, "received");
        let limits = &context.limits;
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
