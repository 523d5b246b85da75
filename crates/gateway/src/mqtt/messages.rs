//! Messages to a device: out of its queue, to the device, and off the disk once it has them.
//!
//! What the store does for them runs beside everything else: a device is heard and called meanwhile. One that listens
//! for no messages, or has none, has nothing of this.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use ferrohub_core::Hub;
use ferrohub_core::connections::{CloseReason, Connection};
use ferrohub_core::messages::{Fetched, MessageFilter, Receiver, Settlement};
use ferrohub_core::session::Subscription;
use ferrohub_core::store::{StoreError, StoredMessage};
use ferrohub_model::topic::{MessageTopic, MessagesFilter};
use ferrohub_mqtt::server::Connection as Machine;
use ferrohub_mqtt::{PacketId, QoS, SendError};
use tracing::{debug, warn};

/// Bytes of messages that are read for one device at a time; one message may have more.
const MAX_FETCH_BYTES: usize = 64 * 1024;

/// The subscriptions that a filter stands for.
pub(super) fn subscriptions(filter: MessagesFilter) -> &'static [Subscription] {
    match filter {
        MessagesFilter::Messages => &[Subscription::Messages],
        MessagesFilter::Inputs => &[Subscription::Inputs],
        MessagesFilter::Both => &[Subscription::Messages, Subscription::Inputs],
    }
}

type FetchFuture = Pin<Box<dyn Future<Output = Result<Fetched, StoreError>> + Send>>;

/// The messages that one connection has in hand.
pub(super) struct MessageSender {
    connection: Arc<Connection>,
    receiver: Arc<Receiver>,
    /// How many may wait for the device's PUBACK.
    window: usize,
    /// Sent at QoS 1, and not acknowledged yet.
    unacknowledged: VecDeque<(PacketId, u64)>,
    /// Sent at QoS 0: the device has them, as far as anybody can know, when they are written.
    unwritten: Vec<u64>,
    /// The device has them; they are still in the queue.
    to_complete: Vec<u64>,
    /// MQTT cannot carry them; they are still in the queue.
    to_reject: Vec<u64>,
    /// More may wait in the queue.
    may_have_more: bool,
    fetch: Option<FetchFuture>,
}

impl MessageSender {
    pub(super) fn new(hub: &Hub, connection: &Arc<Connection>, window: usize) -> Self {
        Self {
            connection: connection.clone(),
            receiver: Arc::new(hub.message_receiver(&connection.id)),
            window,
            unacknowledged: VecDeque::new(),
            unwritten: Vec::new(),
            to_complete: Vec::new(),
            to_reject: Vec::new(),
            may_have_more: false,
            fetch: None,
        }
    }

    /// Messages may wait in the queue.
    pub(super) fn notify(&mut self) {
        self.may_have_more = true;
    }

    /// Whether nothing is left to do or to wait for: then it need not be kept.
    pub(super) fn is_idle(&self) -> bool {
        let nothing_sent =
            self.unacknowledged.is_empty() && self.unwritten.is_empty() && self.to_complete.is_empty();
        nothing_sent && !self.may_have_more && self.fetch.is_none()
    }

    /// The device has the message that was sent with this identifier.
    pub(super) fn acknowledge(&mut self, packet_id: PacketId) {
        if let Some(index) = self.unacknowledged.iter().position(|(sent, _)| *sent == packet_id)
            && let Some((_, sequence)) = self.unacknowledged.remove(index)
        {
            self.to_complete.push(sequence);
        }
    }

    /// Messages to send. Call it only when all that was to be sent is written.
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
                    warn!(device = %self.connection.id, %error, "messages could not be read or completed");
                    return Poll::Ready(Err(CloseReason::StoreFailed));
                }
            }
        }
    }

    /// Completes what the device has, all in one write; then reads what there is room for.
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

    /// Hands messages to the machine.
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
                // It stopped listening meanwhile.
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
                // It would keep the device from all that is behind it, connection after connection.
                Err(SendError::Encode(error)) => {
                    warn!(device = %self.connection.id, sequence, %error, "a message that MQTT cannot carry is given up");
                    self.to_reject.push(*sequence);
                    continue;
                }
                Err(error) => {
                    warn!(device = %self.connection.id, sequence, %error, "a message could not be sent");
                    return Err(CloseReason::ProtocolError);
                }
            }
            debug!(device = %self.connection.id, sequence, "message sent");
        }
        self.receiver.release(&unwanted);
        Ok(())
    }

    /// The connection ends. What the device said it has is completed; the rest waits for its next connection.
    pub(super) async fn close(mut self) {
        // Work that began comes to its end by itself; it holds what it completes until then.
        self.fetch = None;
        if let Err(error) = self.receiver.settle(&self.to_complete, Settlement::Complete).await {
            warn!(device = %self.connection.id, %error, "messages that the device has could not be completed");
        }
    }
}
