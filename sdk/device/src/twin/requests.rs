//! What the application asks of the twin, on its way to the background task.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::error::{Error, ErrorKind};

/// How many requests may wait to be sent.
const MAX_WAITING: usize = 64;

#[derive(Debug, Clone)]
pub(crate) enum TwinAsk {
    Get,
    /// A change of what the device reports: a JSON object.
    Report {
        patch: Bytes,
        if_version: Option<u64>,
    },
}

/// A request's good end.
#[derive(Debug)]
pub(crate) struct TwinAnswer {
    /// The new version, after a report.
    pub(crate) version: Option<u64>,
    /// The twin, for a get.
    pub(crate) payload: Bytes,
}

/// Who waits for the answer.
#[derive(Debug)]
pub(crate) enum Asker {
    /// Somebody who may have given up meanwhile.
    Application(oneshot::Sender<Result<TwinAnswer, Error>>),
    /// The task itself, for the stream of desired properties.
    Desired,
}

#[derive(Debug)]
pub(crate) struct TwinRequest {
    pub(crate) ask: TwinAsk,
    pub(crate) asker: Asker,
}

impl TwinRequest {
    /// Whether nobody waits any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        matches!(&self.asker, Asker::Application(reply) if reply.is_closed())
    }

    /// Whether it does no harm to ask again when it is not known what became of it. Changes can be merged twice; that a
    /// version is still the same may be true only the first time.
    pub(crate) fn is_repeatable(&self) -> bool {
        !matches!(self.ask, TwinAsk::Report { if_version: Some(_), .. })
    }

    pub(crate) fn fail(self, error: Error) {
        if let Asker::Application(reply) = self.asker {
            // Who gave up is not told.
            let _ = reply.send(Err(error));
        }
    }
}

/// The requests that wait to be sent.
#[derive(Default)]
pub(crate) struct TwinQueue {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Whether there is a task to send them.
    open: bool,
    waiting: VecDeque<TwinRequest>,
}

impl TwinQueue {
    /// A task begins.
    pub(crate) fn open(&self) {
        self.lock().open = true;
    }

    /// No more requests are taken; those that wait are still sent.
    pub(crate) fn shut(&self) {
        self.lock().open = false;
    }

    /// The task ends: nobody will send what waits.
    pub(crate) fn close(&self, error: &Error) {
        let mut state = self.lock();
        state.open = false;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(|request| request.fail(error.clone()));
    }

    pub(crate) fn push(&self, request: TwinRequest) -> Result<(), Error> {
        let mut state = self.lock();
        if !state.open {
            return Err(Error::closed());
        }
        if state.waiting.len() >= MAX_WAITING {
            state.waiting.retain(|request| !request.is_abandoned());
        }
        if state.waiting.len() >= MAX_WAITING {
            let message = format!("{MAX_WAITING} requests to the twin wait already");
            return Err(Error::new(ErrorKind::QueueFull, message));
        }
        state.waiting.push_back(request);
        Ok(())
    }

    /// Those that must be sent again, oldest first, before all others.
    pub(crate) fn put_back(&self, requests: impl DoubleEndedIterator<Item = TwinRequest>) {
        let mut state = self.lock();
        for request in requests.rev() {
            state.waiting.push_front(request);
        }
    }

    pub(crate) fn pop(&self) -> Option<TwinRequest> {
        let mut state = self.lock();
        loop {
            match state.waiting.pop_front() {
                Some(request) if request.is_abandoned() => {}
                next => return next,
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().waiting.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
