//! Bytes of files between a socket and the disk, a piece at a time. One that stands still is cut,
//! and so is one of a device that still goes on when its URL has run out.

use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use bytes::Bytes;
use ferrohub_core::blobs::{BlobError, Pieces};
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
use super::super::transfers::Turn;
use super::error::Refusal;

/// How much of what is refused is read to be polite.
const MAX_DISCARDED: usize = 16 * 1024 * 1024;

/// The body of a request.
pub(super) struct Incoming {
    body: Body,
    idle: Duration,
    /// When it must have come.
    until: Option<Instant>,
    /// How long what is refused is read.
    patience: Duration,
    bytes: Counter,
}

impl Incoming {
    pub(super) fn new(body: Body, api: &Api) -> Self {
        let bytes = counter(&api.hub.metrics().file_bytes, "received");
        let limits = &api.limits;
        Self { body, idle: limits.file_idle_timeout, until: None, patience: limits.request_timeout, bytes }
    }

    /// What has not come by then does not come.
    pub(super) fn must_end(&mut self, until: Instant) {
        self.until = Some(until);
    }

    /// All of it, where it is small.
    pub(super) async fn all(&mut self, limits: &HttpLimits, md5: Option<[u8; 16]>) -> Result<Bytes, Refusal> {
        let all = read_body(&mut self.body, limits).await?;
        if md5.is_some_and(|md5| <[u8; 16]>::from(Md5::digest(&all)) != md5) {
            return Err(Refusal::md5_mismatch());
        }
        Ok(all)
    }

    /// Reads on for a while and throws it away. It may be a stranger's: not for as long as it gets on.
    pub(super) async fn discard(&mut self) {
        let patience = self.patience;
        let discard = async {
            let mut discarded = 0;
            while discarded <= MAX_DISCARDED
                && let Ok(Some(piece)) = self.piece().await
            {
                discarded += piece.len();
            }
        };
        let _ = timeout(patience, discard).await;
    }

    async fn piece(&mut self) -> Result<Option<Bytes>, BlobError> {
        loop {
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(_)) => return Err(BlobError::Cut("the connection broke")),
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
impl Pieces for Incoming {
    async fn next(&mut self) -> Result<Option<Bytes>, BlobError> {
        let (wait, reason) = patience(self.idle, self.until);
        let piece = timeout_at(wait, self.piece()).await.map_err(|_| BlobError::Cut(reason))??;
        if let Some(piece) = &piece {
            self.bytes.inc_by(piece.len() as u64);
        }
        Ok(piece)
    }
}

/// Until when the next piece is waited for, and what it means if it does not come.
fn patience(idle: Duration, until: Option<Instant>) -> (Instant, &'static str) {
    let idle = Instant::now() + idle;
    match until.filter(|until| *until < idle) {
        Some(until) => (until, "its URL ran out"),
        None => (idle, "it stood still"),
    }
}

/// What goes out as the body of an answer.
pub(crate) struct Outgoing {
    pub(crate) pieces: Box<dyn Pieces>,
    pub(crate) length: u64,
    /// When it must have gone.
    pub(crate) until: Option<Instant>,
    /// Held until all of it is sent.
    pub(crate) turn: Turn,
}

/// A body that is read while it is sent. The file is closed when the client has taken nothing for too long,
/// or not all of it in time.
pub(crate) fn outgoing(outgoing: Outgoing, api: &Api) -> ([(axum::http::HeaderName, String); 1], Body) {
    let Outgoing { mut pieces, length, until, turn } = outgoing;
    let (idle, bytes) = (api.limits.file_idle_timeout, counter(&api.hub.metrics().file_bytes, "sent"));
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let _turn = turn;
        loop {
            let piece = match pieces.next().await {
                Ok(None) => return,
                Ok(Some(piece)) => Ok(piece),
                Err(error) => Err(error),
            };
            let (ends, length) = (piece.is_err(), piece.as_ref().map_or(0, Bytes::len));
            let (wait, reason) = patience(idle, until);
            match timeout_at(wait, sender.send(piece)).await {
                Ok(Ok(())) if !ends => bytes.inc_by(length as u64),
                Ok(_) => return,
                Err(_) => {
                    debug!(reason, "a file was not taken, and is closed");
                    return;
                }
            };
        }
    });
    let pieces =
        stream::unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) });
    let length = [(axum::http::header::CONTENT_LENGTH, length.to_string())];
    (length, Body::from_stream(pieces))
}
