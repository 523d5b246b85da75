//! Events on their way to a reader.
//!
//! A task of its own reads the log and hands over one piece at a time; the next one is read when the reader has taken it.
//! So a reader that is slow holds two pieces of memory, and one that stands still loses its place after a while.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderValue;
use bytes::Bytes;
use ferrohub_core::Hub;
use ferrohub_core::auth::Operation;
use ferrohub_core::events::{EventReader, Position, ReadError};
use ferrohub_model::message::Event;
use futures_util::stream::poll_fn;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tracing::{debug, error};

/// Events in one piece.
const PIECE: usize = 64;
/// When nothing was sent for so long, something is, so that both sides see that the other is there.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How often the token is looked at again: it may have run out, or its policy may have got new keys.
const LOOK_AGAIN: Duration = Duration::from_secs(15);
/// How long a reader may leave a piece untaken.
const STALLED: Duration = Duration::from_secs(60);

/// How much somebody wants to read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extent {
    /// So many events.
    pub(super) max: Option<usize>,
    /// Until none has come for so long.
    pub(super) wait: Option<Duration>,
}

/// How events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// One JSON object a line; an empty line says that the hub is still there.
    Lines,
    /// Server-sent events; the `id` of each is the position behind it.
    ServerSent,
}

impl Form {
    /// What the header `Accept` asks for.
    pub(super) fn of(accept: Option<&HeaderValue>) -> Self {
        let accept = accept.and_then(|value| value.to_str().ok()).unwrap_or_default();
        if accept.to_ascii_lowercase().contains("text/event-stream") { Self::ServerSent } else { Self::Lines }
    }

    pub(super) fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Lines => "application/x-ndjson",
            Self::ServerSent => "text/event-stream",
        })
    }

    fn heartbeat(self) -> Bytes {
        Bytes::from_static(match self {
            Self::Lines => b"\n",
            Self::ServerSent => b":\n\n",
        })
    }

    /// Events of one partition, of a reader that was at `position` before them.
    fn write(self, events: &[Event], mut position: Position) -> Result<Bytes, serde_json::Error> {
        let mut text = String::new();
        for event in events {
            let json = serde_json::to_string(event)?;
            match self {
                Self::Lines => {
                    text.push_str(&json);
                    text.push('\n');
                }
                Self::ServerSent => {
                    position.0.insert(event.partition, event.sequence_number + 1);
                    let _ = write!(text, "id: {position}\ndata: {json}\n\n");
                }
            }
        }
        Ok(text.into())
    }
}

/// The body of an answer that goes on as events come.
pub(super) fn body(
    hub: Arc<Hub>,
    authorization: Option<String>,
    reader: EventReader,
    form: Form,
    extent: Extent,
) -> Body {
    let (pieces, mut taken) = mpsc::channel(1);
    tokio::spawn(Feeder { hub, authorization, reader, form, extent, pieces }.run());
    Body::from_stream(poll_fn(move |cx| taken.poll_recv(cx).map(|piece| piece.map(Ok::<Bytes, Infallible>))))
}

struct Feeder {
    hub: Arc<Hub>,
    authorization: Option<String>,
    reader: EventReader,
    form: Form,
    extent: Extent,
    pieces: mpsc::Sender<Bytes>,
}

/// The answer is at its end.
struct Ended;

impl From<ReadError> for Ended {
    fn from(cause: ReadError) -> Self {
        if let ReadError::Store(cause) = cause {
            error!(%cause, "the event log could not be read");
        }
        Self
    }
}

impl Feeder {
    async fn run(mut self) {
        let (mut looked, mut left) = (Instant::now(), self.extent.max.unwrap_or(usize::MAX));
        while left > 0 {
            let before = self.reader.position();
            let pieces = self.pieces.clone();
            let events = tokio::select! {
                events = self.next(left.min(PIECE)) => events,
                () = pieces.closed() => return,
            };
            let piece = match events {
                Ok(events) if events.is_empty() => self.form.heartbeat(),
                Ok(events) => {
                    left = left.saturating_sub(events.len());
                    match self.form.write(&events, before) {
                        Ok(piece) => piece,
                        Err(cause) => return error!(%cause, "an event could not be written as JSON"),
                    }
                }
                Err(Ended) => return,
            };
            if looked.elapsed() >= LOOK_AGAIN {
                looked = Instant::now();
                let header = self.authorization.as_deref();
                if self.hub.authorize(header, Operation::ReadEvents).await.is_err() {
                    return;
                }
            }
            if self.pieces.send_timeout(piece, STALLED).await.is_err() {
                return debug!("a reader of events stands still, or is gone");
            }
        }
    }

    /// The next events; none when it is time for a heartbeat.
    async fn next(&mut self, most: usize) -> Result<Vec<Event>, Ended> {
        let events = self.reader.read(most).await?;
        if !events.is_empty() {
            return Ok(events);
        }
        let mut left = self.extent.wait.unwrap_or(HEARTBEAT);
        loop {
            let pause = left.min(HEARTBEAT);
            match timeout(pause, self.reader.next(most)).await {
                Ok(events) => return Ok(events?),
                Err(_) if self.extent.wait.is_none() => return Ok(Vec::new()),
                Err(_) => left = left.saturating_sub(pause),
            }
            if left.is_zero() {
                return Err(Ended);
            }
            if self.pieces.send_timeout(self.form.heartbeat(), STALLED).await.is_err() {
                return Err(Ended);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ferrohub_model::Timestamp;

    use super::*;

    fn event(sequence_number: u64) -> Event {
        Event {
            partition: 1,
            sequence_number,
            offset: sequence_number.to_string(),
            enqueued_time: Timestamp::from_unix_millis(0),
            system_properties: BTreeMap::new(),
            properties: BTreeMap::new(),
            body: b"a\nb".to_vec().into(),
        }
    }

    #[test]
    fn each_form_is_one_line_or_one_block_for_each_event() {
        let position = Position([(0, 4), (1, 0)].into());
        let lines = Form::Lines.write(&[event(0), event(1)], position.clone()).unwrap();
        let lines = std::str::from_utf8(&lines).unwrap();
        assert_eq!(lines.lines().count(), 2);
        for line in lines.lines() {
            let event: Event = serde_json::from_str(line).unwrap();
            assert_eq!(event.body.as_bytes(), b"a\nb");
        }
        let blocks = Form::ServerSent.write(&[event(0), event(1)], position).unwrap();
        let blocks: Vec<&str> = std::str::from_utf8(&blocks).unwrap().split_terminator("\n\n").collect();
        assert_eq!(blocks.len(), 2);
        assert!(blocks[0].starts_with("id: 0:3,1:0\ndata: {"), "{blocks:?}");
        assert!(blocks[1].starts_with("id: 0:3,1:1\ndata: {"), "{blocks:?}");
    }

    #[test]
    fn the_form_is_what_was_asked_for() {
        let of = |text| Form::of(Some(&HeaderValue::from_static(text)));
        assert_eq!(Form::of(None), Form::Lines);
        assert_eq!(of("*/*"), Form::Lines);
        assert_eq!(of("text/event-stream, */*;q=0.1"), Form::ServerSent);
    }
}
