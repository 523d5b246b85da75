//! The state machine of a connection, for servers and clients.
//!
//! AMQP is symmetrical above the handshake (AMQP §2.1): both sides begin sessions, attach links and send messages. One
//! machine therefore serves both; [`handshake`] is what differs.

mod handshake;
mod links;
mod process;

use std::{
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::BytesMut;

pub use handshake::Credentials;

use crate::{
    Config, Event, ProtocolError, SendError,
    assembler::Assembler,
    output::Output,
    performative::{AmqpError, Close},
    session::{Counters, Session, Shared},
};

/// Heartbeats are not sent more often, whatever idle time-out the peer announces.
const MIN_HEARTBEAT_INTERVAL: Duration = Duration::from_millis(500);

/// A connection, seen from one of its sides.
///
/// Once closed – by the peer's close, a refusal or an error – it ignores input, and its methods return
/// [`SendError::NotOpen`]; remaining output and events can still be polled.
#[derive(Debug)]
pub struct Connection {
    config: Arc<Config>,
    assembler: Assembler,
    output: Output,
    /// Sorted by our channel.
    sessions: Vec<Session>,
    stage: Stage,
    is_client: bool,
    /// Highest channel that the peer accepts.
    channel_max: u16,
    /// Whether the limits for unauthenticated clients are lifted.
    authenticated: bool,
    /// Input in bytes before that.
    unauthenticated_input: usize,
    counters: Counters,
    /// How often the peer wants to hear from us.
    peer_idle: Option<Duration>,
    /// Start of the handshake, or the last input after it.
    received: Instant,
    /// The last output, or a little earlier.
    sent: Instant,
    /// The latest time that the driver has told.
    now: Instant,
}

/// How far the connection is.
#[derive(Debug)]
enum Stage {
    /// Server: no protocol header has arrived.
    Header,
    /// Server: the SASL layer has begun.
    SaslInit,
    /// Server: the application decides; input is held.
    SaslDecision,
    /// Client: credentials for the SASL layer, whose header or mechanisms have not arrived.
    Sasl { credentials: Credentials, header: bool },
    /// Client: the credentials are sent.
    SaslSent,
    /// Server: SASL has succeeded. Client: our header is sent. The peer's AMQP header must follow.
    AmqpHeader,
    /// The peer's open must follow.
    Opening,
    /// Both sides have opened.
    Open,
    /// We sent close; everything but the peer's close is ignored.
    Closing,
    /// Nothing is processed any more.
    Closed,
}

impl Connection {
    /// Creates the connection of a client that has sent nothing yet. The handshake time-out starts at `now`.
    pub fn accept(config: Arc<Config>, now: Instant) -> Self {
        Self::new(config, Stage::Header, false, now)
    }

    /// Opens a connection to a server. Without credentials there is no SASL layer.
    pub fn connect(config: Arc<Config>, credentials: Option<Credentials>, now: Instant) -> Self {
        let mut connection = Self::new(config, Stage::AmqpHeader, true, now);
        connection.start(credentials);
        connection
    }

    fn new(config: Arc<Config>, stage: Stage, is_client: bool, now: Instant) -> Self {
        Self {
            config,
            assembler: Assembler::default(),
            output: Output::default(),
            sessions: Vec::new(),
            stage,
            is_client,
            channel_max: 0,
            // A client trusts the server that it has chosen.
            authenticated: is_client,
            unauthenticated_input: 0,
            counters: Counters::default(),
            peer_idle: None,
            received: now,
            sent: now,
            now,
        }
    }

    /// Processes received bytes; all of them are consumed.
    ///
    /// Events are queued until [`poll_event`](Self::poll_event) removes them. Pass in slices of a bounded size (16 KiB)
    /// and poll after each: then memory is bounded by a multiple of that size and by the limits of [`Config`]. After an
    /// error the connection is closed. Events before the invalid frame can still be polled, and the remaining output
    /// should be sent: it may be the answer to a wrong protocol header.
    pub fn handle_input(&mut self, input: &[u8], now: Instant) -> Result<(), ProtocolError> {
        self.now = now;
        if matches!(self.stage, Stage::Open | Stage::Closing) && self.authenticated && !input.is_empty() {
            self.received = now;
        }
        let processed = self.count_input(input.len()).and_then(|()| self.process(input));
        self.close_on_error(processed)
    }

    /// Checks the time-outs and sends a heartbeat if it is due. Call it when the instant of
    /// [`poll_timeout`](Self::poll_timeout) has passed, and poll output afterwards; an earlier call has no effect. First
    /// pass in all input that the socket has: the idle time-out is measured from the last input passed in.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), ProtocolError> {
        self.now = now;
        if self.heartbeat_at().is_some_and(|at| at <= now) {
            self.output.heartbeat();
            self.sent = now;
        }
        let outcome = match self.expires_at() {
            Some(at) if at <= now && self.is_established() => Err(ProtocolError::IdleTimeout),
            Some(at) if at <= now => Err(ProtocolError::HandshakeTimeout),
            _ => Ok(()),
        };
        self.close_on_error(outcome)
    }

    /// Returns when to call [`handle_timeout`](Self::handle_timeout). Input and output move this instant later: do not
    /// move a timer that is already set, but poll again when it fires.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.expires_at().into_iter().chain(self.heartbeat_at()).min()
    }

    /// Returns the next event. Call it until it returns `None`, after `handle_input` and `accept_sasl`.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        self.output.next_event()
    }

    /// Returns the event that `poll_event` would return next, without removing it.
    #[must_use]
    pub fn peek_event(&self) -> Option<&Event> {
        self.output.peek_event()
    }

    /// Appends the pending output to `out`. Call it after all other methods. An empty `out` is replaced without a copy.
    pub fn poll_transmit(&mut self, out: &mut BytesMut) {
        if self.output.take(out) {
            // The true time is a little later, so the next heartbeat is a little early.
            self.sent = self.now;
        }
    }

    /// Returns the number of bytes that [`poll_transmit`](Self::poll_transmit) would append now.
    #[must_use]
    pub fn transmit_len(&self) -> usize {
        self.output.transmit_len()
    }

    /// Returns whether the driver should read. False while a SASL decision is pending, while more than `max_transmit`
    /// bytes of output are pending, and after the connection is closed.
    #[must_use]
    pub fn wants_read(&self) -> bool {
        match self.stage {
            Stage::SaslDecision | Stage::Closed => false,
            _ => self.output.transmit_len() <= self.config.max_transmit,
        }
    }

    /// Returns whether both sides have opened the connection, and neither has closed it.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open)
    }

    /// Returns whether the connection is closed: send the remaining output, then close the transport.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self.stage, Stage::Closed)
    }

    /// Server: lifts the limits for unauthenticated clients. Call it when a token or a certificate was accepted.
    pub fn set_authenticated(&mut self) {
        if !self.authenticated {
            self.authenticated = true;
            self.received = self.now;
        }
    }

    /// Closes the connection with a reason. The connection is closed when the peer has answered, or the idle time-out
    /// expires.
    ///
    /// Microsoft's Node SDKs hang for ever after a close that they did not ask for. To end a connection of theirs, close
    /// the transport.
    pub fn close(&mut self, error: Option<&AmqpError<'_>>) -> Result<(), SendError> {
        if !self.is_open() {
            return Err(SendError::NotOpen);
        }
        self.output.frame(0, Close { error: error.copied() })?;
        self.clear_sessions();
        self.stage = Stage::Closing;
        Ok(())
    }

    /// Returns the bytes of heap memory that the connection owns, without what its events and the shared configuration
    /// own.
    #[must_use]
    pub fn heap_size(&self) -> usize {
        self.sessions.capacity() * mem::size_of::<Session>()
            + self.sessions.iter().map(Session::heap).sum::<usize>()
            + self.output.heap()
            + self.assembler.capacity()
    }

    /// Whether the handshake is over.
    fn is_established(&self) -> bool {
        self.authenticated && matches!(self.stage, Stage::Open | Stage::Closing)
    }

    /// When the peer is given up.
    fn expires_at(&self) -> Option<Instant> {
        let timeout = match self.stage {
            Stage::Closed => return None,
            _ if self.is_established() => self.config.idle_time_out.saturating_mul(2),
            _ => self.config.handshake_timeout,
        };
        self.received.checked_add(timeout)
    }

    /// When the peer must hear from us.
    fn heartbeat_at(&self) -> Option<Instant> {
        let idle = self.peer_idle.filter(|_| self.is_open())?;
        self.sent.checked_add((idle / 2).max(MIN_HEARTBEAT_INTERVAL))
    }

    fn count_input(&mut self, len: usize) -> Result<(), ProtocolError> {
        if !self.authenticated && !self.is_closed() {
            self.unauthenticated_input = self.unauthenticated_input.saturating_add(len);
            if self.unauthenticated_input > self.config.unauthenticated.max_input {
                return Err(ProtocolError::UnauthenticatedInput);
            }
        }
        Ok(())
    }

    fn close_on_error(&mut self, outcome: Result<(), ProtocolError>) -> Result<(), ProtocolError> {
        if outcome.is_err() {
            self.set_closed();
        }
        outcome
    }

    fn set_closed(&mut self) {
        self.clear_sessions();
        self.assembler.clear();
        self.stage = Stage::Closed;
    }

    fn clear_sessions(&mut self) {
        let sessions = mem::take(&mut self.sessions);
        let mut shared = Shared::new(&self.config, &mut self.output, &mut self.counters, self.authenticated);
        for mut session in sessions {
            session.clear(&mut shared);
        }
    }

    /// A session together with what it shares with the others.
    fn session(&mut self, at: usize) -> Option<(&mut Session, Shared<'_>)> {
        let shared = Shared::new(&self.config, &mut self.output, &mut self.counters, self.authenticated);
        self.sessions.get_mut(at).map(|session| (session, shared))
    }
}
