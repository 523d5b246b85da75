//! One MQTT connection: a byte stream and the state machine of the protocol.

use std::collections::VecDeque;
use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use ferrohub_mqtt::client::{Config, Connection, Event, Session};
use ferrohub_mqtt::{Connect, ProtocolError};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use crate::error::{Error, ErrorKind};
use crate::transport::{BoxStream, stream_error};

/// Most packets are small; the largest takes a few dozen reads.
const READ_BUFFER: usize = 4 * 1024;
/// With more unsent bytes than this, no more is read (it could only cause more responses) and no more is sent.
const MAX_UNSENT_BYTES: usize = 64 * 1024;
/// Time limit of DISCONNECT and the shutdown of the stream.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

pub(super) struct Link {
    pub(super) mqtt: Connection,
    /// Events that were taken too early.
    buffered: VecDeque<Event>,
    stream: BoxStream,
    output: BytesMut,
    /// Whether bytes were written since the last flush.
    unflushed: bool,
    input: Box<[u8]>,
    timer: Pin<Box<Sleep>>,
    /// The error that ended the connection. It is returned after the buffered events.
    error: Option<Error>,
}

impl Link {
    /// Starts MQTT on a stream. The first [`next`](Self::next) sends CONNECT.
    pub(super) fn new(
        stream: BoxStream,
        connect: &Connect,
        session: Session,
        config: Arc<Config>,
    ) -> Result<Self, Error> {
        let now = Instant::now();
        let mqtt = Connection::connect(config, connect, session, now.into_std()).map_err(|error| {
            Error::invalid_input("the device id or the user name is too long for MQTT").with_source(error)
        })?;
        Ok(Self {
            mqtt,
            buffered: VecDeque::new(),
            stream,
            output: BytesMut::new(),
            unflushed: false,
            input: vec![0; READ_BUFFER].into_boxed_slice(),
            timer: Box::pin(sleep_until(now)),
            error: None,
        })
    }

    /// Sends pending packets and waits for the next event. Dropping the future loses nothing. An error ends the
    /// connection.
    pub(super) async fn next(&mut self) -> Result<Event, Error> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Puts events back, to be returned before all others.
    pub(super) fn requeue(&mut self, events: Vec<Event>) {
        self.buffered.extend(events);
    }

    /// Returns whether the output buffer accepts more.
    pub(super) fn can_send(&self) -> bool {
        self.output.len() + self.mqtt.transmit_len() < MAX_UNSENT_BYTES
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event, Error>> {
        loop {
            if let Some(event) = self.buffered.pop_front().or_else(|| self.mqtt.poll_event()) {
                return Poll::Ready(Ok(event));
            }
            if let Some(error) = &self.error {
                return Poll::Ready(Err(error.clone()));
            }
            if let Poll::Ready(Err(error)) = self.poll_send(cx) {
                // The hub closed the connection. Unread input may contain the reason: a CONNACK, or a TLS alert about
                // the client certificate.
                let said = self.poll_read(cx);
                self.error = Some(match said {
                    Poll::Ready(Err(said)) if said.kind() != ErrorKind::Connection => said,
                    _ => connection_lost(error),
                });
                continue;
            }
            if self.poll_timer(cx).is_ready() {
                let outcome = self.mqtt.handle_timeout(Instant::now().into_std());
                self.error = outcome.err().map(protocol_error);
                continue;
            }
            if !self.mqtt.wants_read() || self.output.len() > MAX_UNSENT_BYTES {
                return Poll::Pending;
            }
            let outcome = ready!(self.poll_read(cx));
            self.error = outcome.err();
        }
    }

    /// Ready when all output is written and flushed.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.mqtt.poll_transmit(&mut self.output);
        while !self.output.is_empty() {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, &self.output))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.output.advance(written),
            }
            self.unflushed = true;
        }
        self.output = BytesMut::new();
        if self.unflushed {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let mut buffer = ReadBuf::new(&mut self.input);
        if let Err(error) = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)) {
            return Poll::Ready(Err(connection_lost(error)));
        }
        if buffer.filled().is_empty() {
            return Poll::Ready(Err(Error::new(ErrorKind::Connection, "the hub closed the connection")));
        }
        let outcome = self.mqtt.handle_input(buffer.filled(), Instant::now().into_std());
        Poll::Ready(outcome.map_err(protocol_error))
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = self.mqtt.poll_timeout().map(Instant::from_std) else {
            return Poll::Pending;
        };
        if self.timer.deadline() != deadline {
            self.timer.as_mut().reset(deadline);
        }
        self.timer.as_mut().poll(cx)
    }

    /// Sends DISCONNECT and closes the stream. Returns the session with the unacknowledged packets.
    pub(super) async fn close(mut self) -> Session {
        self.mqtt.disconnect();
        let closing = async {
            poll_fn(|cx| self.poll_send(cx)).await?;
            poll_fn(|cx| Pin::new(&mut self.stream).poll_shutdown(cx)).await
        };
        // The hub also detects a connection that is closed without DISCONNECT.
        let _ = timeout(CLOSE_TIMEOUT, closing).await;
        self.mqtt.into_session()
    }

    pub(super) fn into_session(self) -> Session {
        self.mqtt.into_session()
    }
}

fn connection_lost(error: io::Error) -> Error {
    stream_error(error, "the connection was lost")
}

fn protocol_error(error: ProtocolError) -> Error {
    let kind = match error {
        ProtocolError::ConnectTimeout | ProtocolError::PingTimeout => ErrorKind::Timeout,
        _ => ErrorKind::Protocol,
    };
    Error::new(kind, format!("MQTT error: {error}")).with_source(error)
}
