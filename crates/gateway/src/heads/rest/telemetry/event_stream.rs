//! Streams events to a reader.
//!
//! A separate task reads the log and passes on one chunk at a time; it reads the next chunk when the reader has taken
//! the last one. So a slow reader needs memory for two chunks, and a reader that stops reading is disconnected after a
//! time-out.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderValue;
use bytes::Bytes;
use ferrohub_core::ServiceCaller;
use ferrohub_core::metrics::Outcomes;
use ferrohub_core::panics::catch_panic;
use ferrohub_core::telemetry::{EventReader, Position, ReadError, StoredEvent};
use futures_util::stream::poll_fn;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::{debug, error};

use super::event_json;

/// Maximum number of events in a chunk.
const MAX_CHUNK_EVENTS: usize = 64;
/// A heartbeat is sent after this time without events, so that both sides detect a lost connection.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Time-out for the reader to take a chunk.
const SEND_TIMEOUT: Duration = Duration::from_secs(60);

/// Limits of one read request.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReadLimits {
    /// Ends after this number of events.
    pub(super) max_events: Option<usize>,
    /// Ends after this time without an event.
    pub(super) max_wait: Option<Duration>,
}

/// The format of the event stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StreamFormat {
    /// One JSON object per line; an empty line is a heartbeat.
    NdJson,
    /// Server-sent events; the `id` of each is the position after it.
    ServerSentEvents,
}

impl StreamFormat {
    /// Returns the format that the header `Accept` requests.
    pub(super) fn from_accept(accept: Option<&HeaderValue>) -> Self {
        let accept = accept.and_then(|value| value.to_str().ok()).unwrap_or_default();
        if accept.to_ascii_lowercase().contains("text/event-stream") {
            Self::ServerSentEvents
        } else {
            Self::NdJson
        }
    }

    pub(super) fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::NdJson => "application/x-ndjson",
            Self::ServerSentEvents => "text/event-stream",
        })
    }

    fn heartbeat(self) -> Bytes {
        Bytes::from_static(match self {
            Self::NdJson => b"\n",
            Self::ServerSentEvents => b":\n\n",
        })
    }

    /// Encodes events. `position` is the position of the reader before them.
    fn encode(self, events: Vec<StoredEvent>, mut position: Position) -> Result<Bytes, serde_json::Error> {
        let mut text = String::new();
        for event in events {
            let event = event_json::event(event);
            let json = serde_json::to_string(&event)?;
            match self {
                Self::NdJson => {
                    text.push_str(&json);
                    text.push('\n');
                }
                Self::ServerSentEvents => {
                    position.0.insert(event.partition, event.sequence_number + 1);
                    let _ = write!(text, "id: {position}\ndata: {json}\n\n");
                }
            }
        }
        Ok(text.into())
    }
}

/// Builds a response body that streams events as they arrive.
pub(super) fn body(
    caller: ServiceCaller,
    reader: EventReader,
    format: StreamFormat,
    limits: ReadLimits,
    panics: Outcomes,
) -> Body {
    let (chunks, mut receiver) = mpsc::channel(1);
    // The stream ends at once when the caller loses its right.
    tokio::spawn(catch_panic(panics, "https", async move {
        tokio::select! {
            () = EventStreamTask { reader, format, limits, chunks }.run() => {}
            () = caller.revoked() => debug!("event stream closed: the token expired or its policy changed"),
        }
    }));
    Body::from_stream(poll_fn(move |cx| {
        receiver.poll_recv(cx).map(|chunk| chunk.map(Ok::<Bytes, Infallible>))
    }))
}

struct EventStreamTask {
    reader: EventReader,
    format: StreamFormat,
    limits: ReadLimits,
    chunks: mpsc::Sender<Bytes>,
}

/// The response ends.
struct EndOfStream;

impl From<ReadError> for EndOfStream {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Stopping => {}
            ReadError::Stolen(stolen) => {
                debug!(%stolen, "event stream closed: another reader has taken over")
            }
            ReadError::Store(error) => error!(%error, "cannot read the event log"),
        }
        Self
    }
}

impl EventStreamTask {
    async fn run(mut self) {
        let mut left = self.limits.max_events.unwrap_or(usize::MAX);
        while left > 0 {
            let before = self.reader.position();
            let chunks = self.chunks.clone();
            let events = tokio::select! {
                events = self.next_events(left.min(MAX_CHUNK_EVENTS)) => events,
                () = chunks.closed() => return,
            };
            let chunk = match events {
                Ok(events) if events.is_empty() => self.format.heartbeat(),
                Ok(events) => {
                    left = left.saturating_sub(events.len());
                    match self.format.encode(events, before) {
                        Ok(chunk) => chunk,
                        Err(error) => return error!(%error, "cannot serialise an event"),
                    }
                }
                Err(EndOfStream) => return,
            };
            if self.chunks.send_timeout(chunk, SEND_TIMEOUT).await.is_err() {
                return debug!("event stream closed: the reader does not read or has disconnected");
            }
        }
    }

    /// Returns the next events; an empty vector if a heartbeat is due.
    async fn next_events(&mut self, max_events: usize) -> Result<Vec<StoredEvent>, EndOfStream> {
        let events = self.reader.read(max_events).await?;
        if !events.is_empty() {
            return Ok(events);
        }
        let mut left = self.limits.max_wait.unwrap_or(HEARTBEAT);
        loop {
            let pause = left.min(HEARTBEAT);
            match timeout(pause, self.reader.next(max_events)).await {
                Ok(events) => return Ok(events?),
                Err(_) if self.limits.max_wait.is_none() => return Ok(Vec::new()),
                Err(_) => left = left.saturating_sub(pause),
            }
            if left.is_zero() {
                return Err(EndOfStream);
            }
            if self.chunks.send_timeout(self.format.heartbeat(), SEND_TIMEOUT).await.is_err() {
                return Err(EndOfStream);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ferrohub_core::telemetry::{EventIdentity, EventProperties, EventSource};
    use ferrohub_model::message::Event;
    use ferrohub_model::{IdentityId, Timestamp};

    use super::*;

    fn event(sequence: u64) -> StoredEvent {
        StoredEvent {
            partition: 1,
            sequence,
            enqueued: Timestamp::from_unix_millis(0),
            source: EventSource::Telemetry,
            identity: EventIdentity {
                id: IdentityId::parse("d").unwrap(),
                generation_id: String::new(),
                auth: None,
            },
            properties: EventProperties::new(),
            body: Bytes::from_static(b"a\nb"),
        }
    }

    #[test]
    fn each_event_is_one_line_or_one_block() {
        let position = Position([(0, 4), (1, 0)].into());
        let lines = StreamFormat::NdJson.encode(vec![event(0), event(1)], position.clone()).unwrap();
        let lines = std::str::from_utf8(&lines).unwrap();
        assert_eq!(lines.lines().count(), 2);
        for line in lines.lines() {
            let event: Event = serde_json::from_str(line).unwrap();
            assert_eq!(event.body.as_bytes(), b"a\nb");
        }
        let blocks = StreamFormat::ServerSentEvents.encode(vec![event(0), event(1)], position).unwrap();
        let blocks: Vec<&str> = std::str::from_utf8(&blocks).unwrap().split_terminator("\n\n").collect();
        assert_eq!(blocks.len(), 2);
        assert!(blocks[0].starts_with("id: 0:3,1:0\ndata: {"), "{blocks:?}");
        assert!(blocks[1].starts_with("id: 0:3,1:1\ndata: {"), "{blocks:?}");
    }

    #[test]
    fn the_accept_header_selects_the_format() {
        let from_accept = |text| StreamFormat::from_accept(Some(&HeaderValue::from_static(text)));
        assert_eq!(StreamFormat::from_accept(None), StreamFormat::NdJson);
        assert_eq!(from_accept("*/*"), StreamFormat::NdJson);
        assert_eq!(from_accept("text/event-stream, */*;q=0.1"), StreamFormat::ServerSentEvents);
    }
}
