//! Transfers bytes between one socket and its protocol state machine until either side closes.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use ferrohub_core::Hub;
use ferrohub_core::close_reason::CloseReason;
use ferrohub_core::cloud_to_device::StoredMessage;
use ferrohub_core::node::Outgoing;
use ferrohub_core::panics::record_panic;
use ferrohub_mqtt::ProtocolError;
use ferrohub_mqtt::server::{Config, Connection as Machine};
use futures_util::FutureExt as _;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};
use tracing::debug;

use super::connection_handler::{Client, ConnectionHandler};
use super::work::WorkOutput;
use super::{telemetry, violation};
use crate::transport::peer::Peer;
use crate::transport::tcp::ConnectionSlot;

/// Limits of the MQTT endpoint.
#[derive(Debug, Clone)]
pub struct MqttLimits {
    /// Limits of the protocol state machine.
    pub protocol: Arc<Config>,
    /// Maximum time that output may be pending because the device does not read.
    pub write_timeout: Duration,
}

/// Fits the plaintext of a TLS record.
const READ_BUFFER_SIZE: usize = 16 * 1024;
/// Timer interval if no deadline is set.
const IDLE_WAKE_INTERVAL: Duration = Duration::from_secs(3600);

thread_local! {
    /// Read buffer shared by all connections of the thread; the state machine copies only incomplete packets.
    static READ_BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BUFFER_SIZE].into_boxed_slice());
}

/// An event that the driver handles.
enum DriverEvent {
    /// Input was passed to the state machine.
    Input(Result<(), ProtocolError>),
    /// The peer closed its side, or the transport failed.
    ReadClosed,
    /// The transport accepts no more output.
    WriteFailed,
    /// The pending operation of the device has finished.
    WorkDone(Result<WorkOutput, CloseReason>),
    /// Messages for the device were fetched.
    Messages(Result<Vec<StoredMessage>, CloseReason>),
    /// The hub has something to send, or closes the connection.
    Outgoing(Outgoing),
    /// A deadline passed.
    Timer,
    /// All output is written and flushed.
    Flushed,
}

struct Driver<S> {
    stream: S,
    machine: Machine,
    output: BytesMut,
    /// Whether something was written since the last flush.
    unflushed: bool,
    /// Writing has failed; input that the peer sent before is still read.
    write_failed: bool,
    write_timeout: Duration,
}

/// Serves one device's connection until it ends.
///
/// Not an `async fn`: its future would store the parameters in addition to the values built from them.
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
        match AssertUnwindSafe(driver.run(&mut handler)).catch_unwind().await {
            Ok(reason) => Box::pin(close_connection(driver, handler, reason)).await,
            Err(panic) => {
                record_panic(handler.panics(), "mqtt", &*panic);
                Box::pin(abandon_connection(driver, handler)).await;
            }
        }
    }
}

/// Closes the transport and detaches from the hub after a panic, which may have left the state machine and the pending
/// work half changed.
async fn abandon_connection<S>(driver: Driver<S>, mut handler: ConnectionHandler) {
    drop(driver);
    handler.drop_work();
    detach(&mut handler, CloseReason::InternalError).await;
}

/// Detaches from the hub, then closes the transport.
async fn close_connection<S>(mut driver: Driver<S>, mut handler: ConnectionHandler, reason: CloseReason)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if finishes_pending_work(reason) && !driver.write_failed {
        // Writes in progress complete anyway. A device that gets no acknowledgement sends the message again.
        let finish = handler.finish_work(&mut driver.machine);
        if tokio::time::timeout(driver.write_timeout, finish).await.is_err() {
            debug!(peer = %handler.peer.address, "connection closed before its pending work was done");
        }
    }
    handler.close_messages().await;
    detach(&mut handler, reason).await;
    // The remaining output may be the CONNACK with the reason.
    let _ = tokio::time::timeout(driver.write_timeout, driver.finish()).await;
}

/// Detaches from the hub, and sends the will.
async fn detach(handler: &mut ConnectionHandler, reason: CloseReason) {
    if let Client::Device(device) = &handler.client {
        let reason = device.connection().close_reason().unwrap_or(reason);
        device.disconnected(reason).await;
        if let Some(will) = handler.will.take() {
            telemetry::send_will(device, will, reason).await;
        }
    } else {
        debug!(
            peer = %handler.peer.address,
            reason = reason.name(),
            "connection closed before CONNECT was accepted"
        );
    }
}

/// Returns whether pending work is finished and its response sent when a connection closes for this reason: the device
/// still reads, and may still get the response.
fn finishes_pending_work(reason: CloseReason) -> bool {
    matches!(reason, CloseReason::Stopping | CloseReason::Expired | CloseReason::CredentialChanged)
}

impl<S: AsyncRead + AsyncWrite + Unpin> Driver<S> {
    async fn run(&mut self, handler: &mut ConnectionHandler) -> CloseReason {
        let mut timer = pin!(sleep_until(Instant::now()));
        let mut write_deadline: Option<Instant> = None;
        let mut input_error: Option<ProtocolError> = None;
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
                    input_error = result.err();
                    Ok(true)
                }
                DriverEvent::WorkDone(result) => {
                    result.and_then(|output| output.send(&mut self.machine)).map(|()| true)
                }
                event => self.handle_event(event, handler, write_deadline).map(|()| false),
            };
            let outcome = match has_events {
                Ok(true) => handler.handle_events(&mut self.machine).await,
                Ok(false) => Ok(()),
                Err(reason) => Err(reason),
            };
            match (outcome, input_error) {
                (Err(reason), _) => return reason,
                // Packets before the invalid one are still handled completely.
                (Ok(()), Some(error)) if handler.is_idle() => return violation::record(handler, &error),
                (Ok(()), _) if self.machine.is_closed() && handler.is_idle() => {
                    return CloseReason::ProtocolError;
                }
                (Ok(()), _) => {}
            }
        }
    }

    /// Handles an event synchronously. An error ends the connection.
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
                // The peer may have sent DISCONNECT before it closed, so keep reading.
                self.write_failed = true;
                self.unflushed = false;
                Ok(())
            }
            DriverEvent::Timer => self.handle_timeout(handler, write_deadline),
            DriverEvent::Input(_) | DriverEvent::WorkDone(_) | DriverEvent::Flushed => Ok(()),
        }
    }

    /// Returns the next event: output first, then input, then output of the hub. While output is pending, nothing more
    /// is read from the device or sent to it.
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
            // Closing does not wait for a device that does not read.
            if let Some(reason) = handler.device().and_then(|device| device.connection().close_reason()) {
                return Poll::Ready(DriverEvent::Outgoing(Outgoing::Close(reason)));
            }
        } else {
            if let Poll::Ready(result) = handler.poll_work(cx) {
                return Poll::Ready(DriverEvent::WorkDone(result));
            }
            if handler.accepts_input()
                && self.machine.wants_read()
                && let Poll::Ready(event) = self.poll_read(cx, handler)
                // Write the batch before handling the end of the input, which the next read returns again.
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
            if let Some(device) = handler.device()
                && let Poll::Ready(outgoing) = device.connection().poll_outgoing(cx)
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

    fn poll_read(&mut self, cx: &mut Context<'_>, handler: &ConnectionHandler) -> Poll<DriverEvent> {
        READ_BUFFER.with_borrow_mut(|input| {
            let mut buffer = ReadBuf::new(input);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)) {
                Ok(()) if buffer.filled().is_empty() => {
                    violation::record_end(handler, None);
                    Poll::Ready(DriverEvent::ReadClosed)
                }
                Ok(()) => Poll::Ready(DriverEvent::Input(
                    self.machine.handle_input(buffer.filled(), Instant::now().into_std()),
                )),
                Err(error) => {
                    violation::record_end(handler, Some(&error));
                    Poll::Ready(DriverEvent::ReadClosed)
                }
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

    /// Sets the timer, which serves the state machine, the expiry of the credential and the write time-out. If the next
    /// deadline is after the timer's, the timer stays as it is: it fires early and is then set again.
    fn arm(&self, mut timer: Pin<&mut Sleep>, handler: &ConnectionHandler, write_deadline: Option<Instant>) {
        let machine = self.machine.poll_timeout().map(Instant::from_std).filter(|_| self.is_reading(handler));
        let next = [machine, handler.expires, write_deadline].into_iter().flatten().min();
        let next = next.unwrap_or_else(|| Instant::now() + IDLE_WAKE_INTERVAL);
        if timer.is_elapsed() || next < timer.deadline() {
            timer.as_mut().reset(next);
        }
    }

    /// Returns whether input is being read, so that the keep-alive can be checked. While an operation or output is
    /// pending, nothing is read; input that arrives meanwhile must be read before the keep-alive is checked.
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
            Err(error) => Err(violation::record(handler, &error)),
        }
    }

    /// Sends the remaining output, then closes the transport.
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
    use crate::transport::tls::TlsStream;

    /// Returns the size of the future that the function returns, without calling it.
    fn size_of_future<A, F: Future>(_: impl Fn(A) -> F) -> usize {
        size_of::<F>()
    }

    /// The hub has one of these futures per device: its size must not grow unnoticed.
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
