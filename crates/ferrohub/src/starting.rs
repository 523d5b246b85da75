//! Waiting for a hub on this machine that is starting.
//!
//! A command that runs right after `ferrohub serve &` finds no endpoints yet, or those of the previous run. It waits for
//! a short time before it reports that there is no hub, and longer if it sees that a hub is starting.

use std::net::TcpStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::endpoints::{self, Endpoints};

/// How long a command waits for the first sign of a hub.
const FIRST_SIGN: Duration = Duration::from_secs(3);
/// How long a command waits for a hub that is starting.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How often the state of the hub is read.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// Time-out for connecting to a hub on this machine.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Waits until no hub is starting in the data folder.
pub(crate) fn wait_while_starting(data_dir: &Path) {
    poll(START_TIMEOUT, || (!endpoints::is_starting(data_dir)).then_some(()));
}

/// Returns the endpoints of the hub in the data folder, after a wait if it is starting.
pub(crate) fn endpoints(data_dir: &Path) -> anyhow::Result<Endpoints> {
    poll(FIRST_SIGN, || {
        wait_while_starting(data_dir);
        Endpoints::read(data_dir).ok()
    });
    Endpoints::read(data_dir)
}

/// Waits until the hub accepts connections, and returns its endpoints, which differ from `known` if it started in the
/// meantime. After the time-out, the command tries and reports the error.
pub(crate) fn wait_until_listening(data_dir: &Path, known: Endpoints) -> Endpoints {
    let accepts =
        |endpoints: &Endpoints| TcpStream::connect_timeout(&endpoints.local_https(), CONNECT_TIMEOUT).is_ok();
    if accepts(&known) {
        return known;
    }
    let found = poll(FIRST_SIGN, || {
        wait_while_starting(data_dir);
        Endpoints::read(data_dir).ok().filter(accepts)
    });
    found.unwrap_or(known)
}

/// Repeats `attempt` until it returns a value or the time is over.
fn poll<T>(limit: Duration, mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    let begun = Instant::now();
    loop {
        if let Some(value) = attempt() {
            return Some(value);
        }
        if begun.elapsed() >= limit {
            return None;
        }
        thread::sleep(POLL_INTERVAL);
    }
}
