//! The hub under measurement: a process of its own, on a loopback address of its own.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use ferrohub_device::DeviceClient;
use ferrohub_service::ServiceClient;
use tempfile::TempDir;

const MQTT_PORT: u16 = 18_883;
const HTTPS_PORT: u16 = 18_443;
const ADMIN_PORT: u16 = 19_464;
/// The kernel counts CPU time in these, on every architecture that Linux runs on today.
const TICKS_PER_SECOND: f64 = 100.0;

pub(crate) struct Hub {
    child: Child,
    folder: TempDir,
}

/// What a device needs to connect.
#[derive(Clone)]
pub(crate) struct Dial {
    ca: Vec<u8>,
}

fn at(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

impl Hub {
    /// Starts it on an empty store.
    pub(crate) fn start(program: &Path) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let child = Command::new(program)
            .arg("serve")
            .arg("--data-dir")
            .arg(folder.path().join("data"))
            .args(["--hostname", "localhost", "--log-level", "warn"])
            .args(["--listen-mqtt", &at(MQTT_PORT).to_string()])
            .args(["--listen-https", &at(HTTPS_PORT).to_string()])
            .args(["--listen-admin", &at(ADMIN_PORT).to_string()])
            .stdin(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}: build it with --release", program.display()))?;
        let hub = Self { child, folder };
        let deadline = Instant::now() + Duration::from_secs(10);
        while !hub.folder.path().join("data/endpoints.json").exists()
            || std::net::TcpStream::connect(at(HTTPS_PORT)).is_err()
        {
            ensure!(Instant::now() < deadline, "the hub does not start");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(hub)
    }

    fn ca(&self) -> anyhow::Result<Vec<u8>> {
        Ok(fs::read(self.folder.path().join("data/tls/ca.pem"))?)
    }

    pub(crate) fn dial(&self) -> Dial {
        Dial { ca: self.ca().unwrap_or_default() }
    }

    /// A back end that may do everything.
    pub(crate) fn service(&self) -> anyhow::Result<ServiceClient> {
        let shown = Command::new(fs::read_link(format!("/proc/{}/exe", self.child.id()))?)
            .args(["env", "--data-dir"])
            .arg(self.folder.path().join("data"))
            .output()?;
        let text = String::from_utf8(shown.stdout)?;
        let login = text.lines().find_map(|line| line.strip_prefix("export IOTHUB_CONNECTION_STRING='"));
        let login = login.and_then(|login| login.strip_suffix('\'')).context("the hub told no login")?;
        let client = ServiceClient::builder()
            .connection_string(login)
            .connect_to(at(HTTPS_PORT))
            .root_certificates(self.ca()?)
            .build()?;
        Ok(client)
    }

    /// CPU time that the hub has used, in user and kernel mode.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The second field is the program's name in parentheses and may hold anything.
        let (_, fields) = stat.rsplit_once(") ").context("an unknown shape of stat")?;
        let ticks: Vec<u64> = fields.split(' ').skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
        Ok(Duration::from_secs_f64(ticks.iter().sum::<u64>() as f64 / TICKS_PER_SECOND))
    }

    /// Memory that the hub holds.
    pub(crate) fn resident_kib(&self) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        Ok(line.trim().trim_end_matches("kB").trim().parse()?)
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Dial {
    /// A device with its key.
    pub(crate) fn device(&self, id: &str, key: &str) -> anyhow::Result<DeviceClient> {
        let client = DeviceClient::builder("localhost", id)
            .symmetric_key(key)
            .port(MQTT_PORT)
            .connect_to(at(MQTT_PORT))
            .ca_pem(self.ca.clone())
            .build()?;
        Ok(client)
    }
}
