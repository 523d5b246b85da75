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

use super::head::{Done, Head};
use super::telemetry;
use crate::listener::Place;
use crate::peer::Peer;

/// Limits of the MQTT head.
#[derive(Debug, Clone)]
pub struct MqttLimits {
    /// Limits of the protocol machine.
    pub machine: Arc<Config>,
    /// How long a device may leave what it is sent unread.
    pub write_timeout: Duration,
}

/// Enough for a TLS record.
const READ_BUFFER: usize = 16 * 1024;
/// When to look again if nothing is due.
const NOTHING_DUE: Duration = Duration::from_secs(3600);

thread_local! {
    /// Input of whichever connection is being read; the machine keeps only what is incomplete.
    static INPUT: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BUFFER].into_boxed_slice());
}

/// What made the driver wake up.
enum Wake {
    /// Input was handed to the machine.
    Input(Result<(), ProtocolError>),
    /// The peer closed its side, or the transport failed.
    Ended,
    /// The transport takes no more output.
    Broken,
    /// Work for the device is done.
    Done(Result<Done, CloseReason>),
    /// Messages for the device were found.
    Messages(Result<Vec<StoredMessage>, CloseReason>),
    /// The hub has something to send or says to close.
    Outgoing(Outgoing),
    /// A deadline passed.
    Timer,
    /// All output is with the operating system.
    Written,
}

struct Driver<S> {
    stream: S,
    machine: Machine,
    output: BytesMut,
    /// Whether something was written since the last flush.
    unflushed: bool,
    /// Nothing can be written any more; what the peer said before is still read.
    broken: bool,
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
    place: Place,
) -> impl Future<Output = ()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut driver = Driver {
        stream,
        machine: Machine::new(limits.machine, Instant::now().into_std()),
        output: BytesMut::new(),
        unflushed: false,
        broken: false,
        write_timeout: limits.write_timeout,
    };
    let mut head = Head::new(hub, peer, place);
    async move {
        let reason = driver.run(&mut head).await;
        Box::pin(end(driver, head, reason)).await;
    }
}

/// Takes leave: of the hub, then of the device.
async fn end<S>(mut driver: Driver<S>, mut head: Head, reason: CloseReason)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if is_worth_waiting(reason) && !driver.broken {
        // What is on its way to the disk gets there anyway: a device that is not told sends it again.
        let told = head.tell_last(&mut driver.machine);
        if tokio::time::timeout(driver.write_timeout, told).await.is_err() {
            debug!(peer = %head.peer.address, "closed before the work for it was done");
        }
    }
    head.end_messages().await;
    if let Some(connection) = &head.connection {
        let reason = connection.closed().unwrap_or(reason);
        head.hub.disconnected(connection, reason).await;
        if let Some(will) = head.will.take() {
            telemetry::send_will(&head.hub, connection, will, reason).await;
        }
    } else {
        debug!(peer = %head.peer.address, reason = reason.name(), "closed before it was connected");
    }
    // What is left to send may be the CONNACK that tells why.
    let _ = tokio::time::timeout(driver.write_timeout, driver.finish()).await;
}

/// Whether a device whose connection ends for this reason hears what it is told last, and may be told.
fn is_worth_waiting(reason: CloseReason) -> bool {
    matches!(reason, CloseReason::Stopping | CloseReason::Expired | CloseReason::CredentialChanged)
}

impl<S: AsyncRead + AsyncWrite + Unpin> Driver<S> {
    async fn run(&mut self, head: &mut Head) -> CloseReason {
        let mut timer = pin!(sleep_until(Instant::now()));
        let mut write_deadline: Option<Instant> = None;
        let mut broken_input: Option<ProtocolError> = None;
        loop {
            self.machine.poll_transmit(&mut self.output);
            if self.broken {
                self.output = BytesMut::new();
            }
            write_deadline = match (self.output.is_empty() && !self.unflushed, write_deadline) {
                (true, _) => None,
                (false, None) => Some(Instant::now() + self.write_timeout),
                (false, running) => running,
            };
            self.arm(timer.as_mut(), head, write_deadline);
            let more_to_hear = match poll_fn(|cx| self.poll_wake(cx, head, timer.as_mut())).await {
                Wake::Input(result) => {
                    head.heard();
                    broken_input = result.err();
                    Ok(true)
                }
                Wake::Done(done) => done.and_then(|done| done.tell(&mut self.machine)).map(|()| true),
                wake => self.act_on(wake, head, write_deadline).map(|()| false),
            };
            let outcome = match more_to_hear {
                Ok(true) => head.handle_events(&mut self.machine).await,
                Ok(false) => Ok(()),
                Err(reason) => Err(reason),
            };
            match (outcome, broken_input) {
                (Err(reason), _) => return reason,
                // Events of packets before an offending one still count, and so does work for them.
                (Ok(()), Some(error)) if head.is_free() => return self.protocol_error(head, &error),
                (Ok(()), _) if self.machine.is_closed() && head.is_free() => {
                    return CloseReason::ProtocolError;
                }
                (Ok(()), _) => {}
            }
        }
    }

    /// What is done at once. An error ends the connection.
    fn act_on(
        &mut self,
        wake: Wake,
        head: &mut Head,
        write_deadline: Option<Instant>,
    ) -> Result<(), CloseReason> {
        match wake {
            Wake::Outgoing(Outgoing::Method(method)) => head.send_method(&mut self.machine, &method),
            Wake::Outgoing(Outgoing::Desired(notice)) => head.send_desired(&mut self.machine, &notice),
            Wake::Outgoing(Outgoing::Messages) => {
                head.look_for_messages(self.machine.max_in_flight());
                Ok(())
            }
            Wake::Outgoing(Outgoing::Close(reason)) => Err(reason),
            Wake::Messages(found) => head.send_messages(&mut self.machine, &found?),
            Wake::Ended => Err(CloseReason::Lost),
            Wake::Broken => {
                // A goodbye may have come before the peer closed.
                self.broken = true;
                self.unflushed = false;
                Ok(())
            }
            Wake::Timer => self.timed_out(head, write_deadline),
            Wake::Input(_) | Wake::Done(_) | Wake::Written => Ok(()),
        }
    }

    /// Output first, then input, then what the hub wants to send: nobody who does not read is read or
    /// sent more.
    fn poll_wake(&mut self, cx: &mut Context<'_>, head: &mut Head, timer: Pin<&mut Sleep>) -> Poll<Wake> {
        if !self.output.is_empty() || self.unflushed {
            match self.poll_write(cx) {
                Poll::Ready(Ok(())) => return Poll::Ready(Wake::Written),
                Poll::Ready(Err(_)) => return Poll::Ready(Wake::Broken),
                Poll::Pending => {}
            }
            // A hub that wants to close does not wait for a device that does not read.
            if let Some(reason) = head.connection.as_ref().and_then(|connection| connection.closed()) {
                return Poll::Ready(Wake::Outgoing(Outgoing::Close(reason)));
            }
        } else {
            if let Poll::Ready(done) = head.poll_work(cx) {
                return Poll::Ready(Wake::Done(done));
            }
            if head.may_hear()
                && self.machine.wants_read()
                && let Poll::Ready(wake) = self.poll_read(cx)
                // What a device sent before it went still counts; its end is seen again.
                && !(head.has_gathered() && matches!(wake, Wake::Ended))
            {
                return Poll::Ready(wake);
            }
            if head.has_gathered() {
                head.write_gathered();
                if let Poll::Ready(done) = head.poll_work(cx) {
                    return Poll::Ready(Wake::Done(done));
                }
            }
            if let Some(connection) = &head.connection
                && let Poll::Ready(outgoing) = connection.poll_outgoing(cx)
            {
                return Poll::Ready(Wake::Outgoing(outgoing));
            }
            if !self.broken
                && let Poll::Ready(found) = head.poll_messages(cx)
            {
                return Poll::Ready(Wake::Messages(found));
            }
        }
        ready!(timer.poll(cx));
        Poll::Ready(Wake::Timer)
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Wake> {
        INPUT.with_borrow_mut(|input| {
            let mut buffer = ReadBuf::new(input);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)) {
                Ok(()) if buffer.filled().is_empty() => Poll::Ready(Wake::Ended),
                Ok(()) => Poll::Ready(Wake::Input(
                    self.machine.handle_input(buffer.filled(), Instant::now().into_std()),
                )),
                Err(_) => Poll::Ready(Wake::Ended),
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
    fn arm(&self, mut timer: Pin<&mut Sleep>, head: &Head, write_deadline: Option<Instant>) {
        let machine = self.machine.poll_timeout().map(Instant::from_std).filter(|_| self.listens(head));
        let next = [machine, head.expires, write_deadline].into_iter().flatten().min();
        let next = next.unwrap_or_else(|| Instant::now() + NOTHING_DUE);
        if timer.is_elapsed() || next < timer.deadline() {
            timer.as_mut().reset(next);
        }
    }

    /// Whether silence is the device's own. While work for it is under way or output waits, it is not read, and what
    /// it said meanwhile is read before it is judged.
    fn listens(&self, head: &Head) -> bool {
        head.may_hear() && self.output.is_empty() && !self.unflushed
    }

    fn timed_out(&mut self, head: &Head, write_deadline: Option<Instant>) -> Result<(), CloseReason> {
        let now = Instant::now();
        if head.expires.is_some_and(|expires| expires <= now) {
            return Err(CloseReason::Expired);
        }
        if write_deadline.is_some_and(|deadline| deadline <= now) {
            return Err(CloseReason::SlowReader);
        }
        if !self.listens(head) {
            return Ok(());
        }
        match self.machine.handle_timeout(now.into_std()) {
            Ok(()) => Ok(()),
            Err(error) => Err(self.protocol_error(head, &error)),
        }
    }

    fn protocol_error(&self, head: &Head, error: &ProtocolError) -> CloseReason {
        debug!(peer = %head.peer.address, device = head.connection.as_ref().map(|c| c.id.as_str()), %error, "protocol error");
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
        type Parts<S> = (S, Peer, Arc<Hub>, MqttLimits, Place);
        let whole = size_of_future(|(stream, peer, hub, limits, place): Parts<TlsStream<TcpStream>>| {
            serve(stream, peer, hub, limits, place)
        });
        let tls = size_of::<TlsStream<TcpStream>>();
        assert!(tls <= 1216, "TLS: {tls}");
        assert!(whole - tls <= 960, "everything else: {}", whole - tls);
    }
}
