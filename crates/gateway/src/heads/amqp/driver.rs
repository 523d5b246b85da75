//! Transfers bytes between one socket and its protocol state machine until either side closes.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use ferrohub_amqp::{Connection as Machine, LinkId, ProtocolError};
use ferrohub_model::HubError;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep_until};

use super::callers::Revoked;
use super::connection_handler::ConnectionHandler;
use super::feed::Item;
use super::readers::ReaderEvent;
use super::server::AmqpContext;
use super::violation::{self, End};
use super::work::WorkOutput;
use crate::transport::peer::Peer;
use crate::transport::tcp::ConnectionSlot;

/// Fits the plaintext of a TLS record, and bounds the events that one read can cause.
const READ_BUFFER_SIZE: usize = 16 * 1024;
/// Timer interval if no deadline is set.
const IDLE_WAKE_INTERVAL: Duration = Duration::from_secs(3600);

thread_local! {
    /// Read buffer shared by all connections of the thread; the state machine copies only incomplete frames.
    static READ_BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BUFFER_SIZE].into_boxed_slice());
}

/// An event that the driver handles.
enum DriverEvent {
    /// Input was passed to the state machine.
    Input(Result<(), ProtocolError>),
    /// The peer closed its side, or the transport failed.
    ReadClosed(Option<io::Error>),
    /// The transport accepts no more output.
    WriteFailed,
    /// The pending operation has finished.
    WorkDone(WorkOutput),
    /// There is an item for a receiving link.
    Item(LinkId, Result<Item, HubError>),
    /// There is something to do for a link on which events are sent.
    Reader(ReaderEvent),
    /// The credential of this caller is no longer valid.
    Revoked(Revoked),
    /// The hub stops.
    Stopping,
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
    /// Why the transport has failed.
    read_error: Option<io::Error>,
}

/// Serves one connection until it ends.
pub(super) fn serve<S>(
    stream: S,
    peer: Peer,
    context: AmqpContext,
    slot: ConnectionSlot,
    mut stop: watch::Receiver<bool>,
) -> impl Future<Output = ()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut driver = Driver {
        stream,
        machine: Machine::accept(context.limits.protocol.clone(), Instant::now().into_std()),
        output: BytesMut::new(),
        unflushed: false,
        write_failed: false,
        write_timeout: context.limits.write_timeout,
        read_error: None,
    };
    let mut handler = ConnectionHandler::new(context, peer, slot);
    async move {
        let end = {
            let stopped = pin!(async move { drop(stop.wait_for(|stop| *stop).await) });
            driver.run(&mut handler, stopped).await
        };
        violation::record(&handler, end, driver.read_error.as_ref());
        let timeout = driver.write_timeout;
        // The client learns what became of the message that it has sent. A stopping hub waits for it, too.
        if matches!(end, End::Stopping | End::Revoked) && !driver.write_failed {
            let _ = tokio::time::timeout(timeout, handler.finish_work(&mut driver.machine)).await;
        }
        // The remaining output may be the answer that refuses the client. No AMQP close follows: see the module.
        let _ = tokio::time::timeout(timeout, driver.finish()).await;
        handler.release_items();
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Driver<S> {
    async fn run(
        &mut self,
        handler: &mut ConnectionHandler,
        mut stopped: Pin<&mut impl Future<Output = ()>>,
    ) -> End {
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
            let event = poll_fn(|cx| {
                if stopped.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(DriverEvent::Stopping);
                }
                self.poll_next_event(cx, handler, timer.as_mut())
            });
            let outcome = match event.await {
                DriverEvent::Input(result) => {
                    input_error = result.err();
                    Ok(())
                }
                DriverEvent::WorkDone(output) => handler.respond(&mut self.machine, output),
                DriverEvent::Item(link, item) => {
                    handler.send_item(&mut self.machine, link, item);
                    Ok(())
                }
                DriverEvent::Reader(event) => {
                    handler.handle_reader(&mut self.machine, event);
                    Ok(())
                }
                DriverEvent::Revoked(caller) => {
                    handler.revoke(&mut self.machine, &caller);
                    Ok(())
                }
                DriverEvent::Timer => self.handle_timeout(handler, write_deadline),
                DriverEvent::ReadClosed(error) => {
                    self.read_error = error;
                    Err(End::Lost)
                }
                DriverEvent::WriteFailed => {
                    // The peer may have sent messages before it closed, so keep reading.
                    self.write_failed = true;
                    self.unflushed = false;
                    Ok(())
                }
                DriverEvent::Stopping => Err(End::Stopping),
                DriverEvent::Flushed => Ok(()),
            };
            match outcome.and_then(|()| handler.handle_events(&mut self.machine)) {
                Err(end) => return end,
                // Frames before the invalid one are still handled completely.
                Ok(()) if !handler.is_idle() => {}
                Ok(()) => match input_error {
                    Some(error) => return error.into(),
                    None if self.machine.is_closed() => return End::Closed,
                    None => {}
                },
            }
        }
    }

    /// Returns the next event: output first, then the pending operation, then the end of a credential, then input. While
    /// output is pending, nothing more is read from the client.
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
        } else {
            if let Poll::Ready(output) = handler.poll_work(cx) {
                return Poll::Ready(DriverEvent::WorkDone(output));
            }
            // Before input, so that a client cannot delay it by sending.
            if let Poll::Ready(caller) = handler.poll_revoked(cx) {
                return Poll::Ready(DriverEvent::Revoked(caller));
            }
            if let Poll::Ready((link, item)) = handler.poll_item(cx) {
                return Poll::Ready(DriverEvent::Item(link, item));
            }
            if self.is_reading(handler)
                && let Poll::Ready(event) = self.poll_read(cx)
            {
                return Poll::Ready(event);
            }
            // After input, so that a client can end what it reads faster than it can handle.
            if let Poll::Ready(event) = handler.poll_reader(cx, &self.machine) {
                return Poll::Ready(DriverEvent::Reader(event));
            }
        }
        ready!(timer.poll(cx));
        Poll::Ready(DriverEvent::Timer)
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<DriverEvent> {
        READ_BUFFER.with_borrow_mut(|input| {
            let mut buffer = ReadBuf::new(input);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)) {
                Ok(()) if buffer.filled().is_empty() => Poll::Ready(DriverEvent::ReadClosed(None)),
                Ok(()) => Poll::Ready(DriverEvent::Input(
                    self.machine.handle_input(buffer.filled(), Instant::now().into_std()),
                )),
                Err(error) => Poll::Ready(DriverEvent::ReadClosed(Some(error))),
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

    /// Sets the timer. If the next deadline is after the timer's, the timer stays as it is: it fires early and is then
    /// set again.
    fn arm(&self, mut timer: Pin<&mut Sleep>, handler: &ConnectionHandler, write_deadline: Option<Instant>) {
        let machine = self.machine.poll_timeout().map(Instant::from_std).filter(|_| self.is_reading(handler));
        let next = [machine, handler.deadline, write_deadline].into_iter().flatten().min();
        let next = next.unwrap_or_else(|| Instant::now() + IDLE_WAKE_INTERVAL);
        if timer.is_elapsed() || next < timer.deadline() {
            timer.as_mut().reset(next);
        }
    }

    /// Returns whether input is being read, so that the idle time-out can be checked: input that arrived while an
    /// operation or output was pending must be read before.
    fn is_reading(&self, handler: &ConnectionHandler) -> bool {
        handler.is_idle() && self.output.is_empty() && !self.unflushed && self.machine.wants_read()
    }

    fn handle_timeout(
        &mut self,
        handler: &ConnectionHandler,
        write_deadline: Option<Instant>,
    ) -> Result<(), End> {
        let now = Instant::now();
        if write_deadline.is_some_and(|deadline| deadline <= now) {
            return Err(End::SlowReader);
        }
        if handler.deadline.is_some_and(|deadline| deadline <= now) {
            return Err(End::Revoked);
        }
        if !self.is_reading(handler) {
            return Ok(());
        }
        Ok(self.machine.handle_timeout(now.into_std())?)
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

    /// A service may have many of them open: the size must not grow unnoticed.
    #[test]
    fn a_connection_is_small() {
        type Parts<S> = (S, Peer, AmqpContext, ConnectionSlot, watch::Receiver<bool>);
        let whole = size_of_future(|(stream, peer, context, slot, stop): Parts<TlsStream<TcpStream>>| {
            serve(stream, peer, context, slot, stop)
        });
        let tls = size_of::<TlsStream<TcpStream>>();
        assert!(whole - tls <= 1600, "everything but TLS: {}", whole - tls);
    }
}
