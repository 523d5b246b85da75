//! `ferrohub serve --detach`: starts the hub as a process of its own, and returns when it is ready.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::config::Config;
use crate::endpoints::Endpoints;
use crate::output::{note, print_line};
use crate::starting;

/// The log file in the data folder.
const LOG_FILE: &str = "hub.log";
/// The flag that the process in the background must not get.
const FLAG: &str = "--detach";
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// The end of the log that is read, for warnings and for the reason of a failed start.
const MAX_LOG_BYTES: u64 = 16 * 1024;

/// Starts the hub with the same command line. If it exits before it is ready, its log is part of the error.
pub(super) fn run(config: &Config) -> anyhow::Result<()> {
    let folder = &config.data_dir;
    let cannot_use = || format!("cannot use the data folder {}", folder.display());
    DirBuilder::new().recursive(true).mode(0o700).create(folder).with_context(cannot_use)?;
    let path = folder.join(LOG_FILE);
    let cannot_write = || format!("cannot write the log {}", path.display());
    let log = OpenOptions::new().create(true).append(true).mode(0o600).open(&path);
    let log = log.with_context(cannot_write)?;
    let begin = log.metadata().with_context(cannot_write)?.len();
    let program = std::env::current_exe().context("cannot find the path of this program")?;
    let mut child = Command::new(program)
        .args(std::env::args_os().skip(1).filter(|argument| argument != FLAG))
        .arg("--log-file")
        .arg(&path)
        .stdin(Stdio::null())
        .stdout(log.try_clone().with_context(cannot_write)?)
        .stderr(log)
        // Ctrl-C in this terminal does not stop it.
        .process_group(0)
        .spawn()
        .context("cannot start the hub")?;
    let endpoints = wait_until_ready(folder, &mut child, || read_log(&path, begin))?;
    for warning in read_log(&path, begin).lines().filter(|line| line.contains("WARN")) {
        note(warning);
    }
    print_line(&format!(
        "the hub is ready: MQTT on port {}, HTTPS on port {}; log in {}; stop it with: kill {}",
        endpoints.mqtt.port(),
        endpoints.https.port(),
        path.display(),
        child.id()
    ))
}

fn wait_until_ready(folder: &Path, child: &mut Child, log: impl Fn() -> String) -> anyhow::Result<Endpoints> {
    loop {
        if let Some(status) = child.try_wait().context("cannot watch the hub")? {
            bail!("the hub did not start ({status}); its log says:\n{}", log().trim_end());
        }
        match Endpoints::read(folder) {
            // The addresses of the previous run have another process id.
            Ok(endpoints) if endpoints.pid == Some(child.id()) => {
                return Ok(starting::wait_until_listening(folder, endpoints));
            }
            _ => std::thread::sleep(POLL_INTERVAL),
        }
    }
}

/// Returns the log from this position, or its end if it is long.
fn read_log(path: &Path, begin: u64) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let length = fs::metadata(path)?.len();
        let mut file = File::open(path)?;
        // A file that was rotated meanwhile is shorter.
        let begin = if begin > length { 0 } else { begin };
        file.seek(SeekFrom::Start(begin.max(length.saturating_sub(MAX_LOG_BYTES))))?;
        let mut bytes = Vec::new();
        file.take(MAX_LOG_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
}
