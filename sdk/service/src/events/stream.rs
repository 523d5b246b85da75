//! Events as they come, over as many connections as it takes.

use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use http::Method;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::{sleep, timeout};
use tracing::debug;

use super::{EventPosition, EventReader, EventStart};
use crate::{Error, ErrorKind, Event};

/// Longest silence: the hub says something every 15 seconds.
const IDLE_TIMEOUT: Duration = Duration::from_secs(45);
/// Longest line: an event of 256 KiB as JSON, with room to spare.
const MAX_LINE_BYTES: usize = 4 * 1024 * 1024;
/// The first pause before another try; each one is twice as long.
const INITIAL_RETRY_DELAY: Duration = Duration::from_millis(100);
const MAX_RETRY_DELAY: Duration = Duration::from_secs(10);

/// Events as they come. A connection that is lost is made again, and goes on behind the last event: none is left out and
/// none comes twice.
#[derive(Debug)]
pub struct EventStream {
    reader: EventReader,
    /// How far the caller has read.
    position: EventPosition,
    body: Option<Incoming>,
    /// What the hub sent and is not a whole line yet, or not asked for.
    received: BytesMut,
    /// How far it was looked through for the end of a line.
    searched: usize,
    retry_delay: Duration,
}

impl EventStream {
    pub(super) async fn open(reader: EventReader) -> Result<Self, Error> {
        let start = reader.start.clone();
        let mut stream = Self {
            reader,
            position: EventPosition::default(),
            body: None,
            received: BytesMut::new(),
            searched: 0,
            retry_delay: INITIAL_RETRY_DELAY,
        };
        stream.connect(&start).await?;
        Ok(stream)
    }

    /// How far it has come: where another stream would go on behind the events that this one gave.
    #[must_use]
    pub fn position(&self) -> EventPosition {
        self.position.clone()
    }

    /// The next event; waits until there is one. May be dropped before it is done: no event is lost then.
    ///
    /// # Errors
    /// What another try would not help against. Connections that are lost, and a hub that is away for a while, are none of
    /// that.
    pub async fn next(&mut self) -> Result<Event, Error> {
        loop {
            if let Some(event) = self.take_event()? {
                self.position.advance(&event);
                self.retry_delay = INITIAL_RETRY_DELAY;
                return Ok(event);
            }
            match &mut self.body {
                Some(body) => match timeout(IDLE_TIMEOUT, body.frame()).await {
                    Ok(Some(Ok(frame))) => {
                        if let Ok(data) = frame.into_data() {
                            self.received.extend_from_slice(&data);
                        }
                    }
                    ended => {
                        debug!(clean_end = matches!(ended, Ok(None)), "the stream of events ended");
                        self.body = None;
                    }
                },
                None => self.reconnect().await?,
            }
        }
    }

    async fn reconnect(&mut self) -> Result<(), Error> {
        sleep(self.retry_delay).await;
        self.retry_delay = (self.retry_delay * 2).min(MAX_RETRY_DELAY);
        match self.connect(&EventStart::After(self.position.clone())).await {
            Err(error) if !error.is_retryable() => Err(error),
            Err(error) => {
                debug!(%error, "the hub is not there");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    async fn connect(&mut self, start: &EventStart) -> Result<(), Error> {
        let query = self.reader.query(start);
        let response =
            self.reader.client.request(Method::GET, "/messages/events", &query).send_streaming().await?;
        let position = response.headers().get("ferrohub-position").and_then(|value| value.to_str().ok());
        let position = position
            .ok_or_else(|| Error::new(ErrorKind::Protocol, "the hub does not serve events over HTTPS"))?;
        self.position = position.parse()?;
        // The rest of an earlier answer is in this one again.
        self.received.clear();
        self.searched = 0;
        self.body = Some(response.into_body());
        Ok(())
    }

    /// The next event of what was received. Empty lines say only that the hub is there.
    fn take_event(&mut self) -> Result<Option<Event>, Error> {
        loop {
            let unsearched = self.received.get(self.searched..).unwrap_or_default();
            let Some(end) = unsearched.iter().position(|byte| *byte == b'\n') else {
                self.searched = self.received.len();
                if self.searched > MAX_LINE_BYTES {
                    return Err(Error::new(ErrorKind::Protocol, "the hub sent too long a line"));
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
                Error::new(ErrorKind::Protocol, "the hub sent no event").with_source(error)
            });
        }
    }
}
