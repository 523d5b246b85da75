//! The hub's process: start, wait until ready, stop by process id.

use std::fs::{self, OpenOptions};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::eventually;
use crate::python::target_dir;

const READY_LIMIT: Duration = Duration::from_secs(20);
const ADMIN_PORT: u16 = 9464;

/// Returns the path of the program under test: the binary in the same target directory, unless `HUB_BINARY` is set.
#[track_caller]
fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("HUB_BINARY") {
        return path.into();
    }
    let path = target_dir().join("debug/ferrohub");
    assert!(path.exists(), "{} is missing: run `cargo build -p ferrohub`", path.display());
    path
}

/// Returns the program under test, without environment variables that configure it.
#[track_caller]
pub(super) fn bare_program() -> Command {
    let mut command = Command::new(binary());
    let ours = |name: &str| ["FERROHUB_", "IOTHUB_", "AZURE_"].iter().any(|prefix| name.starts_with(prefix));
    for (variable, _) in std::env::vars().filter(|(name, _)| ours(name)) {
        command.env_remove(variable);
    }
    command
}

/// Returns the program under test with this configuration file only.
#[track_caller]
pub(super) fn program(config: &Path) -> Command {
    let mut command = bare_program();
    command.arg("--config").arg(config);
    command
}

/// Returns a subcommand of the program under test.
#[track_caller]
pub(super) fn command(name: &str, config: &Path) -> Command {
    let mut command = program(config);
    command.arg(name);
    command
}

/// Opens the log of the hub in the folder of its configuration.
#[track_caller]
fn log_file(config: &Path) -> OwnedFd {
    let log = OpenOptions::new().create(true).append(true).open(config.with_extension("log"));
    log.expect("cannot open the log file").into()
}

pub(super) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    #[track_caller]
    pub(super) fn start(config: &Path, host: &str) -> Self {
        Self::start_with_log(config, host, log_file(config))
    }

    /// Starts the hub with its log in `output`, which may be anything.
    #[track_caller]
    pub(super) fn start_with_log(config: &Path, host: &str, output: OwnedFd) -> Self {
        Self::spawn(command("serve", config), config, host, output)
    }

    /// Starts the hub with this soft and hard limit of open files.
    #[track_caller]
    pub(super) fn start_with_max_open_files(config: &Path, host: &str, limit: u32) -> Self {
        let serve = command("serve", config);
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("ulimit -n {limit} && exec \"$@\""), "sh"]);
        shell.arg(serve.get_program()).args(serve.get_args());
        for (name, _) in serve.get_envs() {
            shell.env_remove(name);
        }
        Self::spawn(shell, config, host, log_file(config))
    }

    #[track_caller]
    fn spawn(mut command: Command, config: &Path, host: &str, output: OwnedFd) -> Self {
        let log = config.with_extension("log");
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("another descriptor of the log"))
            .stderr(output)
            .spawn()
            .expect("`ferrohub serve` starts");
        let mut process = Self { child, log };
        eventually("the hub is ready", READY_LIMIT, || {
            if let Some(status) = process.child.try_wait().expect("the hub's status") {
                panic!("the hub exited with {status} before it was ready");
            }
            get(host, "/readyz")
        });
        process
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Sends the signal with this name.
    #[track_caller]
    pub(super) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        let sent = Command::new("sh").args(["-c", &kill]).status();
        assert!(sent.is_ok_and(|status| status.success()), "cannot send SIG{name}");
    }

    #[track_caller]
    pub(super) fn terminate(&mut self, limit: Duration) -> ExitStatus {
        self.signal("TERM");
        eventually("the hub stops", limit, || self.child.try_wait().expect("the hub's status"))
    }

    pub(super) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        eprintln!("---- the hub wrote:\n{}", self.log());
        // The next process with the same data starts a new log.
        let _ = fs::remove_file(&self.log);
    }
}

/// Returns the body of a plain HTTP response with status 200.
pub(super) fn get(host: &str, path: &str) -> Option<String> {
    let (head, body) = response(host, path)?;
    head.starts_with("HTTP/1.1 200").then_some(body)
}

/// Returns head and body of a plain HTTP response.
pub(super) fn response(host: &str, path: &str) -> Option<(String, String)> {
    let response = request(host, path, &format!("Host: {host}\r\n"))?;
    let (head, body) = response.split_once("\r\n\r\n")?;
    Some((head.to_owned(), body.to_owned()))
}

/// Sends a plain HTTP request to the admin listener and returns the response with its head.
pub(super) fn request(host: &str, path: &str, headers: &str) -> Option<String> {
    let mut stream = TcpStream::connect((host, ADMIN_PORT)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(15))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n").ok()?;
    let mut response = String::new();
    stream.read_to_string(&mut response).ok()?;
    Some(response)
}
