//! Carries the response of one call from the application to the driver.

use std::sync::{Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::MethodResponse;
use crate::error::Error;

/// A response on its way to the driver.
pub(crate) struct PendingResponse {
    pub(crate) response: MethodResponse,
    /// Receives `Ok` when the hub has acknowledged the response, or the reason why it will not.
    pub(crate) acknowledged: oneshot::Sender<Result<(), Error>>,
}

/// The right to answer one call, once. If it is dropped unused, the driver responds with status 500.
pub(crate) struct Responder {
    sender: Mutex<Option<oneshot::Sender<PendingResponse>>>,
    /// Counts against the limit of concurrent calls.
    _permit: OwnedSemaphorePermit,
}

impl Responder {
    pub(crate) fn new(permit: OwnedSemaphorePermit) -> (Self, oneshot::Receiver<PendingResponse>) {
        let (sender, receiver) = oneshot::channel();
        (Self { sender: Mutex::new(Some(sender)), _permit: permit }, receiver)
    }

    /// Hands the response to the driver. Returns `None` if the call has been answered already or has ended.
    pub(crate) fn send(&self, response: MethodResponse) -> Option<oneshot::Receiver<Result<(), Error>>> {
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let (acknowledged, receiver) = oneshot::channel();
        sender.send(PendingResponse { response, acknowledged }).ok()?;
        Some(receiver)
    }

    /// Returns whether a response would still be sent.
    pub(crate) fn is_open(&self) -> bool {
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        sender.as_ref().is_some_and(|sender| !sender.is_closed())
    }
}
