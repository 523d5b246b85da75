//! An MQTT connection, on the client state machine of `ferrohub-mqtt`.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::Poll;
use std::time::Instant;

use anyhow::{Context as _, bail, ensure};
use bytes::{Bytes, BytesMut};
use ferrohub_mqtt::client::{Config, Connection, Event, Session};
use ferrohub_mqtt::{Connect, QoS};
use tokio::io::{AsyncRead as _, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::dial::Dial;

/// Longer than any measurement, so that no pings are measured.
const KEEP_ALIVE: u16 = 1500;

thread_local! {
    /// Read buffer of all connections of the thread.
    static INPUT: RefCell<Box<[u8]>> = RefCell::new(vec![0; 16 * 1024].into_boxed_slice());
}

/// Client id and credentials.
#[derive(Debug, Clone, Default)]
pub(crate) struct Login {
    pub(crate) client_id: String,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<String>,
}

/// A connection with one subscription.
pub(crate) struct Link {
    stream: TlsStream<TcpStream>,
    machine: Connection,
    output: BytesMut,
}

impl Link {
    /// Connects and subscribes. If `durable`, the session is persistent.
    pub(crate) async fn open(
        dial: &Dial,
        login: &Login,
        filter: &str,
        durable: bool,
    ) -> anyhow::Result<Self> {
        Self::open_with_qos(dial, login, filter, QoS::AtMostOnce, durable).await
    }

    /// Like [`Link::open`], with a QoS for the subscription.
    pub(crate) async fn open_with_qos(
        dial: &Dial,
        login: &Login,
        filter: &str,
        qos: QoS,
        durable: bool,
    ) -> anyhow::Result<Self> {
        static CONFIG: LazyLock<Arc<Config>> = LazyLock::new(Arc::default);
        let connect = Connect {
            client_id: login.client_id.as_str().try_into()?,
            clean_session: !durable,
            keep_alive: KEEP_ALIVE,
            username: login.username.as_deref().map(TryInto::try_into).transpose()?,
            password: login.password.clone().map(Bytes::from),
            will: None,
        };
        let stream = dial.tls().await?;
        let machine = Connection::connect(CONFIG.clone(), &connect, Session::default(), Instant::now())?;
        let mut link = Self { stream, machine, output: BytesMut::new() };
        match link.next().await? {
            Event::Connected { .. } => {}
            other => bail!("expected CONNACK, got {other:?}"),
        }
        link.machine.subscribe(&[(filter, qos)])?;
        match link.next().await? {
            Event::SubAck { codes, .. } => ensure!(codes.len() == 1, "refused: {codes:?}"),
            other => bail!("expected SUBACK, got {other:?}"),
        }
        Ok(link)
    }

    /// Queues a message at QoS 0. The next [`Link::next`] sends it.
    pub(crate) fn publish(&mut self, topic: std::fmt::Arguments<'_>, payload: Bytes) -> anyhow::Result<()> {
        self.machine.publish(topic, QoS::AtMostOnce, payload)?;
        Ok(())
    }

    /// Queues a message at QoS 1. The next [`Link::next`] sends it.
    pub(crate) fn publish_qos1(
        &mut self,
        topic: std::fmt::Arguments<'_>,
        payload: Bytes,
    ) -> anyhow::Result<()> {
        self.machine.publish(topic, QoS::AtLeastOnce, payload)?;
        Ok(())
    }

    /// Returns an event that is available without waiting.
    pub(crate) fn try_next(&mut self) -> Option<Event> {
        self.machine.poll_event()
    }

    /// Sends the queued messages, and waits for the next event.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Event> {
        loop {
            self.machine.poll_transmit(&mut self.output);
            if !self.output.is_empty() {
                self.stream.write_all(&self.output).await?;
                self.stream.flush().await?;
                self.output = BytesMut::new();
            }
            if let Some(event) = self.machine.poll_event() {
                return Ok(event);
            }
            poll_fn(|cx| {
                INPUT.with_borrow_mut(|input| {
                    let mut buffer = ReadBuf::new(input);
                    match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
                        Poll::Pending => Poll::Pending,
                        Poll::Ready(Ok(())) if buffer.filled().is_empty() => {
                            Poll::Ready(Err(anyhow::anyhow!("the server closed the connection")))
                        }
                        Poll::Ready(result) => {
                            Poll::Ready(result.context("the connection failed").and_then(|()| {
                                Ok(self.machine.handle_input(buffer.filled(), Instant::now())?)
                            }))
                        }
                    }
                })
            })
            .await?;
        }
    }
}
