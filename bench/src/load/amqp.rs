//! An AMQP 1.0 connection, on the state machine of `ferrohub-amqp`.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::Poll;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use bytes::BytesMut;
use ferrohub_amqp::performative::{Attach, DeliveryState, Outcome, Role, SenderSettleMode, Source, Target};
use ferrohub_amqp::{Config, Connection, Credentials, Event, LinkId, Outbound, SessionId};
use tokio::io::{AsyncRead as _, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::dial::Dial;

/// Messages that a receiver may be sent ahead.
const CREDIT: u32 = 2000;

/// A connection with one session.
pub(crate) struct AmqpLink {
    stream: TlsStream<TcpStream>,
    machine: Connection,
    session: SessionId,
    output: BytesMut,
    input: Box<[u8]>,
}

impl AmqpLink {
    /// Connects with SASL PLAIN.
    pub(crate) async fn open(dial: &Dial, user: &str, password: &str) -> anyhow::Result<Self> {
        static CONFIG: LazyLock<Arc<Config>> = LazyLock::new(Arc::default);
        let response = Some(format!("\0{user}\0{password}").into_bytes().into());
        let credentials = Credentials { mechanism: "PLAIN", response };
        let mut machine = Connection::connect(CONFIG.clone(), Some(credentials), Instant::now());
        let mut stream = dial.tls().await?;
        let (mut output, mut input) = (BytesMut::new(), vec![0; 64 * 1024].into_boxed_slice());
        match next(&mut stream, &mut machine, &mut output, &mut input).await? {
            Event::Open(_) => {}
            other => bail!("expected open, got {other:?}"),
        }
        let session = machine.begin()?;
        Ok(Self { stream, machine, session, output, input })
    }

    /// Attaches a link on which messages are received settled.
    pub(crate) async fn receive_from(&mut self, address: &str) -> anyhow::Result<LinkId> {
        self.attach(address, Role::Receiver).await
    }

    /// Attaches a link on which messages are sent settled.
    pub(crate) async fn send_to(&mut self, address: &str) -> anyhow::Result<LinkId> {
        self.attach(address, Role::Sender).await
    }

    /// Attaches a link on which messages are sent that the server settles.
    pub(crate) async fn send_unsettled_to(&mut self, address: &str) -> anyhow::Result<LinkId> {
        self.attach_with(address, Role::Sender, SenderSettleMode::Unsettled).await
    }

    async fn attach(&mut self, address: &str, role: Role) -> anyhow::Result<LinkId> {
        self.attach_with(address, role, SenderSettleMode::Settled).await
    }

    async fn attach_with(
        &mut self,
        address: &str,
        role: Role,
        mode: SenderSettleMode,
    ) -> anyhow::Result<LinkId> {
        let attach = Attach {
            name: address,
            role,
            snd_settle_mode: Some(mode),
            source: Some(Source { address: Some(address), ..Source::default() }),
            target: Some(Target { address: Some(address), ..Target::default() }),
            ..Attach::default()
        };
        let link = self.machine.attach(self.session, &attach, CREDIT)?;
        loop {
            match self.next().await? {
                Event::Attach { attach, .. } if attach.get().source.is_some() => return Ok(link),
                Event::Detach { error, .. } => bail!("{address} is refused: {error:?}"),
                _ => {}
            }
        }
    }

    /// Sends a message, once the receiver takes it.
    pub(crate) async fn send(&mut self, link: LinkId, payload: &[u8]) -> anyhow::Result<()> {
        while self.machine.credit(link) == 0 {
            let _ = self.next().await?;
        }
        while !self.machine.can_send(link) {
            self.flush().await?;
            if !self.machine.can_send(link) {
                let _ = self.next().await?;
            }
        }
        let message = Outbound { tag: b"t", settled: true, payload, message_format: 0 };
        let _ = self.machine.send(link, &message)?;
        Ok(())
    }

    /// Sends messages on the links in turn for `time`, with `in_flight` of them not settled yet, then waits for the rest.
    /// Returns how many were accepted; one that is not is an error.
    pub(crate) async fn send_confirmed(
        &mut self,
        links: &[LinkId],
        in_flight: usize,
        time: Duration,
        mut message: impl FnMut(&mut BytesMut),
    ) -> anyhow::Result<u64> {
        let begun = Instant::now();
        let (mut sent, mut accepted, mut payload) = (0_u64, 0_u64, BytesMut::new());
        let mut links = links.iter().copied().cycle();
        let mut link = links.next().context("no link")?;
        loop {
            while (sent - accepted) < in_flight as u64
                && begun.elapsed() < time
                && self.machine.credit(link) > 0
                && self.machine.can_send(link)
            {
                payload.clear();
                message(&mut payload);
                let tag = sent.to_be_bytes();
                let outbound = Outbound { tag: &tag, settled: false, payload: &payload, message_format: 0 };
                let _ = self.machine.send(link, &outbound)?;
                sent += 1;
                link = links.next().unwrap_or(link);
            }
            if sent == accepted && begun.elapsed() >= time {
                return Ok(accepted);
            }
            match self.next().await? {
                Event::Outcome { outcome: Some(Outcome::Accepted), link, delivery, settled } => {
                    accepted += 1;
                    if !settled {
                        self.machine.settle_sent(link, delivery, &DeliveryState::Accepted)?;
                    }
                }
                Event::Outcome { outcome, .. } => bail!("a message is not accepted: {outcome:?}"),
                Event::Detach { error, .. } => bail!("the link has ended: {error:?}"),
                _ => {}
            }
        }
    }

    /// Writes what is to be sent.
    pub(crate) async fn flush(&mut self) -> anyhow::Result<()> {
        flush(&mut self.stream, &mut self.machine, &mut self.output).await
    }

    /// Returns when so many messages have arrived.
    pub(crate) async fn receive(&mut self, count: u64) -> anyhow::Result<()> {
        let mut received = 0;
        while received < count {
            match self.next().await? {
                Event::Delivery(_) => received += 1,
                Event::Detach { error, .. } => bail!("the link has ended: {error:?}"),
                _ => {}
            }
        }
        Ok(())
    }

    async fn next(&mut self) -> anyhow::Result<Event> {
        next(&mut self.stream, &mut self.machine, &mut self.output, &mut self.input).await
    }
}

async fn flush(
    stream: &mut TlsStream<TcpStream>,
    machine: &mut Connection,
    output: &mut BytesMut,
) -> anyhow::Result<()> {
    machine.poll_transmit(output);
    if !output.is_empty() {
        stream.write_all(output).await?;
        stream.flush().await?;
        *output = BytesMut::new();
    }
    Ok(())
}

/// Returns the next event. What is to be sent is written when nothing is left to handle.
async fn next(
    stream: &mut TlsStream<TcpStream>,
    machine: &mut Connection,
    output: &mut BytesMut,
    input: &mut [u8],
) -> anyhow::Result<Event> {
    loop {
        if let Some(event) = machine.poll_event() {
            return Ok(event);
        }
        flush(stream, machine, output).await?;
        let read = poll_fn(|cx| {
            let mut buffer = ReadBuf::new(input);
            match Pin::new(&mut *stream).poll_read(cx, &mut buffer) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(result) => Poll::Ready(result.map(|()| buffer.filled().len())),
            }
        });
        let read = read.await.context("the connection failed")?;
        anyhow::ensure!(read > 0, "the server closed the connection");
        machine.handle_input(input.get(..read).unwrap_or_default(), Instant::now())?;
    }
}
