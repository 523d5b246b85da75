//! Cloud-to-device messages: fetches them from the device's queue, sends them, and completes them once the device has
//! acknowledged them.
//!
//! The store operations run concurrently with the rest of the connection: input and method calls are handled meanwhile.
//! A device that has not subscribed to messages, or has none, needs no memory for this.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use ferrohub_core::ConnectedDevice;
use ferrohub_core::close_reason::CloseReason;
use ferrohub_core::cloud_to_device::{Fetched, MessageFilter, Receiver, Settlement, StoredMessage};
use ferrohub_core::node::Connection;
use ferrohub_core::session::Subscription;
use ferrohub_core::store::StoreError;
use ferrohub_model::topic::{MessageTopic, MessagesFilter};
use ferrohub_mqtt::server::Connection as Machine;
use ferrohub_mqtt::{PacketId, QoS, SendError};
use tracing::{debug, warn};

/// Maximum bytes of messages that are fetched for one device at a time; a single message may be larger.
const MAX_FETCH_BYTES: usize = 64 * 1024;

/// Returns the subscriptions that a topic filter requests.
pub(super) fn subscriptions(filter: MessagesFilter) -> &'static [Subscription] {
    match filter {
        MessagesFilter::Messages => &[Subscription::Messages],
        MessagesFilter::Inputs => &[Subscription::Inputs],
        MessagesFilter::Both => &[Subscription::Messages, Subscription::Inputs],
    }
}

type FetchFuture = Pin<Box<dyn Future<Output = Result<Fetched, StoreError>> + Send>>;

/// Sends and settles the messages of one connection.
pub(super) struct MessageSender {
    connection: Arc<Connection>,
    receiver: Arc<Receiver>,
    /// Maximum number of messages without PUBACK.
    window: usize,
    /// Sent with QoS 1 and not acknowledged yet.
    unacknowledged: VecDeque<(PacketId, u64)>,
    /// Sent with QoS 0: considered delivered once they are written to the transport.
    unwritten: Vec<u64>,
    /// Delivered, to be completed in the queue.
    to_complete: Vec<u64>,
    /// Cannot be encoded in MQTT, to be rejected in the queue.
    to_reject: Vec<u64>,
    /// The queue may contain more messages.
    may_have_more: bool,
    fetch: Option<FetchFuture>,
}

impl MessageSender {
    /// Returns `None` if the device may not receive messages.
    pub(super) fn new(device: &ConnectedDevice, window: usize) -> Option<Self> {
        Some(Self {
            connection: device.connection().clone(),
            receiver: Arc::new(device.message_receiver().ok()?),
            window,
            unacknowledged: VecDeque::new(),
            unwritten: Vec::new(),
            to_complete: Vec::new(),
            to_reject: Vec::new(),
            may_have_more: false,
            fetch: None,
        })
    }

    /// Notes that the queue may contain messages.
    pub(super) fn notify(&mut self) {
        self.may_have_more = true;
    }

    /// Returns whether nothing is pending, so that the sender can be dropped.
    pub(super) fn is_idle(&self) -> bool {
        let nothing_sent =
            self.unacknowledged.is_empty() && self.unwritten.is_empty() && self.to_complete.is_empty();
        nothing_sent && !self.may_have_more && self.fetch.is_none()
    }

    /// Records the PUBACK for this packet identifier.
    pub(super) fn acknowledge(&mut self, packet_id: PacketId) {
        if let Some(index) = self.unacknowledged.iter().position(|(sent, _)| *sent == packet_id)
            && let Some((_, sequence)) = self.unacknowledged.remove(index)
        {
            self.to_complete.push(sequence);
        }
    }

    /// Polls for messages to send. Call it only when all output is written.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Vec<StoredMessage>, CloseReason>> {
        self.to_complete.append(&mut self.unwritten);
        loop {
            if self.fetch.is_none() {
                self.fetch = self.next_fetch();
            }
            let Some(fetch) = &mut self.fetch else { return Poll::Pending };
            let Poll::Ready(outcome) = fetch.as_mut().poll(cx) else { return Poll::Pending };
            self.fetch = None;
            match outcome {
                Ok(Fetched { messages, more }) => {
                    self.may_have_more |= more;
                    if !messages.is_empty() {
                        return Poll::Ready(Ok(messages));
                    }
                }
                Err(error) => {
                    warn!(device = %self.connection.id, %error, "cannot read or complete messages");
                    return Poll::Ready(Err(CloseReason::StoreFailed));
                }
            }
        }
    }

    /// Returns a future that completes the delivered messages in one write, then fetches as many as the window allows.
    fn next_fetch(&mut self) -> Option<FetchFuture> {
        let filter = MessageFilter::from(self.connection.session());
        let room = self.window.saturating_sub(self.unacknowledged.len());
        let fetch = self.may_have_more && room > 0 && (filter.messages || filter.inputs);
        if self.to_complete.is_empty() && self.to_reject.is_empty() && !fetch {
            return None;
        }
        if fetch {
            self.may_have_more = false;
        }
        let receiver = self.receiver.clone();
        let (to_complete, to_reject) =
            (std::mem::take(&mut self.to_complete), std::mem::take(&mut self.to_reject));
        Some(Box::pin(async move {
            receiver.settle(&to_complete, Settlement::Complete).await?;
            receiver.settle(&to_reject, Settlement::Reject).await?;
            if !fetch {
                return Ok(Fetched::default());
            }
            receiver.fetch(filter, room, MAX_FETCH_BYTES).await
        }))
    }

    /// Sends messages through the state machine.
    pub(super) fn send(
        &mut self,
        machine: &mut Machine,
        messages: &[StoredMessage],
    ) -> Result<(), CloseReason> {
        let session = self.connection.session();
        let mut unwanted = Vec::new();
        for StoredMessage { sequence, message, .. } in messages {
            let subscription = match message.input {
                None => Subscription::Messages,
                Some(_) => Subscription::Inputs,
            };
            if !session.has(subscription) {
                // The device has unsubscribed in the meantime.
                unwanted.push(*sequence);
                continue;
            }
            let qos = if session.has_qos1(subscription) { QoS::AtLeastOnce } else { QoS::AtMostOnce };
            let topic = MessageTopic {
                id: &self.connection.id,
                input: message.input.as_deref(),
                properties: &message.properties,
            };
            match machine.publish(topic, qos, &message.body) {
                Ok(Some(packet_id)) => self.unacknowledged.push_back((packet_id, *sequence)),
                Ok(None) => self.unwritten.push(*sequence),
                // Otherwise the message would block all later messages, on every connection.
                Err(SendError::Encode(error)) => {
                    let device = &self.connection.id;
                    warn!(%device, sequence, %error, "message rejected: it cannot be sent over MQTT");
                    self.to_reject.push(*sequence);
                    continue;
                }
                Err(error) => {
                    warn!(device = %self.connection.id, sequence, %error, "cannot send a message");
                    return Err(CloseReason::ProtocolError);
                }
            }
            debug!(device = %self.connection.id, sequence, "message sent");
        }
        self.receiver.release(&unwanted);
        Ok(())
    }

    /// Called when the connection ends: completes the acknowledged messages. The others stay in the queue for the next
    /// connection.
    pub(super) async fn close(mut self) {
        // A settlement in progress completes even if its future is dropped, and keeps its messages locked until then.
        self.fetch = None;
        if let Err(error) = self.receiver.settle(&self.to_complete, Settlement::Complete).await {
            warn!(
                device = %self.connection.id,
                %error,
                "cannot complete messages that the device received; they are delivered again"
            );
        }
    }
}
