//! The way back of one call: from whoever answers it to the driver.

use std::sync::{Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::MethodResponse;
use crate::error::Error;

/// An answer on its way to the driver.
pub(crate) struct PendingResponse {
    pub(crate) response: MethodResponse,
    /// Told once the hub has it, or that it never will.
    pub(crate) acknowledged: oneshot::Sender<Result<(), Error>>,
}

/// The right to answer one call, once. Dropped without an answer, the driver answers that nobody did.
pub(crate) struct Responder {
    sender: Mutex<Option<oneshot::Sender<PendingResponse>>>,
    /// Counts against the limit of calls that are worked on.
    _permit: OwnedSemaphorePermit,
}

impl Responder {
    pub(crate) fn new(permit: OwnedSemaphorePermit) -> (Self, oneshot::Receiver<PendingResponse>) {
        let (sender, receiver) = oneshot::channel();
        (Self { sender: Mutex::new(Some(sender)), _permit: permit }, receiver)
    }

    /// Hands the answer to the driver, unless there was one before or nobody waits for it.
    pub(crate) fn send(&self, response: MethodResponse) -> Option<oneshot::Receiver<Result<(), Error>>> {
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let (acknowledged, receiver) = oneshot::channel();
        sender.send(PendingResponse { response, acknowledged }).ok()?;
        Some(receiver)
    }

    /// Whether an answer would still reach somebody.
    pub(crate) fn is_open(&self) -> bool {
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        sender.as_ref().is_some_and(|sender| !sender.is_closed())
    }
}
