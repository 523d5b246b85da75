//! Reads small request bodies.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use bytes::Bytes;
use ferrohub_model::{ErrorCode, HubError};
use http_body_util::BodyExt as _;

use super::HttpLimits;

const INCOMPLETE_BODY: &str = "The connection closed before the whole body arrived.";

/// Maximum bytes that are read and discarded of a body that is too large.
const MAX_DISCARDED: usize = 16 * 1024 * 1024;

/// Reads the whole body, within the limits of size and time.
pub(crate) async fn read_body<B>(body: B, limits: &HttpLimits) -> Result<Bytes, HubError>
where
    B: http_body::Body<Data = Bytes> + Unpin,
{
    let mut collected = pin!(collect(body, limits.body_bytes));
    // Most bodies arrive together with the headers; these need no timer.
    if let Poll::Ready(collected) = poll_fn(|cx| Poll::Ready(collected.as_mut().poll(cx))).await {
        return collected;
    }
    match tokio::time::timeout(limits.request_timeout, collected).await {
        Ok(collected) => collected,
        Err(_) => Err(HubError::new(ErrorCode::IotHubFormatError, "The body did not arrive in time.")),
    }
}

/// Reads a body of at most `limit` bytes. The rest of a larger body is read and discarded, up to a limit: many clients
/// send the whole body before they read the response, and would only see a closed connection.
async fn collect<B>(mut body: B, limit: usize) -> Result<Bytes, HubError>
where
    B: http_body::Body<Data = Bytes> + Unpin,
{
    let mut parts: Vec<Bytes> = Vec::new();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| HubError::new(ErrorCode::IotHubFormatError, INCOMPLETE_BODY))?;
        let Ok(data) = frame.into_data() else { continue };
        length += data.len();
        if length <= limit {
            parts.push(data);
        } else if length > limit.saturating_add(MAX_DISCARDED) {
            break;
        }
    }
    if length > limit {
        let text = format!("The body must have at most {limit} bytes.");
        return Err(HubError::new(ErrorCode::MessageTooLarge, text));
    }
    // A small body arrives in one chunk, which is not copied.
    match parts.len() {
        0 | 1 => Ok(parts.pop().unwrap_or_default()),
        _ => Ok(parts.concat().into()),
    }
}
