//! A TLS connection that holds no buffers while it is idle.
//!
//! Records are decrypted and encrypted in buffers of the thread. A connection only keeps bytes that cannot be processed
//! yet: the beginning of an incomplete record, plaintext that did not fit into the reader's buffer, and records that
//! the socket did not accept.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::pki_types::CertificateDer;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, UnbufferedStatus};
use rustls::{ProtocolVersion, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The maximum size of a record, including the header (RFC 8446, 5.2, and RFC 5246, 6.2.3).
const MAX_RECORD: usize = 16_384 + 2048 + 5;
/// Fits the beginning of a record and a read of 16 KiB after it.
const RECEIVE_BUFFER_SIZE: usize = MAX_RECORD + 16 * 1024;
/// Maximum plaintext of one record.
const MAX_PLAINTEXT: usize = 16_384;

thread_local! {
    /// Receive buffer shared by all connections of the thread.
    static RECEIVE_BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; RECEIVE_BUFFER_SIZE].into_boxed_slice());
    /// Send buffer shared by all connections of the thread.
    static SEND_BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; MAX_RECORD].into_boxed_slice());
}

/// The server side of a TLS connection over `T`.
pub(crate) struct TlsStream<T> {
    transport: T,
    tls: UnbufferedServerConnection,
    /// The beginning of an incomplete record.
    received: Vec<u8>,
    /// Decrypted data that has not been read yet.
    plaintext: Vec<u8>,
    /// Records that the transport has not accepted yet.
    sending: Vec<u8>,
    /// Whether the peer has sent `close_notify`.
    peer_closed: bool,
    /// Whether `close_notify` or the alert for an error has been sent. Nothing may follow.
    output_closed: bool,
}

impl<T> TlsStream<T> {
    /// Returns the number of encrypted bytes that the transport has not accepted yet.
    pub(crate) fn unsent_bytes(&self) -> usize {
        self.sending.len()
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> TlsStream<T> {
    /// Runs the TLS handshake.
    pub(crate) async fn accept(transport: T, config: Arc<ServerConfig>) -> io::Result<Self> {
        let mut stream = Self {
            transport,
            tls: UnbufferedServerConnection::new(config).map_err(invalid)?,
            received: Vec::new(),
            plaintext: Vec::new(),
            sending: Vec::new(),
            peer_closed: false,
            output_closed: false,
        };
        loop {
            let mut no_room = ReadBuf::new(&mut []);
            let received = poll_fn(|cx| stream.poll_receive(cx, &mut no_room)).await;
            let done = received.is_ok() && !stream.tls.is_handshaking();
            if done && stream.tls.protocol_version() == Some(ProtocolVersion::TLSv1_3) {
                // Only session tickets are left to send: do not wait for the client to read them.
                poll_fn(|cx| Poll::Ready(stream.poll_send(cx).is_pending())).await;
                return Ok(stream);
            }
            // After an error the pending output is the alert with the reason.
            let sent = poll_fn(|cx| stream.poll_send(cx)).await;
            received.and(sent)?;
            if done {
                return Ok(stream);
            }
            if stream.peer_closed {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Returns the protocol that ALPN selected, if any.
    pub(crate) fn alpn_protocol(&self) -> Option<&[u8]> {
        self.tls.alpn_protocol()
    }

    /// Returns the certificate chain that the peer presented, its own certificate first.
    pub(crate) fn peer_certificates(&self) -> Option<&[CertificateDer<'static>]> {
        self.tls.peer_certificates()
    }

    /// Reads from the transport once and decrypts complete records into `out`, and into `plaintext` when `out` is full.
    fn poll_receive(&mut self, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        RECEIVE_BUFFER.with_borrow_mut(|buffer| {
            let kept = self.received.len();
            let (front, room) = buffer.split_at_mut_checked(kept).ok_or(io::ErrorKind::InvalidData)?;
            let mut read = ReadBuf::new(room);
            ready!(Pin::new(&mut self.transport).poll_read(cx, &mut read))?;
            if read.filled().is_empty() {
                // Without `close_notify` the data may have been truncated by an attacker.
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            let filled = kept + read.filled().len();
            front.copy_from_slice(&self.received);
            self.received = Vec::new();
            let input = buffer.get_mut(..filled).unwrap_or_default();
            let used = self.process(input, out)?;
            if let Some(rest) = input.get(used..).filter(|rest| !rest.is_empty() && !self.peer_closed) {
                self.received = rest.to_vec();
            }
            Poll::Ready(Ok(()))
        })
    }

    /// Processes the complete records of `input` and returns the number of bytes consumed.
    fn process(&mut self, input: &mut [u8], out: &mut ReadBuf<'_>) -> io::Result<usize> {
        let mut used = 0;
        loop {
            let input = input.get_mut(used..).unwrap_or_default();
            let UnbufferedStatus { mut discard, state } = self.tls.process_tls_records(input);
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(invalid)?;
                        discard += record.discard;
                        let fits = if self.plaintext.is_empty() { out.remaining() } else { 0 };
                        let (now, later) = record.payload.split_at(fits.min(record.payload.len()));
                        out.put_slice(now);
                        self.plaintext.extend_from_slice(later);
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => encode(&mut data, &mut self.sending)?,
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => self.peer_closed = true,
                // More input is needed.
                Ok(_) => return Ok(used + discard),
                Err(error) => {
                    self.encode_alert();
                    return Err(invalid(error));
                }
            }
            used += discard;
        }
    }

    /// Appends the alert for an error to `sending`. The alert is the last output: after an error rustls must not be asked
    /// to process anything, because it still refers to messages in the input, and panics if they are not there.
    fn encode_alert(&mut self) {
        self.output_closed = true;
        while self.tls.wants_write() {
            let state = self.tls.process_tls_records(&mut []).state;
            let Ok(ConnectionState::EncodeTlsData(mut data)) = state else { return };
            if encode(&mut data, &mut self.sending).is_err() {
                return;
            }
        }
    }

    /// Writes `sending` to the transport.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.sending.is_empty() {
            match ready!(Pin::new(&mut self.transport).poll_write(cx, &self.sending))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                all if all == self.sending.len() => self.sending = Vec::new(),
                some => drop(self.sending.drain(..some)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Encrypts `data` into `out`. Records that must be sent before it are appended to `sending`.
    fn encrypt(&mut self, data: &[u8], out: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.output_closed {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            // rustls may refer to the beginning of a handshake message in `received`, and panics if it is not there.
            let UnbufferedStatus { discard, state } = self.tls.process_tls_records(&mut self.received);
            match state.map_err(invalid)? {
                ConnectionState::WriteTraffic(mut traffic) => {
                    return traffic.encrypt(data, out).map_err(invalid);
                }
                ConnectionState::EncodeTlsData(mut data) => encode(&mut data, &mut self.sending)?,
                ConnectionState::TransmitTlsData(data) => data.done(),
                ConnectionState::PeerClosed => self.peer_closed = true,
                _ => return Err(io::ErrorKind::BrokenPipe.into()),
            }
            self.received.drain(..discard.min(self.received.len()));
        }
    }
}

/// Appends a handshake record, a ticket, a key update or an alert to `sending`.
fn encode<D>(data: &mut EncodeTlsData<'_, D>, sending: &mut Vec<u8>) -> io::Result<()> {
    if let Err(EncodeError::InsufficientSize(needed)) = data.encode(&mut []) {
        let start = sending.len();
        sending.resize(start + needed.required_size, 0);
        data.encode(sending.get_mut(start..).unwrap_or_default()).map_err(invalid)?;
    }
    Ok(())
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsStream<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = out.filled().len();
        loop {
            if !this.plaintext.is_empty() {
                let now = this.plaintext.len().min(out.remaining());
                out.put_slice(this.plaintext.get(..now).unwrap_or_default());
                if now == this.plaintext.len() {
                    this.plaintext = Vec::new();
                } else {
                    this.plaintext.drain(..now);
                }
            }
            if out.filled().len() > before || out.remaining() == 0 || this.peer_closed {
                return Poll::Ready(Ok(()));
            }
            // Sends tickets and responses to key updates. Reading does not wait until the transport accepts them.
            let _ = this.poll_send(cx)?;
            ready!(this.poll_receive(cx, out))?;
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsStream<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_send(cx))?;
        let chunk = data.get(..MAX_PLAINTEXT).unwrap_or(data);
        SEND_BUFFER.with_borrow_mut(|buffer| {
            let length = this.encrypt(chunk, buffer)?;
            let record = buffer.get(..length).unwrap_or_default();
            let written = if this.sending.is_empty() {
                match Pin::new(&mut this.transport).poll_write(cx, record)? {
                    Poll::Ready(written) => written,
                    Poll::Pending => 0,
                }
            } else {
                0
            };
            // A record cannot be encrypted again, so keep the bytes that the transport did not accept.
            this.sending.extend_from_slice(record.get(written..).unwrap_or_default());
            Poll::Ready(Ok(chunk.len()))
        })
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_send(cx))?;
        Pin::new(&mut this.transport).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !mem::replace(&mut this.output_closed, true) {
            let close_notify = SEND_BUFFER.with_borrow_mut(|buffer| {
                match this.tls.process_tls_records(&mut this.received).state.map_err(invalid)? {
                    ConnectionState::WriteTraffic(mut traffic) => {
                        let length = traffic.queue_close_notify(buffer).map_err(invalid)?;
                        io::Result::Ok(buffer.get(..length).unwrap_or_default().to_vec())
                    }
                    _ => Ok(Vec::new()),
                }
            })?;
            this.sending.extend_from_slice(&close_notify);
        }
        ready!(this.poll_send(cx))?;
        Pin::new(&mut this.transport).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use rustls::crypto::ring::default_provider;
    use rustls::pki_types::{PrivateKeyDer, ServerName};
    use rustls::version::{TLS12, TLS13};
    use rustls::{ClientConfig, ConnectionTrafficSecrets, RootCertStore, SupportedProtocolVersion};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
    use tokio_rustls::TlsConnector;

    use super::*;

    type Client = tokio_rustls::client::TlsStream<DuplexStream>;

    fn configurations(version: &'static SupportedProtocolVersion) -> (Arc<ClientConfig>, Arc<ServerConfig>) {
        let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let chain = vec![own.cert.der().clone()];
        let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(default_provider());
        let server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(own.cert.der().clone()).unwrap();
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        // For tests that encrypt records themselves.
        client.enable_secret_extraction = true;
        (Arc::new(client), Arc::new(server))
    }

    /// Returns a client and a server after their handshake, over a pipe with a capacity of `room` bytes.
    async fn pair(
        version: &'static SupportedProtocolVersion,
        room: usize,
    ) -> (Client, TlsStream<DuplexStream>) {
        let (client, server) = configurations(version);
        let (near, far) = duplex(room);
        let name = ServerName::try_from("localhost").unwrap();
        let connected = TlsConnector::from(client).connect(name, near);
        let (client, server) = tokio::join!(connected, TlsStream::accept(far, server));
        (client.unwrap(), server.unwrap())
    }

    /// In both directions, with both TLS versions, and with pipe capacities from a few bytes to more than the data.
    #[tokio::test]
    async fn all_data_arrives_in_order_with_any_pipe_capacity() {
        let data: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
        for version in [&TLS12, &TLS13] {
            for room in [7, 50, 1000, 20_000, 1_000_000] {
                let data = if room < 100 { &data[..5000] } else { &data[..] };
                let (client, server) = pair(version, room).await;
                let (mut client_read, mut client_write) = tokio::io::split(client);
                let (mut server_read, mut server_write) = tokio::io::split(server);
                let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
                let send = async |write: &mut (dyn AsyncWrite + Unpin + Send)| {
                    write.write_all(data).await.unwrap();
                    write.shutdown().await.unwrap();
                };
                let (_, _, a, b) = tokio::join!(
                    send(&mut client_write),
                    send(&mut server_write),
                    server_read.read_to_end(&mut to_server),
                    client_read.read_to_end(&mut to_client),
                );
                a.unwrap();
                b.unwrap();
                assert!(to_server == data && to_client == data, "{version:?} {room}");
            }
        }
    }

    /// Returns the client's socket, and a TLS 1.3 record with handshake messages, encrypted as the client would.
    fn handshake_record(client: Client, messages: &[u8]) -> (DuplexStream, Vec<u8>) {
        use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
        const HANDSHAKE: u8 = 22;
        let (socket, tls) = client.into_inner();
        let (sequence, secrets) = tls.dangerous_extract_secrets().unwrap().tx;
        let ConnectionTrafficSecrets::Aes256Gcm { key, iv } = secrets else { panic!("another cipher suite") };
        let mut nonce: [u8; 12] = iv.as_ref().try_into().unwrap();
        nonce[4..].iter_mut().zip(sequence.to_be_bytes()).for_each(|(byte, counter)| *byte ^= counter);
        let mut content = [messages, &[HANDSHAKE]].concat();
        let length = u16::try_from(content.len() + 16).unwrap().to_be_bytes();
        let header = [23, 3, 3, length[0], length[1]];
        LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.as_ref()).unwrap())
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(header), &mut content)
            .unwrap();
        (socket, [&header[..], &content].concat())
    }

    /// Regression test: rustls panicked, because the beginning of the message was no longer in the buffer.
    #[tokio::test]
    async fn a_client_that_sends_half_a_handshake_message_still_gets_data() {
        let (client, mut server) = pair(&TLS13, 64 * 1024).await;
        // A key update of one byte, of which only the header arrives.
        let (mut socket, record) = handshake_record(client, &[24, 0, 0, 1]);
        socket.write_all(&record).await.unwrap();
        let read = poll_fn(|cx| {
            let mut buffer = [0; 10];
            Poll::Ready(Pin::new(&mut server).poll_read(cx, &mut ReadBuf::new(&mut buffer)).is_pending())
        });
        assert!(read.await, "the message is not complete");
        server.write_all(b"data").await.unwrap();
        server.shutdown().await.unwrap();
    }

    /// Regression test: rustls panicked, because the second message was no longer in the buffer.
    #[tokio::test]
    async fn an_error_in_the_first_of_two_handshake_messages_is_answered_with_an_alert() {
        let (client, mut server) = pair(&TLS13, 64 * 1024).await;
        // Two messages `Finished`, which nobody expects.
        let (mut socket, record) = handshake_record(client, &[20, 0, 0, 0, 20, 0, 0, 0]);
        socket.write_all(&record).await.unwrap();
        server.read_u8().await.unwrap_err();
        server.write_all(b"data").await.unwrap_err();
        server.shutdown().await.unwrap();
        let mut sent = Vec::new();
        socket.read_to_end(&mut sent).await.unwrap();
        // Tickets, then one record with an alert: two bytes, the type and the tag.
        assert_eq!(sent.get(sent.len() - 24..sent.len() - 19), Some(&[23, 3, 3, 0, 19][..]));
    }

    #[tokio::test]
    async fn an_idle_connection_holds_no_buffers() {
        let (mut client, mut server) = pair(&TLS13, 64 * 1024).await;
        for _ in 0..3 {
            client.write_all(&[1; 5000]).await.unwrap();
            client.flush().await.unwrap();
            let mut answer = [0; 5000];
            // In small chunks, so that plaintext has to be kept between them.
            for chunk in answer.chunks_mut(100) {
                server.read_exact(chunk).await.unwrap();
            }
            server.write_all(&answer).await.unwrap();
            server.flush().await.unwrap();
            client.read_exact(&mut answer).await.unwrap();
        }
        let held = [&server.received, &server.plaintext, &server.sending].map(Vec::capacity);
        assert_eq!(held, [0; 3]);
    }

    #[tokio::test]
    async fn a_connection_that_closes_without_close_notify_is_an_error() {
        let (mut client, mut server) = pair(&TLS13, 1000).await;
        client.shutdown().await.unwrap();
        assert_eq!(server.read(&mut [0; 10]).await.unwrap(), 0);
        let (client, mut server) = pair(&TLS13, 1000).await;
        drop(client);
        let error = server.read(&mut [0; 10]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn bytes_that_are_not_tls_get_an_alert() {
        let (mut client, far) = duplex(1000);
        let (_, config) = configurations(&TLS13);
        client.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        let accepted = TlsStream::accept(far, config).await;
        assert_eq!(accepted.err().unwrap().kind(), io::ErrorKind::InvalidData);
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer.first(), Some(&21), "an alert: {answer:?}");
    }
}
