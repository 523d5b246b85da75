//! The real binary, started for one test.

mod environment;
mod process;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::Address;
use process::Process;

/// A command that has ended.
#[derive(Debug)]
pub struct CommandOutput {
    /// Its exit code.
    pub code: i32,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl CommandOutput {
    /// Runs a command to its end.
    #[must_use]
    #[track_caller]
    pub fn run(command: &mut Command) -> Self {
        let done = command.stdin(Stdio::null()).output().expect("the program starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let code = done.status.code().expect("an exit code");
        Self { code, stdout: text(&done.stdout), stderr: text(&done.stderr) }
    }

    /// Its output, when it succeeded.
    #[track_caller]
    pub fn success(self) -> String {
        assert_eq!(self.code, 0, "{}{}", self.stdout, self.stderr);
        self.stdout
    }
}

/// The program under test, without any configuration.
#[must_use]
#[track_caller]
pub fn program() -> Command {
    process::bare_program()
}

/// How a hub shall be started.
#[must_use]
pub struct HubBuilder {
    folder: TempDir,
    tables: String,
    localhost: bool,
}

impl HubBuilder {
    /// The test's folder, gone when the hub is dropped.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// More configuration: whole tables of TOML.
    pub fn config(mut self, tables: &str) -> Self {
        self.tables.push_str(tables);
        self.tables.push('\n');
        self
    }

    /// With the development issuer for Entra tokens.
    pub fn with_development_issuer(self) -> Self {
        self.config("[entra]\ndevelopment = true")
    }

    /// On `localhost`, with all its addresses, instead of an address of its own.
    ///
    /// Only one such hub can run at a time: the test's name must contain `localhost`.
    pub fn on_localhost(mut self) -> Self {
        self.localhost = true;
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
             https = \"{name}:443\"\nadmin = \"{name}:9464\"\n\n{}",
            data.display(),
            self.tables
        );
        fs::write(&config, text).expect("a configuration file");
        let process = Process::start(&config, &name);
        let environment = environment::read(&config);
        Hub { process: Some(process), environment, name, folder: self.folder, _address: address }
    }
}

/// A hub that runs. Dropping it kills it and removes its data.
pub struct Hub {
    process: Option<Process>,
    environment: BTreeMap<String, String>,
    name: String,
    folder: TempDir,
    _address: Option<Address>,
}

impl Hub {
    /// A hub with the least configuration.
    #[must_use]
    #[track_caller]
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// A hub with more configuration.
    pub fn builder() -> HubBuilder {
        HubBuilder {
            folder: TempDir::new().expect("a folder for the test"),
            tables: String::new(),
            localhost: false,
        }
    }

    /// The hub's name, as it stands in connection strings.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its HTTPS interface is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{}", self.name)
    }

    /// The test's folder, gone when the hub is dropped.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What `ferrohub env` printed.
    #[must_use]
    pub fn environment(&self) -> &BTreeMap<String, String> {
        &self.environment
    }

    /// One variable of what `ferrohub env` printed.
    #[must_use]
    #[track_caller]
    pub fn variable(&self, name: &str) -> &str {
        let value = self.environment.get(name);
        value.unwrap_or_else(|| panic!("`ferrohub env` did not print {name}"))
    }

    /// What the hub wrote to `endpoints.json` when it became ready.
    #[must_use]
    #[track_caller]
    pub fn endpoints(&self) -> Value {
        let path = self.folder.path().join("data/endpoints.json");
        let text = fs::read_to_string(path).expect("endpoints.json");
        serde_json::from_str(&text).expect("endpoints.json holds JSON")
    }

    /// What the hub has written to its log so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.as_ref().map(Process::log).unwrap_or_default()
    }

    /// The metrics, as its admin listener tells them.
    #[must_use]
    #[track_caller]
    pub fn metrics(&self) -> String {
        process::get(&self.name, "/metrics").expect("the metrics")
    }

    /// Runs another command of the program, as the owner of this hub.
    #[must_use]
    #[track_caller]
    pub fn command<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> CommandOutput {
        CommandOutput::run(process::program(&self.folder.path().join("hub.toml")).args(arguments))
    }

    /// Runs a command that goes on until it is told to end, and tells it so by a signal after two seconds.
    #[must_use]
    #[track_caller]
    pub fn run_until_signal(&self, arguments: &[&str], signal: i32) -> CommandOutput {
        let child = process::program(&self.folder.path().join("hub.toml"))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        std::thread::sleep(Duration::from_secs(2));
        let told = Command::new("kill").args([format!("-{signal}"), child.id().to_string()]).status();
        assert!(told.is_ok_and(|status| status.success()), "the program still runs");
        let done = child.wait_with_output().expect("its output");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let code = done.status.code().expect("an exit code");
        CommandOutput { code, stdout: text(&done.stdout), stderr: text(&done.stderr) }
    }

    /// Files and sockets that the hub has open.
    #[must_use]
    #[track_caller]
    pub fn open_files(&self) -> usize {
        let folder = format!("/proc/{}/fd", self.process_id());
        fs::read_dir(folder).expect("the hub's open files").count()
    }

    /// KiB of memory that the hub's process holds.
    #[must_use]
    #[track_caller]
    pub fn resident_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process_id())).expect("its status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
        line.trim().trim_end_matches("kB").trim().parse().expect("a number of KiB")
    }

    #[track_caller]
    fn process_id(&self) -> u32 {
        self.process.as_ref().expect("a hub that runs").id()
    }

    /// Asks it to stop (SIGTERM) and waits for its end.
    #[track_caller]
    pub fn stop(&mut self) -> ExitStatus {
        let mut process = self.process.take().expect("a hub that runs");
        process.terminate(Duration::from_secs(30))
    }

    /// Asks it to stop, and again before it has.
    #[track_caller]
    pub fn stop_twice(&mut self) -> ExitStatus {
        let mut process = self.process.take().expect("a hub that runs");
        process.signal();
        std::thread::sleep(Duration::from_millis(500));
        process.terminate(Duration::from_secs(30))
    }

    /// Ends it at once (SIGKILL), as a power cut does.
    #[track_caller]
    pub fn kill(&mut self) {
        self.process.take().expect("a hub that runs").kill();
    }

    /// Starts it again on the same data, after [`Hub::stop`] or [`Hub::kill`].
    #[track_caller]
    pub fn start_again(&mut self) {
        assert!(self.process.is_none(), "the hub still runs");
        let config = self.folder.path().join("hub.toml");
        self.process = Some(Process::start(&config, &self.name));
    }

    /// Stops it in good order and starts it again.
    #[track_caller]
    pub fn restart(&mut self) {
        self.stop();
        self.start_again();
    }
}
