//! A NATS connection: the part of the text protocol that requests and replies need.

use anyhow::{Context as _, bail, ensure};
use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::dial::Dial;

/// A received message.
pub(crate) struct Message {
    pub(crate) subject: String,
    pub(crate) reply: String,
    pub(crate) payload: Bytes,
}

/// A connection with one subscription.
pub(crate) struct NatsLink {
    stream: TlsStream<TcpStream>,
    input: BytesMut,
    output: BytesMut,
}

impl NatsLink {
    /// Connects and subscribes. The server sends INFO unencrypted; TLS starts after it.
    pub(crate) async fn open(dial: &Dial, subject: &str) -> anyhow::Result<Self> {
        let mut tcp = dial.tcp().await?;
        let mut byte = [0];
        while byte != *b"\n" {
            tcp.read_exact(&mut byte).await.context("the server sent no INFO")?;
        }
        let stream = dial.handshake(tcp).await?;
        let mut link = Self { stream, input: BytesMut::new(), output: BytesMut::new() };
        let hello = r#"CONNECT {"verbose":false,"pedantic":false,"tls_required":true,"headers":true,"lang":"bench","version":"1"}"#;
        link.output.extend_from_slice(format!("{hello}\r\nSUB {subject} 1\r\nPING\r\n").as_bytes());
        link.flush().await?;
        loop {
            let line = link.line().await?;
            if line == "PONG" {
                return Ok(link);
            }
            ensure!(!line.starts_with("-ERR"), "{line}");
        }
    }

    /// Queues a message. The next [`NatsLink::next`] sends it.
    pub(crate) fn publish(&mut self, subject: &str, reply: Option<&str>, payload: &[u8]) {
        let head = match reply {
            Some(reply) => format!("PUB {subject} {reply} {}\r\n", payload.len()),
            None => format!("PUB {subject} {}\r\n", payload.len()),
        };
        self.output.extend_from_slice(head.as_bytes());
        self.output.extend_from_slice(payload);
        self.output.extend_from_slice(b"\r\n");
    }

    /// Queues a message with headers. Each header ends with CR LF.
    pub(crate) fn publish_with(&mut self, subject: &str, reply: &str, headers: &str, payload: &[u8]) {
        let head = format!("NATS/1.0\r\n{headers}\r\n");
        let total = head.len() + payload.len();
        self.output
            .extend_from_slice(format!("HPUB {subject} {reply} {} {total}\r\n{head}", head.len()).as_bytes());
        self.output.extend_from_slice(payload);
        self.output.extend_from_slice(b"\r\n");
    }

    /// Sends the queued messages, and waits for the next message.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Message> {
        loop {
            self.flush().await?;
            let line = self.line().await?;
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                ["MSG", subject, _, middle @ .., length] => {
                    let reply = middle.first().copied().unwrap_or_default().to_owned();
                    let subject = (*subject).to_owned();
                    let payload = self.body(length.parse()?).await?;
                    return Ok(Message { subject, reply, payload });
                }
                ["HMSG", subject, _, middle @ .., headers, total] => {
                    let reply = middle.first().copied().unwrap_or_default().to_owned();
                    let subject = (*subject).to_owned();
                    let headers: usize = headers.parse()?;
                    let mut payload = self.body(total.parse()?).await?;
                    payload.advance(headers.min(payload.len()));
                    return Ok(Message { subject, reply, payload });
                }
                ["PING"] => self.output.extend_from_slice(b"PONG\r\n"),
                ["PONG"] | ["INFO", ..] => {}
                _ => bail!("{line}"),
            }
        }
    }

    async fn body(&mut self, length: usize) -> anyhow::Result<Bytes> {
        while self.input.len() < length + 2 {
            self.fill().await?;
        }
        let body = self.input.split_to(length).freeze();
        self.input.advance(2);
        Ok(body)
    }

    async fn flush(&mut self) -> anyhow::Result<()> {
        if !self.output.is_empty() {
            self.stream.write_all(&self.output).await?;
            self.stream.flush().await?;
            self.output.clear();
        }
        Ok(())
    }

    async fn line(&mut self) -> anyhow::Result<String> {
        loop {
            if let Some(end) = self.input.iter().position(|&byte| byte == b'\n') {
                let line = self.input.split_to(end + 1);
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> anyhow::Result<()> {
        let read = self.stream.read_buf(&mut self.input).await?;
        ensure!(read > 0, "the server closed the connection");
        Ok(())
    }
}
