//! The baseline server, which only moves the same bytes over the same TLS connections.
//!
//! It reads a request of a caller, writes a request of the same size to a device, reads the response, and writes a
//! response of the same size to the caller. It parses, checks and stores nothing: the remaining cost is that of TLS,
//! the runtime and the kernel.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use clap::Args;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::sync::{mpsc, oneshot};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::{Environment, Protocol, Server, ServerSpec, free_address};

/// Flags of the baseline server.
#[derive(Debug, Args)]
pub(crate) struct BaselineArgs {
    #[arg(long)]
    devices: SocketAddr,
    #[arg(long)]
    callers: SocketAddr,
    #[arg(long)]
    certificate: PathBuf,
    #[arg(long)]
    key: PathBuf,
}

/// Starts the baseline server as a separate process.
pub(crate) async fn start(environment: &Environment) -> anyhow::Result<Server> {
    let (address, https) = (free_address()?, free_address()?);
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["baseline", "--devices", &address.to_string(), "--callers", &https.to_string()])
        .arg("--certificate")
        .arg(&environment.pki.certificate)
        .arg("--key")
        .arg(&environment.pki.key);
    // The token is as long as the hub's.
    let (host, token) = ("localhost".to_owned(), "x".repeat(150));
    let protocol = Protocol::Hub { host, https, token, admin: None, amqp: None };
    let version = "only moves bytes".to_owned();
    ServerSpec {
        name: "baseline",
        version,
        protocol,
        address,
        folder: tempfile::tempdir()?,
        helpers: Vec::new(),
    }
    .start(environment, command)
    .await
}

/// A request to a device: the size of the payload, and the channel for the size of the response.
type Request = (usize, oneshot::Sender<usize>);
/// Devices that are not processing a request.
type IdleDevices = Arc<Mutex<VecDeque<mpsc::Sender<Request>>>>;

/// Bytes of the hub's response besides the payload: status line, headers, and the JSON around it.
const RESPONSE_OVERHEAD: usize = 190;

/// Runs the baseline server.
#[tokio::main]
pub(crate) async fn run(flags: BaselineArgs) -> anyhow::Result<()> {
    let acceptor = TlsAcceptor::from(crate::pki::server(&flags.certificate, &flags.key)?);
    let idle = IdleDevices::default();
    let devices = TcpListener::bind(flags.devices).await?;
    let callers = TcpListener::bind(flags.callers).await?;
    loop {
        tokio::select! {
            accepted = devices.accept() => {
                let (acceptor, idle) = (acceptor.clone(), idle.clone());
                tokio::spawn(async move {
                    let Ok(stream) = handshake(&acceptor, accepted?.0).await else { return Ok(()) };
                    device(stream, idle).await
                });
            }
            accepted = callers.accept() => {
                let (acceptor, idle) = (acceptor.clone(), idle.clone());
                tokio::spawn(async move { caller(handshake(&acceptor, accepted?.0).await?, idle).await });
            }
        }
    }
}

async fn handshake(acceptor: &TlsAcceptor, stream: TcpStream) -> anyhow::Result<TlsStream<TcpStream>> {
    stream.set_nodelay(true)?;
    Ok(acceptor.accept(stream).await?)
}

async fn device(mut stream: TlsStream<TcpStream>, idle: IdleDevices) -> anyhow::Result<()> {
    let mut input = [0; 4096];
    // CONNECT, then SUBSCRIBE with the identifier 1, as the load sends them.
    for answer in [&b"\x20\x02\x00\x00"[..], b"\x90\x03\x00\x01\x00"] {
        if stream.read(&mut input).await? == 0 {
            return Ok(());
        }
        stream.write_all(answer).await?;
        stream.flush().await?;
    }
    let (sender, mut requests) = mpsc::channel::<Request>(1);
    let mark_idle = |sender: &mpsc::Sender<Request>| {
        idle.lock().unwrap_or_else(PoisonError::into_inner).push_back(sender.clone());
    };
    mark_idle(&sender);
    let topic = b"$iothub/methods/POST/echo/?$rid=123456789012";
    loop {
        let (payload, reply) = tokio::select! {
            Some(request) = requests.recv() => request,
            ended = stream.read(&mut input) => {
                ended?;
                return Ok(());
            }
        };
        let mut packet = vec![0x30];
        let remaining = 2 + topic.len() + payload;
        packet.extend_from_slice(&[remaining as u8 | 0x80, (remaining >> 7) as u8, 0, topic.len() as u8]);
        packet.extend_from_slice(topic);
        packet.resize(packet.len() + payload, b'x');
        stream.write_all(&packet).await?;
        stream.flush().await?;
        let read = stream.read(&mut input).await?;
        let _ = reply.send(read);
        mark_idle(&sender);
    }
}

async fn caller(mut stream: TlsStream<TcpStream>, idle: IdleDevices) -> anyhow::Result<()> {
    let mut input = [0; 4096];
    loop {
        let read = stream.read(&mut input).await?;
        if read == 0 {
            return Ok(());
        }
        // A small request arrives in one read. The device gets a payload of the size of the payload in the body.
        let end = input
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .context("the request has no end of headers")?;
        let payload = read.saturating_sub(end + 4 + 34);
        let device = idle.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let (sender, answer) = oneshot::channel();
        device
            .context("no device is idle")?
            .try_send((payload, sender))
            .map_err(|_| anyhow::anyhow!("the device is busy or gone"))?;
        answer.await?;
        let body = format!("{{\"status\":200,\"payload\":\"{}\"}}", "x".repeat(payload.saturating_sub(2)));
        let mut head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nx-filler: ", body.len());
        let filler = (RESPONSE_OVERHEAD + payload).saturating_sub(head.len() + body.len() + 4);
        head.extend(std::iter::repeat_n('x', filler));
        stream.write_all([head.as_bytes(), b"\r\n\r\n", body.as_bytes()].concat().as_slice()).await?;
        stream.flush().await?;
    }
}
