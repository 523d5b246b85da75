//! Communicates with a long-running program in JSON lines; the counterpart is `tests/python/json_lines.py`.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::python::{RunningScript, Script};

/// Maximum duration of an operation, longer than the clients' own time-outs.
const OPERATION_LIMIT: Duration = Duration::from_secs(110);
/// Maximum time to start Python and import the packages, on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(60);

/// An exception in the Python program.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// Class of the exception.
    pub exception: String,
    /// Text of the exception.
    pub message: String,
    /// Text of its cause (`__cause__`), or empty.
    pub cause: String,
    /// The HTTP response it contains, if any.
    pub response: Option<Value>,
}

#[derive(Default)]
struct InboxState {
    replies: HashMap<u64, Result<Value, Failure>>,
    events: VecDeque<Value>,
    closed: bool,
}

type Inbox = Arc<(Mutex<InboxState>, Condvar)>;

/// The program and its output so far.
pub(crate) struct ScriptProcess {
    running: Mutex<RunningScript>,
    inbox: Inbox,
    next_id: AtomicU64,
}

impl ScriptProcess {
    #[track_caller]
    pub(crate) fn start(script: Script) -> Self {
        let mut running = script.start();
        let lines = running.take_lines();
        let inbox = Inbox::default();
        let shared = inbox.clone();
        thread::spawn(move || {
            for line in lines {
                handle_line(&shared, &line);
            }
            shared.0.lock().expect("the lock of the inbox").closed = true;
            shared.1.notify_all();
        });
        let process = Self { running: Mutex::new(running), inbox, next_id: AtomicU64::new(1) };
        process.event(START_LIMIT, |event| event["event"] == "started");
        process
    }

    /// Starts an operation; several can run concurrently.
    pub(crate) fn begin(&self, operation: &str, arguments: &Value) -> Pending {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let line = json!({ "id": id, "op": operation, "args": arguments }).to_string();
        self.running.lock().expect("the lock of the program").write_line(&line);
        Pending { id, operation: operation.to_owned(), inbox: self.inbox.clone() }
    }

    /// Runs an operation and waits for its result.
    #[track_caller]
    pub(crate) fn call(&self, operation: &str, arguments: &Value) -> Result<Value, Failure> {
        self.begin(operation, arguments).wait()
    }

    /// Removes and returns the first event that matches, and waits for it if necessary.
    #[track_caller]
    pub(crate) fn event(&self, limit: Duration, matches: impl Fn(&Value) -> bool) -> Value {
        wait_for(&self.inbox, limit, "the event", |state| {
            let index = state.events.iter().position(&matches)?;
            state.events.remove(index)
        })
    }

    /// Removes and returns all events received so far that match.
    pub(crate) fn events(&self, matches: impl Fn(&Value) -> bool) -> Vec<Value> {
        let mut state = self.inbox.0.lock().expect("the lock of the inbox");
        let (taken, left) = state.events.drain(..).partition(|event| matches(event));
        state.events = left;
        taken.into()
    }

    pub(crate) fn kill(&self) {
        self.running.lock().expect("the lock of the program").kill();
    }
}

fn handle_line(inbox: &Inbox, line: &str) {
    let Ok(message) = serde_json::from_str::<Value>(line) else {
        eprintln!("---- not a JSON line: {line}");
        return;
    };
    let mut state = inbox.0.lock().expect("the lock of the inbox");
    if let Some(id) = message["id"].as_u64() {
        let reply = match message.get("error") {
            None => Ok(message["ok"].clone()),
            Some(error) => Err(Failure {
                exception: error["type"].as_str().unwrap_or_default().to_owned(),
                message: error["message"].as_str().unwrap_or_default().to_owned(),
                cause: error["cause"].as_str().unwrap_or_default().to_owned(),
                response: error.get("response").cloned(),
            }),
        };
        state.replies.insert(id, reply);
    } else {
        state.events.push_back(message);
    }
    inbox.1.notify_all();
}

#[track_caller]
fn wait_for<T>(
    inbox: &Inbox,
    limit: Duration,
    what: &str,
    mut find: impl FnMut(&mut InboxState) -> Option<T>,
) -> T {
    let deadline = Instant::now() + limit;
    let mut state = inbox.0.lock().expect("the lock of the inbox");
    loop {
        if let Some(found) = find(&mut state) {
            return found;
        }
        assert!(!state.closed, "the program exited before {what} arrived");
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let events = state.events.clone();
            drop(state);
            panic!("{what} did not arrive within {limit:?}; events so far: {events:?}");
        }
        state = inbox.1.wait_timeout(state, left).expect("the lock of the inbox").0;
    }
}

/// A running operation.
#[must_use]
pub struct Pending {
    id: u64,
    operation: String,
    inbox: Inbox,
}

impl Pending {
    /// Waits for the result.
    ///
    /// # Errors
    /// The exception of the operation.
    #[track_caller]
    pub fn wait(self) -> Result<Value, Failure> {
        wait_for(&self.inbox, OPERATION_LIMIT, &self.operation, |state| state.replies.remove(&self.id))
    }

    /// Returns whether the operation has ended.
    #[must_use]
    pub fn is_done(&self) -> bool {
        let state = self.inbox.0.lock().expect("the lock of the inbox");
        state.replies.contains_key(&self.id)
    }
}
