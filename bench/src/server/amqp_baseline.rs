//! The baseline server for AMQP: it accepts each link and each message, and stores nothing.
//!
//! The remaining cost is that of TLS, the runtime, the kernel and the protocol itself.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use clap::Args;
use ferrohub_amqp::performative::DeliveryState;
use ferrohub_amqp::{Config, Connection, Event, Grant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio_rustls::TlsAcceptor;

use super::{Environment, Protocol, Server, ServerSpec, free_address};

/// Flags of the baseline server for AMQP.
#[derive(Debug, Args)]
pub(crate) struct AmqpBaselineArgs {
    #[arg(long)]
    listen: SocketAddr,
    #[arg(long)]
    certificate: PathBuf,
    #[arg(long)]
    key: PathBuf,
}

/// Messages that a client may send ahead; as many as the hub allows.
const CREDIT: u32 = 100;

/// Starts the baseline server as a separate process.
pub(crate) async fn start(environment: &Environment) -> anyhow::Result<Server> {
    let address = free_address()?;
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["amqp-baseline", "--listen", &address.to_string()])
        .arg("--certificate")
        .arg(&environment.pki.certificate)
        .arg("--key")
        .arg(&environment.pki.key);
    let protocol = Protocol::Broker { login: Some(("user".to_owned(), "password".to_owned())) };
    let (version, folder) = ("stores nothing".to_owned(), tempfile::tempdir()?);
    ServerSpec { name: "baseline", version, protocol, address, folder, helpers: Vec::new() }
        .start(environment, command)
        .await
}

/// Runs the baseline server.
#[tokio::main]
pub(crate) async fn run(flags: AmqpBaselineArgs) -> anyhow::Result<()> {
    let acceptor = TlsAcceptor::from(crate::pki::server(&flags.certificate, &flags.key)?);
    let listener = TcpListener::bind(flags.listen).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            if let Err(error) = serve(&acceptor, stream).await {
                eprintln!("a connection ended: {error:#}");
            }
        });
    }
}

async fn serve(acceptor: &TlsAcceptor, stream: TcpStream) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = acceptor.accept(stream).await?;
    let mut machine = Connection::accept(Arc::new(Config::default()), Instant::now());
    let (mut input, mut output) = (BytesMut::with_capacity(16 * 1024), BytesMut::new());
    loop {
        while let Some(event) = machine.poll_event() {
            answer(&mut machine, event)?;
        }
        machine.poll_transmit(&mut output);
        if !output.is_empty() {
            stream.write_all(&output).await?;
            stream.flush().await?;
            output.clear();
        }
        input.clear();
        if stream.read_buf(&mut input).await? == 0 {
            return Ok(());
        }
        machine.handle_input(&input, Instant::now())?;
    }
}

fn answer(machine: &mut Connection, event: Event) -> anyhow::Result<()> {
    match event {
        Event::SaslInit(_) => {
            machine.accept_sasl()?;
            machine.set_authenticated();
        }
        Event::Attach { link, .. } => {
            machine.accept_link(link, &Grant { credit: CREDIT, ..Grant::default() })?;
        }
        Event::Delivery(delivery) => {
            if let Some(unsettled) = delivery.unsettled {
                machine.settle(unsettled, &DeliveryState::Accepted)?;
            }
        }
        _ => {}
    }
    Ok(())
}
