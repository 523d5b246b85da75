//! Moves bytes between one socket and one machine, until either side ends.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use ferrohub_core::Hub;
use ferrohub_core::connections::{CloseReason, Outgoing};
use ferrohub_core::store::StoredMessage;
use ferrohub_mqtt::ProtocolError;
use ferrohub_mqtt::server::{Config, Connection as Machine};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};
use tracing::debug;

use super::connection_handler::{ConnectionHandler, WorkOutput};
use super::telemetry;
use crate::listener::ConnectionSlot;
use crate::peer::Peer;

/// Limits of the MQTT head.
#[derive(Debug, Clone)]
pub struct MqttLimits {
    /// Limits of the protocol machine.
    pub protocol: Arc<Config>,
    /// How long a device may leave what it is sent unread.
    pub write_timeout: Duration,
}

/// Enough for a TLS record.
const READ_BUFFER_SIZE: usize = 16 * 1024;
/// When to look again if nothing is due.
const IDLE_WAKE_INTERVAL: Duration = Duration::from_secs(3600);

thread_local! {
    /// Input of whichever connection is being read; the machine keeps only what is incomplete.
    static READ_BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BUFFER_SIZE].into_boxed_slice());
}

/// What made the driver wake up.
enum DriverEvent {
    /// Input was handed to the machine.
    Input(Result<(), ProtocolError>),
    /// The peer closed its side, or the transport failed.
    ReadClosed,
    /// The transport takes no more output.
    WriteFailed,
    /// Work for the device is done.
    WorkDone(Result<WorkOutput, CloseReason>),
    /// Messages for the device were found.
    Messages(Result<Vec<StoredMessage>, CloseReason>),
    /// The hub has something to send or says to close.
    Outgoing(Outgoing),
    /// A deadline passed.
    Timer,
    /// All output is with the operating system.
    Flushed,
}

struct Driver<S> {
    stream: S,
    machine: Machine,
    output: BytesMut,
    /// Whether something was written since the last flush.
    unflushed: bool,
    /// Nothing can be written any more; what the peer said before is still read.
    write_failed: bool,
    write_timeout: Duration,
}

/// Serves one device's connection until it ends.
///
/// Not an `async fn`: that would hold what it is given once more beside what it makes of it.
pub(crate) fn serve<S>(
    stream: S,
    peer: Peer,
    hub: Arc<Hub>,
    limits: MqttLimits,
    slot: ConnectionSlot,
) -> impl Future<Output = ()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut driver = Driver {
        stream,
        machine: Machine::new(limits.protocol, Instant::now().into_std()),
        output: BytesMut::new(),
        unflushed: false,
        write_failed: false,
        write_timeout: limits.write_timeout,
    };
    let mut handler = ConnectionHandler::new(hub, peer, slot);
    async move {
        let reason = driver.run(&mut handler).await;
        Box::pin(close_connection(driver, handler, reason)).await;
    }
}

/// Takes leave: of the hub, then of the device.
async fn close_connection<S>(mut driver: Driver<S>, mut handler: ConnectionHandler, reason: CloseReason)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if finishes_pending_work(reason) && !driver.write_failed {
        // What is on its way to the disk gets there anyway: a device that is not told sends it again.
        let finish = handler.finish_work(&mut driver.machine);
        if tokio::time::timeout(driver.write_timeout, finish).await.is_err() {
            debug!(peer = %handler.peer.address, "closed before the work for it was done");
        }
    }
    handler.close_messages().await;
    if let Some(connection) = &handler.connection {
        let reason = connection.close_reason().unwrap_or(reason);
        handler.hub.disconnected(connection, reason).await;
        if let Some(will) = handler.will.take() {
            telemetry::send_will(&handler.hub, connection, will, reason).await;
        }
    } else {
        debug!(peer = %handler.peer.address, reason = reason.name(), "closed before it was connected");
    }
    // What is left to send may be the CONNACK that tells why.
    let _ = tokio::time::timeout(driver.write_timeout, driver.finish()).await;
}

/// Whether a device whose connection ends for this reason hears what it is told last, and may be told.
fn finishes_pending_work(reason: CloseReason) -> bool {
    matches!(reason, CloseReason::Stopping | CloseReason::Expired | CloseReason::CredentialChanged)
}

impl<S: AsyncRead + AsyncWrite + Unpin> Driver<S> {
    async fn run(&mut self, handler: &mut ConnectionHandler) -> CloseReason {
        let mut timer = pin!(sleep_until(Instant::now()));
        let mut write_deadline: Option<Instant> = None;
        let mut broken_input: Option<ProtocolError> = None;
        loop {
            self.machine.poll_transmit(&mut self.output);
            if self.write_failed {
                self.output = BytesMut::new();
            }
            write_deadline = match (self.output.is_empty() && !self.unflushed, write_deadline) {
                (true, _) => None,
                (false, None) => Some(Instant::now() + self.write_timeout),
                (false, running) => running,
            };
            self.arm(timer.as_mut(), handler, write_deadline);
            let has_events = match poll_fn(|cx| self.poll_next_event(cx, handler, timer.as_mut())).await {
                DriverEvent::Input(result) => {
                    handler.record_activity();
                    broken_input = result.err();
                    Ok(true)
                }
                DriverEvent::WorkDone(result) => {
                    result.and_then(|output| output.respond(&mut self.machine)).map(|()| true)
                }
                event => self.handle_event(event, handler, write_deadline).map(|()| false),
            };
            let outcome = match has_events {
                Ok(true) => handler.handle_events(&mut self.machine).await,
                Ok(false) => Ok(()),
                Err(reason) => Err(reason),
            };
            match (outcome, broken_input) {
                (Err(reason), _) => return reason,
                // Events of packets before an offending one still count, and so does work for them.
                (Ok(()), Some(error)) if handler.is_idle() => return self.protocol_error(handler, &error),
                (Ok(()), _) if self.machine.is_closed() && handler.is_idle() => {
                    return CloseReason::ProtocolError;
                }
                (Ok(()), _) => {}
            }
        }
    }

    /// What is done at once. An error ends the connection.
    fn handle_event(
        &mut self,
        event: DriverEvent,
        handler: &mut ConnectionHandler,
        write_deadline: Option<Instant>,
    ) -> Result<(), CloseReason> {
        match event {
            DriverEvent::Outgoing(Outgoing::Method(method)) => {
                handler.send_method(&mut self.machine, &method)
            }
            DriverEvent::Outgoing(Outgoing::Desired(notice)) => {
                handler.send_desired(&mut self.machine, &notice)
            }
            DriverEvent::Outgoing(Outgoing::Messages) => {
                handler.notify_messages(self.machine.max_in_flight());
                Ok(())
            }
            DriverEvent::Outgoing(Outgoing::Close(reason)) => Err(reason),
            DriverEvent::Messages(found) => handler.send_messages(&mut self.machine, &found?),
            DriverEvent::ReadClosed => Err(CloseReason::Lost),
            DriverEvent::WriteFailed => {
                // A goodbye may have come before the peer closed.
                self.write_failed = true;
                self.unflushed = false;
                Ok(())
            }
            DriverEvent::Timer => self.handle_timeout(handler, write_deadline),
            DriverEvent::Input(_) | DriverEvent::WorkDone(_) | DriverEvent::Flushed => Ok(()),
        }
    }

    /// Output first, then input, then what the hub wants to send: nobody who does not read is read or
    /// sent more.
    fn poll_next_event(
        &mut self,
        cx: &mut Context<'_>,
        handler: &mut ConnectionHandler,
        timer: Pin<&mut Sleep>,
    ) -> Poll<DriverEvent> {
        if !self.output.is_empty() || self.unflushed {
            match self.poll_write(cx) {
                Poll::Ready(Ok(())) => return Poll::Ready(DriverEvent::Flushed),
                Poll::Ready(Err(_)) => return Poll::Ready(DriverEvent::WriteFailed),
                Poll::Pending => {}
            }
            // A hub that wants to close does not wait for a device that does not read.
            if let Some(reason) = handler.connection.as_ref().and_then(|connection| connection.close_reason())
            {
                return Poll::Ready(DriverEvent::Outgoing(Outgoing::Close(reason)));
            }
        } else {
            if let Poll::Ready(result) = handler.poll_work(cx) {
                return Poll::Ready(DriverEvent::WorkDone(result));
            }
            if handler.accepts_input()
                && self.machine.wants_read()
                && let Poll::Ready(event) = self.poll_read(cx)
                // What a device sent before it went still counts; its end is seen again.
                && !(handler.has_batch() && matches!(event, DriverEvent::ReadClosed))
            {
                return Poll::Ready(event);
            }
            if handler.has_batch() {
                handler.write_batch();
                if let Poll::Ready(result) = handler.poll_work(cx) {
                    return Poll::Ready(DriverEvent::WorkDone(result));
                }
            }
            if let Some(connection) = &handler.connection
                && let Poll::Ready(outgoing) = connection.poll_outgoing(cx)
            {
                return Poll::Ready(DriverEvent::Outgoing(outgoing));
            }
            if !self.write_failed
                && let Poll::Ready(found) = handler.poll_messages(cx)
            {
                return Poll::Ready(DriverEvent::Messages(found));
            }
        }
        ready!(timer.poll(cx));
        Poll::Ready(DriverEvent::Timer)
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<DriverEvent> {
        READ_BUFFER.with_borrow_mut(|input| {
            let mut buffer = ReadBuf::new(input);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)) {
                Ok(()) if buffer.filled().is_empty() => Poll::Ready(DriverEvent::ReadClosed),
                Ok(()) => Poll::Ready(DriverEvent::Input(
                    self.machine.handle_input(buffer.filled(), Instant::now().into_std()),
                )),
                Err(_) => Poll::Ready(DriverEvent::ReadClosed),
            }
        })
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.output.is_empty() {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, &self.output))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.output.advance(written),
            }
            self.unflushed = true;
        }
        self.output = BytesMut::new();
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.unflushed = false;
        Poll::Ready(Ok(()))
    }

    /// One timer for the machine, the credential and the slow reader. It is left where it is while the
    /// next deadline lies behind it: it fires early, and is set anew.
    fn arm(&self, mut timer: Pin<&mut Sleep>, handler: &ConnectionHandler, write_deadline: Option<Instant>) {
        let machine = self.machine.poll_timeout().map(Instant::from_std).filter(|_| self.is_reading(handler));
        let next = [machine, handler.expires, write_deadline].into_iter().flatten().min();
        let next = next.unwrap_or_else(|| Instant::now() + IDLE_WAKE_INTERVAL);
        if timer.is_elapsed() || next < timer.deadline() {
            timer.as_mut().reset(next);
        }
    }

    /// Whether silence is the device's own. While work for it is under way or output waits, it is not read, and what
    /// it said meanwhile is read before it is judged.
    fn is_reading(&self, handler: &ConnectionHandler) -> bool {
        handler.accepts_input() && self.output.is_empty() && !self.unflushed
    }

    fn handle_timeout(
        &mut self,
        handler: &ConnectionHandler,
        write_deadline: Option<Instant>,
    ) -> Result<(), CloseReason> {
        let now = Instant::now();
        if handler.expires.is_some_and(|expires| expires <= now) {
            return Err(CloseReason::Expired);
        }
        if write_deadline.is_some_and(|deadline| deadline <= now) {
            return Err(CloseReason::SlowReader);
        }
        if !self.is_reading(handler) {
            return Ok(());
        }
        match self.machine.handle_timeout(now.into_std()) {
            Ok(()) => Ok(()),
            Err(error) => Err(self.protocol_error(handler, &error)),
        }
    }

    fn protocol_error(&self, handler: &ConnectionHandler, error: &ProtocolError) -> CloseReason {
        debug!(peer = %handler.peer.address, device = handler.connection.as_ref().map(|c| c.id.as_str()), %error, "protocol error");
        match error {
            ProtocolError::KeepAliveTimeout | ProtocolError::ConnectTimeout => CloseReason::KeepAlive,
            _ => CloseReason::ProtocolError,
        }
    }

    /// Sends what is left, then closes the transport.
    async fn finish(&mut self) -> io::Result<()> {
        self.machine.poll_transmit(&mut self.output);
        poll_fn(|cx| self.poll_write(cx)).await?;
        poll_fn(|cx| Pin::new(&mut self.stream).poll_shutdown(cx)).await
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;
    use crate::tls::TlsStream;

    /// The future that `function` makes, without making one.
    fn size_of_future<A, F: Future>(_: impl Fn(A) -> F) -> usize {
        size_of::<F>()
    }

    /// A hub holds one of these for each device. Whoever makes it larger should mean to.
    #[test]
    fn a_connection_is_small() {
        type Parts<S> = (S, Peer, Arc<Hub>, MqttLimits, ConnectionSlot);
        let whole = size_of_future(|(stream, peer, hub, limits, slot): Parts<TlsStream<TcpStream>>| {
            serve(stream, peer, hub, limits, slot)
        });
        let tls = size_of::<TlsStream<TcpStream>>();
        assert!(tls <= 1216, "TLS: {tls}");
        assert!(whole - tls <= 960, "everything else: {}", whole - tls);
    }
}
