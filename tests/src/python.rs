//! Runs the programs in `tests/python` and `tests/node` with the pinned packages.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::NamedTempFile;

use crate::Hub;

/// Lines of a script that no test has read. A script that prints more waits.
const MAX_LINES: usize = 10_000;

/// Returns Cargo's target directory, which contains the running test program.
///
/// # Panics
/// If the program runs elsewhere.
#[must_use]
#[track_caller]
pub fn target_dir() -> PathBuf {
    let program = std::env::current_exe().expect("the path of the test program");
    // target/<profile>/deps/<test>
    program.ancestors().nth(3).expect("a program inside the target directory").to_owned()
}

/// Removed from the environment of every program, so that settings of the machine do not affect a test.
const REMOVED_VARIABLES: &[&str] = &[
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "SSL_CERT_DIR",
    "CURL_CA_BUNDLE",
];

/// A program in `tests/python`, not started yet.
pub struct Script {
    name: String,
    command: Command,
}

impl Script {
    /// Prepares the program with this file name, with the environment that `ferrohub env` prints for this hub.
    #[must_use]
    pub fn new(hub: &Hub, name: &str) -> Self {
        let python = target_dir().join("venv/bin/python");
        assert!(python.exists(), "{} is missing: run `cargo xtask clients` once", python.display());
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("python");
        let mut command = Command::new(python);
        command
            // The folder is part of the source tree: Python must not write to it.
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("PYTHONUNBUFFERED", "1")
            .env("PYTHONWARNINGS", "ignore::DeprecationWarning")
            .arg(folder.join(name));
        Self::with_environment(hub, name, command)
    }

    /// The program of that file name under `tests/node`, in the same environment.
    #[must_use]
    pub fn node(hub: &Hub, name: &str) -> Self {
        let packages = target_dir().join("node/node_modules");
        assert!(packages.exists(), "{} is missing: run `cargo xtask clients` once", packages.display());
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("node");
        let mut command = Command::new("node");
        command
            .env("NODE_PATH", packages)
            // The packages are older than what Node.js has deprecated since.
            .env("NODE_NO_WARNINGS", "1")
            .arg(folder.join(name));
        Self::with_environment(hub, name, command)
    }

    fn with_environment(hub: &Hub, name: &str, mut command: Command) -> Self {
        command.envs(hub.environment());
        for variable in REMOVED_VARIABLES {
            command.env_remove(variable);
        }
        Self { name: name.to_owned(), command }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<str>) -> Self {
        self.command.arg(argument.as_ref());
        self
    }

    /// Adds an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Runs the program until it exits and returns its standard output.
    ///
    /// # Panics
    /// If it takes longer than `limit` or exits with an error.
    #[must_use]
    #[track_caller]
    pub fn output(self, limit: Duration) -> String {
        let mut running = self.start();
        running.close_input();
        let deadline = Instant::now() + limit;
        let mut output = String::new();
        while let Some(line) = running.next_line_before(deadline) {
            output.push_str(&line);
            output.push('\n');
        }
        let status = running.child.wait().expect("an exit status");
        assert!(status.success(), "{} exited with {status}", running.name);
        output
    }

    /// Starts the program.
    #[must_use]
    #[track_caller]
    pub fn start(mut self) -> RunningScript {
        let errors = NamedTempFile::new().expect("cannot create a file for stderr");
        let to = errors.reopen().expect("cannot reopen the file for stderr");
        let mut child = self
            .command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(to)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", self.name));
        let (sender, lines) = sync_channel(MAX_LINES);
        let stdout = child.stdout.take().expect("a piped stdout");
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        RunningScript { name: self.name, child, lines, errors }
    }
}

/// A running program, killed on drop.
pub struct RunningScript {
    name: String,
    child: Child,
    lines: Receiver<String>,
    errors: NamedTempFile,
}

impl RunningScript {
    /// Returns the next line of the standard output, or `None` if the program has closed it.
    ///
    /// # Panics
    /// If there is no line within `limit`.
    #[track_caller]
    pub fn next_line(&mut self, limit: Duration) -> Option<String> {
        self.next_line_before(Instant::now() + limit)
    }

    #[track_caller]
    fn next_line_before(&mut self, deadline: Instant) -> Option<String> {
        let left = deadline.saturating_duration_since(Instant::now());
        match self.lines.recv_timeout(left) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("{} printed no line in time", self.name),
        }
    }

    /// Returns the next line of the standard output if it is already available.
    pub fn try_next_line(&mut self) -> Option<String> {
        self.lines.try_recv().ok()
    }

    /// Writes a line to the standard input.
    pub(crate) fn write_line(&mut self, line: &str) {
        let input = self.child.stdin.as_mut().expect("an open stdin");
        writeln!(input, "{line}")
            .unwrap_or_else(|error| panic!("cannot write to {}, it may have exited: {error}", self.name));
    }

    /// Closes the standard input, upon which our programs exit.
    pub fn close_input(&mut self) {
        self.child.stdin = None;
    }

    /// Kills the program to simulate a power failure of a device.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Takes the channel of output lines, to read them elsewhere.
    pub(crate) fn take_lines(&mut self) -> Receiver<String> {
        std::mem::replace(&mut self.lines, sync_channel(0).1)
    }
}

impl Drop for RunningScript {
    fn drop(&mut self) {
        self.kill();
        let errors = fs::read_to_string(self.errors.path()).unwrap_or_default();
        if !errors.is_empty() {
            eprintln!("---- {} wrote:\n{errors}", self.name);
        }
    }
}
