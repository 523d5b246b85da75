//! The queue of twin requests, from the application to the background task.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::error::{Error, ErrorKind};

/// The most queued requests.
const MAX_QUEUED: usize = 64;

#[derive(Debug, Clone)]
pub(crate) enum TwinOperation {
    Get,
    /// A patch of the reported properties: a JSON object.
    Report {
        patch: Bytes,
        if_version: Option<u64>,
    },
}

/// The successful response to a request.
#[derive(Debug)]
pub(crate) struct TwinReply {
    /// The new version, after a report.
    pub(crate) version: Option<u64>,
    /// The twin, for a get.
    pub(crate) payload: Bytes,
}

/// The receiver of the response.
#[derive(Debug)]
pub(crate) enum Requester {
    /// A caller, who may have dropped its future.
    Application(oneshot::Sender<Result<TwinReply, Error>>),
    /// The background task, which reads the twin for the stream of desired properties.
    DesiredStream,
}

#[derive(Debug)]
pub(crate) struct TwinRequest {
    pub(crate) operation: TwinOperation,
    pub(crate) requester: Requester,
}

impl TwinRequest {
    /// Returns whether the caller has dropped its future.
    pub(crate) fn is_cancelled(&self) -> bool {
        matches!(&self.requester, Requester::Application(reply) if reply.is_closed())
    }

    /// Returns whether the request can be sent again if its outcome is unknown. Merging a
    /// patch twice has the same result as once. A report with `if_version` cannot be sent again: if the first one
    /// succeeded, the version has changed, and the second one fails.
    pub(crate) fn is_repeatable(&self) -> bool {
        !matches!(self.operation, TwinOperation::Report { if_version: Some(_), .. })
    }

    pub(crate) fn fail(self, error: Error) {
        if let Requester::Application(reply) = self.requester {
            // Fails if the caller has dropped its future.
            let _ = reply.send(Err(error));
        }
    }
}

/// The queued requests.
#[derive(Default)]
pub(crate) struct TwinQueue {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Whether `push` accepts requests.
    accepting: bool,
    queued: VecDeque<TwinRequest>,
}

impl TwinQueue {
    /// Accepts requests. Call it when the background task starts.
    pub(crate) fn open(&self) {
        self.lock().accepting = true;
    }

    /// Refuses further requests; queued requests are still sent.
    pub(crate) fn stop_accepting(&self) {
        self.lock().accepting = false;
    }

    /// Refuses further requests, and fails the queued ones with `error`. Call it when the background task has ended.
    pub(crate) fn close(&self, error: &Error) {
        let mut state = self.lock();
        state.accepting = false;
        let queued = std::mem::take(&mut state.queued);
        drop(state);
        queued.into_iter().for_each(|request| request.fail(error.clone()));
    }

    pub(crate) fn push(&self, request: TwinRequest) -> Result<(), Error> {
        let mut state = self.lock();
        if !state.accepting {
            return Err(Error::closed());
        }
        if state.queued.len() >= MAX_QUEUED {
            state.queued.retain(|request| !request.is_cancelled());
        }
        if state.queued.len() >= MAX_QUEUED {
            let message =
                format!("{MAX_QUEUED} twin requests are queued already; at most that many are allowed");
            return Err(Error::new(ErrorKind::QueueFull, message));
        }
        state.queued.push_back(request);
        Ok(())
    }

    /// Puts `requests`, oldest first, at the front of the queue, because they must be sent again.
    pub(crate) fn requeue(&self, requests: impl DoubleEndedIterator<Item = TwinRequest>) {
        let mut state = self.lock();
        for request in requests.rev() {
            state.queued.push_front(request);
        }
    }

    pub(crate) fn pop(&self) -> Option<TwinRequest> {
        let mut state = self.lock();
        loop {
            match state.queued.pop_front() {
                Some(request) if request.is_cancelled() => {}
                next => return next,
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().queued.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
