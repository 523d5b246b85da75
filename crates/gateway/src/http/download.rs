//! Streams the contents of a file to a client, chunk by chunk. A download without progress is aborted.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use ferrohub_core::files::ByteStream;
use ferrohub_core::metrics::counter;
use ferrohub_core::panics::catch_panic;
use futures_util::stream;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tracing::debug;

use super::{HttpContext, TransferPermit};

/// Returns the deadline for the next chunk, and the reason to report if it passes.
pub(crate) fn next_deadline(idle_timeout: Duration, deadline: Option<Instant>) -> (Instant, &'static str) {
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
pub(crate) fn download_body(
    body: DownloadBody,
    context: &HttpContext,
) -> ([(axum::http::HeaderName, String); 1], Body) {
    let DownloadBody { mut stream, length, deadline, permit } = body;
    let (idle_timeout, sent_bytes) =
        (context.limits.file_idle_timeout, counter(&context.hub.metrics().file_bytes, "sent"));
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(catch_panic(context.hub.metrics().panics.clone(), "https", async move {
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
    }));
    let chunks =
        stream::unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) });
    let length = [(axum::http::header::CONTENT_LENGTH, length.to_string())];
    (length, Body::from_stream(chunks))
}
