//! The real binary, started for one test.

mod environment;
mod process;

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::Address;
use process::Process;

/// If the log does not grow for this time, it is complete.
const LOG_DELAY: Duration = Duration::from_millis(150);

/// The result of a finished command.
#[derive(Debug)]
pub struct CommandOutput {
    /// Exit code.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl CommandOutput {
    /// Runs a command until it exits.
    #[must_use]
    #[track_caller]
    pub fn run(command: &mut Command) -> Self {
        let output = command.stdin(Stdio::null()).output().expect("cannot start the program");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let code = output.status.code().expect("an exit code");
        Self { code, stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    /// Returns the standard output.
    ///
    /// # Panics
    /// If the exit code is not 0.
    #[track_caller]
    pub fn success(self) -> String {
        assert_eq!(self.code, 0, "{}{}", self.stdout, self.stderr);
        self.stdout
    }
}

/// Returns the program under test, without any configuration.
#[must_use]
#[track_caller]
pub fn program() -> Command {
    process::bare_program()
}

/// The configuration of a hub before its start.
#[must_use]
pub struct HubBuilder {
    folder: TempDir,
    tables: String,
    localhost: bool,
    log: Option<OwnedFd>,
    max_open_files: Option<u32>,
}

impl HubBuilder {
    /// Returns the folder of the test, which is removed when the hub is dropped.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Adds configuration: complete TOML tables.
    pub fn config(mut self, tables: &str) -> Self {
        self.tables.push_str(tables);
        self.tables.push('\n');
        self
    }

    /// Enables the development issuer for Entra tokens.
    pub fn with_development_issuer(self) -> Self {
        self.config("[entra]\ndevelopment = true")
    }

    /// Runs the hub on all addresses of `localhost` instead of its own address.
    ///
    /// Only one such hub can run at a time: the test's name must contain `localhost`.
    pub fn on_localhost(mut self) -> Self {
        self.localhost = true;
        self
    }

    /// Sends the hub's log to a pipe or file of the test. [`Hub::log`] is empty then.
    pub fn log_to(mut self, output: impl Into<OwnedFd>) -> Self {
        self.log = Some(output.into());
        self
    }

    /// Limits the number of files that the process of the hub may have open: the soft and the hard limit.
    pub fn max_open_files(mut self, limit: u32) -> Self {
        self.max_open_files = Some(limit);
        self
    }

    /// Starts the hub and waits until it is ready.
    #[must_use]
    #[track_caller]
    pub fn start(self) -> Hub {
        let address = (!self.localhost).then(Address::reserve);
        let name = match &address {
            Some(address) => address.ip().to_string(),
            None => "localhost".to_owned(),
        };
        let config = self.folder.path().join("hub.toml");
        let data = self.folder.path().join("data");
        let text = format!(
            "hostname = \"{name}\"\ndata_dir = \"{}\"\n\n[listen]\nmqtt = \"{name}:8883\"\n\
             amqp = \"{name}:5671\"\nhttps = \"{name}:443\"\nadmin = \"{name}:9464\"\n\n{}",
            data.display(),
            self.tables
        );
        fs::write(&config, text).expect("cannot write the configuration file");
        let process = match (self.log, self.max_open_files) {
            (Some(output), _) => Process::start_with_log(&config, &name, output),
            (None, Some(limit)) => Process::start_with_max_open_files(&config, &name, limit),
            (None, None) => Process::start(&config, &name),
        };
        let environment = environment::read(&config);
        Hub { process: Some(process), environment, name, folder: self.folder, _address: address }
    }
}

/// A running hub. Drop kills the process and removes the data.
pub struct Hub {
    process: Option<Process>,
    environment: BTreeMap<String, String>,
    name: String,
    folder: TempDir,
    _address: Option<Address>,
}

impl Hub {
    /// Starts a hub with the minimal configuration.
    #[must_use]
    #[track_caller]
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// Returns a builder for a hub with more configuration.
    pub fn builder() -> HubBuilder {
        HubBuilder {
            folder: TempDir::new().expect("cannot create a folder for the test"),
            tables: String::new(),
            localhost: false,
            log: None,
            max_open_files: None,
        }
    }

    /// Returns the host name of the hub, as in connection strings.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the base URL of the HTTPS API.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{}", self.name)
    }

    /// Returns the folder of the test, which is removed when the hub is dropped.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the variables that `ferrohub env` printed.
    #[must_use]
    pub fn environment(&self) -> &BTreeMap<String, String> {
        &self.environment
    }

    /// Returns one variable that `ferrohub env` printed.
    #[must_use]
    #[track_caller]
    pub fn variable(&self, name: &str) -> &str {
        let value = self.environment.get(name);
        value.unwrap_or_else(|| panic!("`ferrohub env` did not print {name}"))
    }

    /// Returns the content of `endpoints.json`, which the hub writes when it is ready.
    #[must_use]
    #[track_caller]
    pub fn endpoints(&self) -> Value {
        let path = self.folder.path().join("data/endpoints.json");
        let text = fs::read_to_string(path).expect("endpoints.json");
        serde_json::from_str(&text).expect("endpoints.json is JSON")
    }

    /// Returns the hub's log so far.
    #[must_use]
    pub fn log(&self) -> String {
        let read = || self.process.as_ref().map(Process::log).unwrap_or_default();
        // A thread of the hub writes the log, a moment after the event.
        let mut log = read();
        for _ in 0..20 {
            sleep(LOG_DELAY);
            let later = read();
            if later.len() == log.len() {
                break;
            }
            log = later;
        }
        log
    }

    /// Returns the metrics from the admin listener.
    #[must_use]
    #[track_caller]
    pub fn metrics(&self) -> String {
        process::get(&self.name, "/metrics").expect("the metrics")
    }

    /// Sends a request to the admin listener and returns the response with its head. `headers` are whole lines.
    #[must_use]
    #[track_caller]
    pub fn admin_request(&self, target: &str, headers: &str) -> String {
        process::request(&self.name, target, headers).expect("a response of the admin listener")
    }

    /// Asks whether the hub is ready. Returns the body of `/readyz` if it is not.
    pub fn readiness(&self) -> Result<(), String> {
        let (head, body) = process::response(&self.name, "/readyz").expect("a response");
        if head.starts_with("HTTP/1.1 200") { Ok(()) } else { Err(body) }
    }

    /// Returns the sum of a metric's counters whose line contains `label`.
    #[must_use]
    #[track_caller]
    pub fn metric(&self, name: &str, label: &str) -> f64 {
        let text = self.metrics();
        let counters = text.lines().filter(|line| line.starts_with(name) && line.contains(label));
        counters.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// Runs another command of the program with this hub's configuration.
    #[must_use]
    #[track_caller]
    pub fn command<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> CommandOutput {
        CommandOutput::run(process::program(&self.folder.path().join("hub.toml")).args(arguments))
    }

    /// Runs a command that does not exit on its own, and sends it a signal after two seconds.
    #[must_use]
    #[track_caller]
    pub fn run_until_signal(&self, arguments: &[&str], signal: i32) -> CommandOutput {
        let child = process::program(&self.folder.path().join("hub.toml"))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("cannot start the program");
        std::thread::sleep(Duration::from_secs(2));
        let sent = Command::new("kill").args([format!("-{signal}"), child.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "the program exited before the signal");
        let output = child.wait_with_output().expect("its output");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let code = output.status.code().expect("an exit code");
        CommandOutput { code, stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    /// Returns the number of open files and sockets of the hub's process.
    #[must_use]
    #[track_caller]
    pub fn open_files(&self) -> usize {
        let folder = format!("/proc/{}/fd", self.process_id());
        fs::read_dir(folder).expect("the hub's open files").count()
    }

    /// Returns the resident memory of the hub's process in KiB.
    #[must_use]
    #[track_caller]
    pub fn resident_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process_id())).expect("its status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
        line.trim().trim_end_matches("kB").trim().parse().expect("a number of KiB")
    }

    /// Returns the process id of the hub.
    #[must_use]
    #[track_caller]
    pub fn process_id(&self) -> u32 {
        self.process.as_ref().expect("the hub is running").id()
    }

    /// Sends SIGTERM and waits until the process exits.
    #[track_caller]
    pub fn stop(&mut self) -> ExitStatus {
        let mut process = self.process.take().expect("the hub is running");
        process.terminate(Duration::from_secs(30))
    }

    /// Sends SIGTERM, sends it again during the shutdown, and waits until the process exits.
    #[track_caller]
    pub fn stop_twice(&mut self) -> ExitStatus {
        let mut process = self.process.take().expect("the hub is running");
        process.signal("TERM");
        std::thread::sleep(Duration::from_millis(500));
        process.terminate(Duration::from_secs(30))
    }

    /// Sends a signal, such as `HUP`.
    #[track_caller]
    pub fn signal(&self, name: &str) {
        self.process.as_ref().expect("the hub is running").signal(name);
    }

    /// Kills the process (SIGKILL) to simulate a power failure.
    #[track_caller]
    pub fn kill(&mut self) {
        self.process.take().expect("the hub is running").kill();
    }

    /// Starts the hub again with the same data, after [`Hub::stop`] or [`Hub::kill`].
    #[track_caller]
    pub fn start_again(&mut self) {
        assert!(self.process.is_none(), "the hub is still running");
        let config = self.folder.path().join("hub.toml");
        self.process = Some(Process::start(&config, &self.name));
    }

    /// Adds configuration, complete TOML tables, for the next start.
    #[track_caller]
    pub fn add_config(&self, tables: &str) {
        let path = self.folder.path().join("hub.toml");
        let text = fs::read_to_string(&path).expect("the configuration");
        fs::write(&path, format!("{text}\n{tables}\n")).expect("cannot write the configuration file");
    }

    /// Stops the hub gracefully and starts it again.
    #[track_caller]
    pub fn restart(&mut self) {
        self.stop();
        self.start_again();
    }
}
