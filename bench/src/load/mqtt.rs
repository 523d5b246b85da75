//! One MQTT connection on the client machine.

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

/// Longer than any measurement: pings are no part of it.
const KEEP_ALIVE: u16 = 1500;

thread_local! {
    /// Input of whichever connection is being read.
    static INPUT: RefCell<Box<[u8]>> = RefCell::new(vec![0; 16 * 1024].into_boxed_slice());
}

/// Who a client says it is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Login {
    pub(crate) client_id: String,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<String>,
}

/// One connection that is subscribed to one filter.
pub(crate) struct Link {
    stream: TlsStream<TcpStream>,
    machine: Connection,
    output: BytesMut,
}

impl Link {
    /// Connects, with a session that outlives the connection where `durable`, and subscribes.
    pub(crate) async fn open(
        dial: &Dial,
        login: &Login,
        filter: &str,
        durable: bool,
    ) -> anyhow::Result<Self> {
        Self::open_with_qos(dial, login, filter, QoS::AtMostOnce, durable).await
    }

    /// The same with the quality of service that is asked for.
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
            other => bail!("no CONNACK but {other:?}"),
        }
        link.machine.subscribe(&[(filter, qos)])?;
        match link.next().await? {
            Event::SubAck { codes, .. } => ensure!(codes.len() == 1, "refused: {codes:?}"),
            other => bail!("no SUBACK but {other:?}"),
        }
        Ok(link)
    }

    /// Makes a message ready; it leaves with the next [`Link::next`].
    pub(crate) fn publish(&mut self, topic: std::fmt::Arguments<'_>, payload: Bytes) -> anyhow::Result<()> {
        self.machine.publish(topic, QoS::AtMostOnce, payload)?;
        Ok(())
    }

    /// The same at QoS 1: the server acknowledges it.
    pub(crate) fn publish_qos1(
        &mut self,
        topic: std::fmt::Arguments<'_>,
        payload: Bytes,
    ) -> anyhow::Result<()> {
        self.machine.publish(topic, QoS::AtLeastOnce, payload)?;
        Ok(())
    }

    /// An event that is there already.
    pub(crate) fn try_next(&mut self) -> Option<Event> {
        self.machine.poll_event()
    }

    /// Sends what is ready, and waits for the next event.
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
                            Poll::Ready(result.context("the connection broke").and_then(|()| {
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
