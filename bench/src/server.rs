//! The measured servers: separate processes, with the same certificate, on the same processor.

pub(crate) mod aedes;
pub(crate) mod amqp_baseline;
pub(crate) mod baseline;
pub(crate) mod ferrohub;
pub(crate) mod mosquitto;
pub(crate) mod nats;
pub(crate) mod postgres;
pub(crate) mod rabbitmq;
pub(crate) mod rmqttd;
pub(crate) mod rumqttd;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::kernel;
use crate::load::dial::Dial;
use crate::pki::Pki;

/// Time-out for the start of a server.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// Settings that the servers of a run share.
pub(crate) struct Environment {
    pub(crate) pki: Pki,
    /// The processor for the servers; the load runs on the others.
    pub(crate) processor: Option<usize>,
    /// Program of the hub.
    pub(crate) hub: PathBuf,
    /// Folder with the peers that are not Debian packages: `bin`, and `aedes` with its modules.
    pub(crate) peers: PathBuf,
}

/// The protocol of a server.
#[derive(Debug, Clone)]
pub(crate) enum Protocol {
    /// Methods over HTTPS, devices over MQTT.
    Hub {
        host: String,
        https: SocketAddr,
        token: String,
        admin: Option<SocketAddr>,
        /// Address, user and password of AMQP for readers of events.
        amqp: Option<(SocketAddr, (String, String))>,
    },
    /// MQTT on both sides.
    Broker { login: Option<(String, String)> },
    /// NATS on both sides.
    Nats,
    /// A protocol that only its own tools implement.
    Native,
}

/// A running server. It is killed when this is dropped.
pub(crate) struct Server {
    pub(crate) name: &'static str,
    pub(crate) version: String,
    pub(crate) protocol: Protocol,
    /// Address for devices.
    pub(crate) address: SocketAddr,
    pid: u32,
    _child: Child,
    /// Other processes that the server needs.
    _helpers: Vec<Child>,
    _folder: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        // The id of a process group is the id of its first process.
        let group = format!("-{}", self.pid);
        let _ = std::process::Command::new("kill").args(["-KILL", "--", &group]).status();
    }
}

impl Server {
    /// Returns the address and TLS configuration for devices, with or without session resumption.
    pub(crate) fn dial(&self, pki: &Pki, resume: bool) -> anyhow::Result<Dial> {
        Ok(Dial { address: self.address, tls: pki.client(resume)? })
    }

    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        kernel::cpu(self.pid).with_context(|| self.name.to_owned())
    }

    pub(crate) fn resident_kib(&self) -> anyhow::Result<u64> {
        kernel::resident_kib(self.pid).with_context(|| self.name.to_owned())
    }
}

/// A server that is not started yet.
pub(crate) struct ServerSpec {
    pub(crate) name: &'static str,
    pub(crate) version: String,
    pub(crate) protocol: Protocol,
    pub(crate) address: SocketAddr,
    pub(crate) folder: TempDir,
    /// Other processes that the server needs.
    pub(crate) helpers: Vec<Child>,
}

impl ServerSpec {
    /// Starts `command`, and waits until it listens.
    pub(crate) async fn start(self, environment: &Environment, command: Command) -> anyhow::Result<Server> {
        let log = self.folder.path().join("stderr.log");
        let mut child = environment.spawn(command, std::fs::File::create(&log)?)?;
        let begun = Instant::now();
        while TcpStream::connect(self.address).await.is_err() {
            if let Some(status) = child.try_wait()? {
                let text = std::fs::read_to_string(&log).unwrap_or_default();
                bail!("{} exited with {status}: {}", self.name, text.trim());
            }
            if begun.elapsed() > START_TIMEOUT {
                bail!("{} does not listen after {START_TIMEOUT:?}", self.name);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let pid = child.id().context("the server process has ended")?;
        let Self { name, version, protocol, address, folder, helpers } = self;
        Ok(Server {
            name,
            version,
            protocol,
            address,
            pid,
            _child: child,
            _helpers: helpers,
            _folder: folder,
        })
    }
}

impl Environment {
    /// Starts a process on the processor for the servers. It is killed when the handle is dropped.
    pub(crate) fn spawn(&self, command: Command, log: impl Into<Stdio>) -> anyhow::Result<Child> {
        let mut command = self.pinned(command);
        // Its own process group, so that its children are killed as well.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).kill_on_drop(true).process_group(0);
        let program = command.as_std().get_program().to_owned();
        command.spawn().with_context(|| format!("cannot start {}", program.to_string_lossy()))
    }

    /// Runs the command with `taskset`, which executes the program in the same process.
    fn pinned(&self, command: Command) -> Command {
        let Some(processor) = self.processor else { return command };
        let command = command.as_std();
        let mut pinned = Command::new("taskset");
        pinned.args(["-c", &processor.to_string()]).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            if let Some(value) = value {
                pinned.env(name, value);
            }
        }
        if let Some(folder) = command.get_current_dir() {
            pinned.current_dir(folder);
        }
        pinned
    }

    /// Returns the path of a peer that is not a Debian package.
    pub(crate) fn peer(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.peers.join("bin").join(name);
        anyhow::ensure!(path.exists(), "{} is missing; run `cargo xtask bench --install`", path.display());
        Ok(path)
    }
}

/// Returns a loopback address with a free port, below the range of ephemeral ports.
pub(crate) fn free_address() -> anyhow::Result<SocketAddr> {
    static NEXT: AtomicU16 = AtomicU16::new(20_000);
    loop {
        let port = NEXT.fetch_add(1, Ordering::Relaxed);
        anyhow::ensure!(port < 32_000, "no port is free");
        if let Ok(listener) = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            return Ok(listener.local_addr()?);
        }
    }
}

/// Returns the version of a program: the first word of its output that looks like one.
pub(crate) async fn version(program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().await;
    let Ok(output) = output else { return "unknown".to_owned() };
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let word = text
        .split(|c: char| c.is_whitespace() || matches!(c, ',' | '"' | '(' | ')'))
        .map(|word| word.trim_start_matches('v'))
        .find(|word| word.contains('.') && word.starts_with(|c: char| c.is_ascii_digit()));
    word.unwrap_or("unknown").to_owned()
}

/// Sends GET to a plain HTTP server, and returns the whole response.
pub(crate) async fn get_plain(address: SocketAddr, path: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}
