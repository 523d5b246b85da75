//! Receiving and settling messages, for devices and modules; feedback, for services.

use ferrohub_model::{ErrorCode, HubError};

use super::{FeedbackBatch, LockedMessage, Receiver, Settlement};
use crate::callers::{ConnectedDevice, DeviceCaller, ServiceCaller};
use crate::delivery::LockToken;
use crate::operations::Operation;
use crate::store::store_failed;

impl DeviceCaller {
    /// Returns the oldest unlocked message to it, and locks it for
    /// [`MessageLimits::lock`](crate::cloud_to_device::MessageLimits::lock). Returns `None` if there is none.
    pub async fn receive_message(&self) -> Result<Option<LockedMessage>, HubError> {
        let hub = self.permit(Operation::ReceiveMessage)?;
        hub.queues.receive(self.id()).await.map_err(store_failed)
    }

    /// Settles a message that it received.
    ///
    /// # Errors
    ///
    /// `DeviceMessageLockLost` if the lock expired or `token` is unknown.
    pub async fn settle_message(&self, token: &str, settlement: Settlement) -> Result<(), HubError> {
        let hub = self.permit(match settlement {
            Settlement::Abandon => Operation::AbandonMessage,
            Settlement::Complete | Settlement::Reject => Operation::CompleteMessage,
        })?;
        let settled = match LockToken::parse(token) {
            Some(token) => {
                hub.queues.settle_with_token(self.id(), token, settlement).await.map_err(store_failed)?
            }
            None => false,
        };
        if settled { Ok(()) } else { Err(lock_lost("message")) }
    }
}

impl ConnectedDevice {
    /// Returns the receiver with which it fetches messages.
    pub fn message_receiver(&self) -> Result<Receiver, HubError> {
        Ok(self.permit(Operation::ReceiveMessage)?.queues.receiver(self.id()))
    }
}

impl ServiceCaller {
    /// Returns the oldest unlocked batch of message feedback, and locks it for
    /// [`FeedbackLimits::lock`](crate::cloud_to_device::FeedbackLimits::lock). Returns `None` if there is none.
    pub async fn receive_feedback(&self) -> Result<Option<FeedbackBatch>, HubError> {
        let hub = self.permit(Operation::ReceiveFeedback)?;
        hub.queues.feedback.receive().await.map_err(store_failed)
    }

    /// Waits until there is a batch of message feedback, and locks it as [`receive_feedback`](Self::receive_feedback) does.
    /// Costs nothing while it waits. Cancel-safe.
    pub async fn next_feedback(&self) -> Result<FeedbackBatch, HubError> {
        let hub = self.permit(Operation::ReceiveFeedback)?;
        hub.queues.feedback.next().await.map_err(store_failed)
    }

    /// Gives back a feedback batch that it received and will not settle, as if it had not been received. Has no effect if
    /// the lock expired or `token` is unknown.
    pub fn release_feedback(&self, token: LockToken) -> Result<(), HubError> {
        let hub = self.permit(Operation::ReceiveFeedback)?;
        hub.queues.feedback.release(token);
        Ok(())
    }

    /// Settles a feedback batch that a service received.
    ///
    /// # Errors
    ///
    /// `DeviceMessageLockLost` if the lock expired or `token` is unknown.
    pub async fn settle_feedback(&self, token: &str, settlement: Settlement) -> Result<(), HubError> {
        let hub = self.permit(match settlement {
            Settlement::Abandon => Operation::AbandonFeedback,
            Settlement::Complete | Settlement::Reject => Operation::CompleteFeedback,
        })?;
        let settled = match LockToken::parse(token) {
            Some(token) => hub.queues.feedback.settle(token, settlement).await.map_err(store_failed)?,
            None => false,
        };
        if settled { Ok(()) } else { Err(lock_lost("feedback")) }
    }
}

fn lock_lost(what: &str) -> HubError {
    let text = format!("The lock of the {what} expired, or the lock token is unknown.");
    HubError::new(ErrorCode::DeviceMessageLockLost, text)
}
