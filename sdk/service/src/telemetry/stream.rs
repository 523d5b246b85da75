//! A stream of events, across connections.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use futures_util::Stream;
use futures_util::future::BoxFuture;
use http::Method;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::{sleep, timeout};
use tracing::debug;

use super::{EventPosition, EventReader, EventStart};
use crate::{Error, ErrorKind, Event};

/// The longest silence: the hub sends an empty line every 15 seconds.
const IDLE_TIMEOUT: Duration = Duration::from_secs(45);
/// The longest line: an event of 256 KiB as JSON, with a margin.
const MAX_LINE_BYTES: usize = 4 * 1024 * 1024;
/// The delay before the first attempt to reconnect; it doubles with each attempt.
const INITIAL_RETRY_DELAY: Duration = Duration::from_millis(100);
const MAX_RETRY_DELAY: Duration = Duration::from_secs(10);

/// A stream of events; from [`EventReader::open`]. It reconnects after a lost connection and continues after the last
/// event: no event is lost or repeated. It never ends; after an error the next call tries again. An event that cannot
/// be read is an error, and is skipped.
pub struct EventStream {
    /// `None` while a step owns it.
    connection: Option<Box<Connection>>,
    /// The read or reconnect in progress. It survives when the future of `next` is dropped.
    step: Option<Step>,
    /// The position after the last event that was returned.
    position: EventPosition,
}

type Step = BoxFuture<'static, (Box<Connection>, Result<Option<EventPosition>, Error>)>;

struct Connection {
    reader: EventReader,
    body: Option<Incoming>,
    /// Bytes that are not a whole line yet, or not read yet.
    received: BytesMut,
    /// How many of them contain no end of a line.
    searched: usize,
    retry_delay: Duration,
}

/// Returns whether an error is returned instead of retried. A TLS failure is retried: the operator of a hub renews an
/// expired certificate. Without a token or with another protocol, an attempt with the same settings cannot succeed.
fn ends_stream(kind: ErrorKind) -> bool {
    kind != ErrorKind::Tls
        && (!kind.is_retryable() || matches!(kind, ErrorKind::Credential | ErrorKind::Protocol))
}

impl EventStream {
    pub(super) async fn open(reader: EventReader) -> Result<Self, Error> {
        let start = reader.start.clone();
        let mut connection = Box::new(Connection {
            reader,
            body: None,
            received: BytesMut::new(),
            searched: 0,
            retry_delay: INITIAL_RETRY_DELAY,
        });
        let position = connection.connect(&start).await?;
        Ok(Self { connection: Some(connection), step: None, position })
    }

    /// Returns the position after the last event that this stream returned. A later stream can continue there.
    #[must_use]
    pub fn position(&self) -> EventPosition {
        self.position.clone()
    }

    /// Waits for the next event. Never returns `None`. The same as `StreamExt::next`, without the trait. Dropping the
    /// future loses no event.
    ///
    /// # Errors
    /// The error of a reconnect that the hub refused for a lasting reason, for example [`ErrorKind::Unauthorized`] or
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Credential`]; [`ErrorKind::Protocol`]. Lost connections, TLS failures,
    /// throttling and a hub that is unavailable are retried.
    pub async fn next(&mut self) -> Option<Result<Event, Error>> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl Stream for EventStream {
    type Item = Result<Event, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            // Events that were read together need no further step.
            if let Some(connection) = &mut this.connection {
                match connection.take_event() {
                    Ok(Some(event)) => {
                        this.position.advance(&event);
                        connection.retry_delay = INITIAL_RETRY_DELAY;
                        return Poll::Ready(Some(Ok(event)));
                    }
                    Ok(None) => {}
                    Err(error) => return Poll::Ready(Some(Err(error))),
                }
            }
            if let Some(mut connection) = this.connection.take() {
                let position = this.position.clone();
                this.step = Some(Box::pin(async move {
                    let result = connection.receive(position).await;
                    (connection, result)
                }));
            }
            let Some(step) = &mut this.step else {
                let message = "the event stream was used after a panic";
                return Poll::Ready(Some(Err(Error::new(ErrorKind::Closed, message))));
            };
            let (connection, result) = ready!(step.as_mut().poll(cx));
            this.step = None;
            this.connection = Some(connection);
            match result {
                Ok(Some(position)) => this.position = position,
                Ok(None) => {}
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
    }
}

impl fmt::Debug for EventStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventStream").field("position", &self.position).finish_non_exhaustive()
    }
}

impl Connection {
    /// Reads once, or reconnects after `position`. Returns the new position after a reconnect.
    async fn receive(&mut self, position: EventPosition) -> Result<Option<EventPosition>, Error> {
        let Some(body) = &mut self.body else { return self.reconnect(position).await };
        match timeout(IDLE_TIMEOUT, body.frame()).await {
            Ok(Some(Ok(frame))) => {
                if let Ok(data) = frame.into_data() {
                    self.received.extend_from_slice(&data);
                }
            }
            ended => {
                debug!(clean_end = matches!(ended, Ok(None)), "event stream disconnected");
                self.body = None;
            }
        }
        Ok(None)
    }

    async fn reconnect(&mut self, position: EventPosition) -> Result<Option<EventPosition>, Error> {
        sleep(self.retry_delay).await;
        self.retry_delay = (self.retry_delay * 2).min(MAX_RETRY_DELAY);
        match self.connect(&EventStart::After(position)).await {
            Ok(position) => Ok(Some(position)),
            Err(error) if ends_stream(error.kind()) => Err(error),
            Err(error) => {
                debug!(%error, "event stream cannot reconnect yet");
                Ok(None)
            }
        }
    }

    /// Connects and returns the position at which the hub begins.
    async fn connect(&mut self, start: &EventStart) -> Result<EventPosition, Error> {
        let query = self.reader.query(start);
        let request = self.reader.client.request(Method::GET, "/messages/events", &query);
        let response = request.send_streaming().await?;
        let position = response.headers().get("ferrohub-position").and_then(|value| value.to_str().ok());
        let position = position
            .ok_or_else(|| Error::new(ErrorKind::Protocol, "the hub does not support events over HTTPS"))?;
        let position = position.parse()?;
        // The new response repeats a line that was cut off.
        self.received.clear();
        self.searched = 0;
        self.body = Some(response.into_body());
        Ok(position)
    }

    /// Takes the next event from the received bytes. Empty lines are keep-alives.
    fn take_event(&mut self) -> Result<Option<Event>, Error> {
        loop {
            let unsearched = self.received.get(self.searched..).unwrap_or_default();
            let Some(end) = unsearched.iter().position(|byte| *byte == b'\n') else {
                self.searched = self.received.len();
                if self.searched > MAX_LINE_BYTES {
                    let message = format!("the hub sent a line of more than {MAX_LINE_BYTES} bytes");
                    return Err(Error::new(ErrorKind::Protocol, message));
                }
                return Ok(None);
            };
            let line = self.received.split_to(self.searched + end);
            self.received.advance(1);
            self.searched = 0;
            if line.is_empty() {
                continue;
            }
            return serde_json::from_slice(&line).map(Some).map_err(|error| {
                Error::new(ErrorKind::Protocol, "the hub sent a line that is not an event").with_source(error)
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_errors_that_a_retry_cannot_resolve_end_the_stream() {
        use ErrorKind as E;
        for kind in [E::Tls, E::Connection, E::Timeout, E::Unavailable, E::Server, E::Throttled] {
            assert!(!ends_stream(kind), "{kind:?}");
        }
        for kind in [E::Credential, E::Protocol, E::Unauthorized, E::NotFound, E::BadRequest, E::InvalidInput]
        {
            assert!(ends_stream(kind), "{kind:?}");
        }
    }
}
