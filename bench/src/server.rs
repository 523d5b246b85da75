//! The servers under measurement: each a process of its own, with the same certificate, on the same processors.

pub(crate) mod aedes;
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

/// How long a server may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// What the servers of a run share.
pub(crate) struct Environment {
    pub(crate) pki: Pki,
    /// The processor that servers run on; the load has the others.
    pub(crate) processor: Option<usize>,
    /// The hub's program.
    pub(crate) hub: PathBuf,
    /// Where peers are that no package installs: `bin`, and `aedes` with its modules.
    pub(crate) peers: PathBuf,
}

/// What a server understands.
#[derive(Debug, Clone)]
pub(crate) enum Protocol {
    /// Methods over HTTPS, devices over MQTT.
    Hub { host: String, https: SocketAddr, token: String, admin: Option<SocketAddr> },
    /// MQTT on both sides.
    Broker { login: Option<(String, String)> },
    /// NATS on both sides.
    Nats,
    /// What only its own tools speak.
    Native,
}

/// A server that runs. It is stopped when this is dropped.
pub(crate) struct Server {
    pub(crate) name: &'static str,
    pub(crate) version: String,
    pub(crate) protocol: Protocol,
    /// Where devices connect.
    pub(crate) address: SocketAddr,
    pid: u32,
    _child: Child,
    /// Processes beside it that it cannot do without.
    _helpers: Vec<Child>,
    _folder: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        // The group has the number of its first process.
        let group = format!("-{}", self.pid);
        let _ = std::process::Command::new("kill").args(["-KILL", "--", &group]).status();
    }
}

impl Server {
    /// A way for devices, with full handshakes only or with resumed ones.
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

/// A server about to start.
pub(crate) struct ServerSpec {
    pub(crate) name: &'static str,
    pub(crate) version: String,
    pub(crate) protocol: Protocol,
    pub(crate) address: SocketAddr,
    pub(crate) folder: TempDir,
    /// Processes beside it that it cannot do without.
    pub(crate) helpers: Vec<Child>,
}

impl ServerSpec {
    /// Runs `command`, and waits until it listens.
    pub(crate) async fn start(self, environment: &Environment, command: Command) -> anyhow::Result<Server> {
        let log = self.folder.path().join("stderr.log");
        let mut child = environment.spawn(command, std::fs::File::create(&log)?)?;
        let begun = Instant::now();
        while TcpStream::connect(self.address).await.is_err() {
            if let Some(status) = child.try_wait()? {
                bail!("{status}: {}", std::fs::read_to_string(&log).unwrap_or_default().trim());
            }
            if begun.elapsed() > START_TIMEOUT {
                bail!("{} does not listen", self.name);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let pid = child.id().context("it has ended")?;
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
    /// Starts a process on the servers' processor, to be killed when the handle is dropped.
    pub(crate) fn spawn(&self, command: Command, log: impl Into<Stdio>) -> anyhow::Result<Child> {
        let mut command = self.pinned(command);
        // A group of its own, so that what it starts ends with it.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).kill_on_drop(true).process_group(0);
        let program = command.as_std().get_program().to_owned();
        command.spawn().with_context(|| program.to_string_lossy().into_owned())
    }

    /// `taskset` becomes the program it starts, so the process id is the server's.
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

    /// A program among the peers that no package installs.
    pub(crate) fn peer(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.peers.join("bin").join(name);
        anyhow::ensure!(path.exists(), "{} is missing: cargo xtask bench --install", path.display());
        Ok(path)
    }
}

/// A loopback address with a port that is free now, and that no outgoing connection will take: those get higher ones.
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

/// What a program prints about its version: the first word of its output that begins like one.
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

/// What a plain HTTP server answers to a GET.
pub(crate) async fn get_plain(address: SocketAddr, path: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}
