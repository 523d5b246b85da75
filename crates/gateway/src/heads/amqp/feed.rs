//! What the hub sends to services: feedback on messages, and notifications of uploaded files. Both are locked for their
//! receiver until it settles them.

use bytes::BytesMut;
use ferrohub_amqp::message::{MessageEncoder, Properties};
use ferrohub_amqp::performative::Outcome;
use ferrohub_amqp::{Symbol, Value};
use ferrohub_core::cloud_to_device::{FeedbackBatch, Settlement};
use ferrohub_core::delivery::LockToken;
use ferrohub_core::files::LockedNotification;
use ferrohub_core::{Operation, ServiceCaller};
use ferrohub_model::message::FEEDBACK_CONTENT_TYPE;
use ferrohub_model::{ErrorCode, HubError, Timestamp};
use serde::Serialize;

/// Media type of a file notification.
const NOTIFICATION_CONTENT_TYPE: &str = "application/vnd.microsoft.iothub.filenotification.json";

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Feed {
    Feedback,
    FileNotifications,
}

/// A batch of feedback or a notification, locked and encoded.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) token: LockToken,
    pub(super) message: BytesMut,
}

impl Feed {
    /// Returns the operation that receives.
    pub(super) fn receive_operation(self) -> Operation {
        match self {
            Self::Feedback => Operation::ReceiveFeedback,
            Self::FileNotifications => Operation::ReceiveFileNotification,
        }
    }

    /// Returns the operation that settles.
    pub(super) fn settle_operation(self, settlement: Settlement) -> Operation {
        match (self, settlement) {
            (Self::Feedback, Settlement::Abandon) => Operation::AbandonFeedback,
            (Self::Feedback, _) => Operation::CompleteFeedback,
            (Self::FileNotifications, Settlement::Abandon) => Operation::AbandonFileNotification,
            (Self::FileNotifications, _) => Operation::CompleteFileNotification,
        }
    }

    /// Waits for the next item and locks it.
    pub(super) async fn next(self, caller: &ServiceCaller, host: &str) -> Result<Item, HubError> {
        match self {
            Self::Feedback => encode_feedback(&caller.next_feedback().await?, host),
            Self::FileNotifications => encode_notification(&caller.next_file_notification().await?, host),
        }
    }

    /// Locks the next item, if there is one.
    pub(super) async fn try_next(self, caller: &ServiceCaller, host: &str) -> Result<Option<Item>, HubError> {
        match self {
            Self::Feedback => {
                let batch = caller.receive_feedback().await?;
                batch.map(|batch| encode_feedback(&batch, host)).transpose()
            }
            Self::FileNotifications => {
                let locked = caller.receive_file_notification().await?;
                locked.map(|locked| encode_notification(&locked, host)).transpose()
            }
        }
    }

    /// Settles an item. A notification that is rejected is removed, as a completed one: nobody asks for its outcome.
    pub(super) async fn settle(
        self,
        caller: &ServiceCaller,
        token: LockToken,
        settlement: Settlement,
    ) -> Result<(), HubError> {
        let token = token.to_string();
        match (self, settlement) {
            (Self::Feedback, settlement) => caller.settle_feedback(&token, settlement).await,
            (Self::FileNotifications, Settlement::Abandon) => caller.abandon_file_notification(&token).await,
            (Self::FileNotifications, _) => caller.complete_file_notification(&token).await,
        }
    }

    /// Gives back an item whose receiver is gone. An error means that the lock has expired.
    pub(super) fn release(self, caller: &ServiceCaller, token: LockToken) -> Result<(), HubError> {
        match self {
            Self::Feedback => caller.release_feedback(token),
            Self::FileNotifications => caller.release_file_notification(token),
        }
    }
}

/// Returns what the decision of a receiver means. One without a decision has lost the item.
pub(super) fn settlement(outcome: Option<&Outcome>) -> Settlement {
    match outcome {
        Some(Outcome::Accepted) => Settlement::Complete,
        Some(Outcome::Rejected(_)) => Settlement::Reject,
        Some(Outcome::Released | Outcome::Modified { .. }) | None => Settlement::Abandon,
    }
}

fn encode_feedback(batch: &FeedbackBatch, host: &str) -> Result<Item, HubError> {
    let annotations = Annotations { enqueued: batch.enqueued, delivery_count: Some(batch.delivery_count) };
    encode(batch.token, host, FEEDBACK_CONTENT_TYPE, annotations, &batch.records)
}

fn encode_notification(locked: &LockedNotification, host: &str) -> Result<Item, HubError> {
    let annotations = Annotations { enqueued: locked.notification.enqueued_time_utc, delivery_count: None };
    encode(locked.token, host, NOTIFICATION_CONTENT_TYPE, annotations, &locked.notification)
}

struct Annotations {
    enqueued: Timestamp,
    /// How often the item was abandoned, if the hub counts it.
    delivery_count: Option<u32>,
}

/// Encodes an item. .NET clients read the user id, and annotations of exactly these types.
fn encode(
    token: LockToken,
    host: &str,
    content_type: &str,
    annotations: Annotations,
    body: &impl Serialize,
) -> Result<Item, HubError> {
    let body = serde_json::to_vec(body).map_err(|_| invalid_item())?;
    let id = token.to_string();
    let properties = Properties {
        message_id: Some(Value::String(&id)),
        user_id: Some(host.as_bytes()),
        content_type: Some(Symbol(content_type)),
        ..Properties::default()
    };
    let mut message = BytesMut::new();
    MessageEncoder::new(&mut message)
        .message_annotations(|map| {
            map.symbol("iothub-enqueuedtime");
            map.timestamp(annotations.enqueued.unix_millis());
            if let Some(count) = annotations.delivery_count {
                map.symbol("iothub-deliverycount");
                map.ubyte(u8::try_from(count).unwrap_or(u8::MAX));
            }
            map.symbol("x-opt-lock-token");
            map.string(&id);
        })
        .properties(&properties)
        .data(&body);
    Ok(Item { token, message })
}

fn invalid_item() -> HubError {
    HubError::new(ErrorCode::ServerError, "The hub cannot encode an item.")
}

#[cfg(test)]
mod tests {
    use ferrohub_amqp::message::Message;
    use ferrohub_model::Guid;

    use super::*;

    #[test]
    fn an_outcome_decides_what_becomes_of_an_item() {
        let modified = |undeliverable_here| Outcome::Modified { delivery_failed: true, undeliverable_here };
        for (outcome, expected) in [
            (Some(Outcome::Accepted), Settlement::Complete),
            (Some(Outcome::Rejected(None)), Settlement::Reject),
            (Some(Outcome::Released), Settlement::Abandon),
            (Some(modified(false)), Settlement::Abandon),
            (Some(modified(true)), Settlement::Abandon),
            (None, Settlement::Abandon),
        ] {
            assert_eq!(settlement(outcome.as_ref()), expected, "{outcome:?}");
        }
    }

    #[test]
    fn an_item_has_what_dotnet_clients_read() {
        let id = Guid::random().to_string();
        let token = LockToken::parse(&id).unwrap();
        let enqueued = Timestamp::from_unix_millis(1_700_000_000_123);
        let annotations = Annotations { enqueued, delivery_count: Some(300) };
        let item = encode(token, "hub.local", FEEDBACK_CONTENT_TYPE, annotations, &["x"]).unwrap();
        let message = Message::parse(&item.message).unwrap();
        let properties = message.properties().unwrap();
        assert_eq!(properties.user_id, Some(&b"hub.local"[..]));
        assert_eq!(properties.content_type, Some(Symbol(FEEDBACK_CONTENT_TYPE)));
        let annotations = message.message_annotations().unwrap();
        for (name, value) in [
            ("iothub-enqueuedtime", Value::Timestamp(1_700_000_000_123)),
            ("iothub-deliverycount", Value::Ubyte(255)),
            ("x-opt-lock-token", Value::String(&id)),
        ] {
            assert_eq!(annotations.get(name), Some(value), "{name}");
        }
        assert_eq!(&message.data().concat()[..], b"[\"x\"]");
    }
}
