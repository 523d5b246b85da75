//! Talking to a long-lived program in JSON lines; the other half is `tests/python/json_lines.py`.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::python::{RunningScript, Script};

/// How long an operation may take unless the test says otherwise: longer than the clients' own limits.
const OPERATION_LIMIT: Duration = Duration::from_secs(110);
/// Starting Python and importing the packages, on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(60);

/// An exception in the Python program.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// The exception's class.
    pub exception: String,
    /// Its text.
    pub message: String,
    /// The text of the exception behind it, or empty.
    pub cause: String,
    /// The HTTP answer it carries, if any.
    pub response: Option<Value>,
}

#[derive(Default)]
struct InboxState {
    replies: HashMap<u64, Result<Value, Failure>>,
    events: VecDeque<Value>,
    closed: bool,
}

type Inbox = Arc<(Mutex<InboxState>, Condvar)>;

/// The program and what it has said so far.
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
            shared.0.lock().expect("the inbox").closed = true;
            shared.1.notify_all();
        });
        let process = Self { running: Mutex::new(running), inbox, next_id: AtomicU64::new(1) };
        process.event(START_LIMIT, |event| event["event"] == "started");
        process
    }

    /// Starts an operation; several may run at once.
    pub(crate) fn begin(&self, operation: &str, arguments: &Value) -> Pending {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let line = json!({ "id": id, "op": operation, "args": arguments }).to_string();
        self.running.lock().expect("the program").write_line(&line);
        Pending { id, what: operation.to_owned(), inbox: self.inbox.clone() }
    }

    /// Runs an operation to its end.
    #[track_caller]
    pub(crate) fn call(&self, operation: &str, arguments: &Value) -> Result<Value, Failure> {
        self.begin(operation, arguments).wait()
    }

    /// Takes the first event that fits, waiting for it if need be.
    #[track_caller]
    pub(crate) fn event(&self, limit: Duration, fits: impl Fn(&Value) -> bool) -> Value {
        wait_for(&self.inbox, limit, "the event", |state| {
            let at = state.events.iter().position(&fits)?;
            state.events.remove(at)
        })
    }

    /// Takes all events that fit, as they are now.
    pub(crate) fn events(&self, fits: impl Fn(&Value) -> bool) -> Vec<Value> {
        let mut state = self.inbox.0.lock().expect("the inbox");
        let (taken, left) = state.events.drain(..).partition(|event| fits(event));
        state.events = left;
        taken.into()
    }

    pub(crate) fn kill(&self) {
        self.running.lock().expect("the program").kill();
    }
}

fn handle_line(inbox: &Inbox, line: &str) {
    let Ok(said) = serde_json::from_str::<Value>(line) else {
        eprintln!("---- not a JSON line: {line}");
        return;
    };
    let mut state = inbox.0.lock().expect("the inbox");
    if let Some(id) = said["id"].as_u64() {
        let reply = match said.get("error") {
            None => Ok(said["ok"].clone()),
            Some(error) => Err(Failure {
                exception: error["type"].as_str().unwrap_or_default().to_owned(),
                message: error["message"].as_str().unwrap_or_default().to_owned(),
                cause: error["cause"].as_str().unwrap_or_default().to_owned(),
                response: error.get("response").cloned(),
            }),
        };
        state.replies.insert(id, reply);
    } else {
        state.events.push_back(said);
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
    let mut state = inbox.0.lock().expect("the inbox");
    loop {
        if let Some(found) = find(&mut state) {
            return found;
        }
        assert!(!state.closed, "the program ended before {what} came");
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let events = state.events.clone();
            drop(state);
            panic!("{what} did not come within {limit:?}; events so far: {events:?}");
        }
        state = inbox.1.wait_timeout(state, left).expect("the inbox").0;
    }
}

/// An operation that runs.
#[must_use]
pub struct Pending {
    id: u64,
    what: String,
    inbox: Inbox,
}

impl Pending {
    /// Waits for its end.
    ///
    /// # Errors
    /// The exception it ended with.
    #[track_caller]
    pub fn wait(self) -> Result<Value, Failure> {
        wait_for(&self.inbox, OPERATION_LIMIT, &self.what, |state| state.replies.remove(&self.id))
    }

    /// Whether it has ended.
    #[must_use]
    pub fn is_done(&self) -> bool {
        let state = self.inbox.0.lock().expect("the inbox");
        state.replies.contains_key(&self.id)
    }
}
