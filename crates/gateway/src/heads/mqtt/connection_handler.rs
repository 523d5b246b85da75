//! Handles the MQTT packets of a device by calling the hub.

use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use ferrohub_core::close_reason::CloseReason;
use ferrohub_core::cloud_to_device::StoredMessage;
use ferrohub_core::log_limit::excerpt;
use ferrohub_core::metrics::Outcomes;
use ferrohub_core::node::{Answer, CallEnd, DesiredNotice, MethodReply, OutgoingMethod, RequestId};
use ferrohub_core::session::{Session, Subscription};
use ferrohub_core::telemetry::DeviceMessage;
use ferrohub_core::{ConnectedDevice, Hub, log_limited};
use ferrohub_model::{IdentityId, topic};
use ferrohub_mqtt::server::{Connection as Machine, Event};
use ferrohub_mqtt::{Publish, QoS, Subscribe, SubscribeCode, Unsubscribe};
use tokio::time::Instant;
use tracing::{debug, warn};

use super::cloud_to_device::{self, MessageSender};
use super::invalid_topic::{self, InvalidTopic};
use super::telemetry::TelemetryBatch;
use super::work::{Work, WorkOutput};
use super::{telemetry, twins};
use crate::transport::peer::Peer;
use crate::transport::tcp::ConnectionSlot;

/// The client of a connection.
pub(super) enum Client {
    /// CONNECT was not accepted yet.
    Unknown(Arc<Hub>),
    /// A device or module that is connected.
    Device(ConnectedDevice),
}

impl Client {
    pub(super) fn hub(&self) -> &Arc<Hub> {
        match self {
            Self::Unknown(hub) => hub,
            Self::Device(device) => device.hub(),
        }
    }
}

/// The hub's side of one device connection.
pub(super) struct ConnectionHandler {
    pub(super) client: Client,
    pub(super) peer: Peer,
    /// Expiry of the credential.
    pub(super) expires: Option<Instant>,
    /// Whether subscriptions outlive the connection.
    pub(super) durable: bool,
    /// The will message. Boxed, because few devices have one.
    pub(super) will: Option<Box<DeviceMessage>>,
    pub(super) slot: ConnectionSlot,
    /// The pending operation of the device. While it runs, further packets of the device are not handled; output of
    /// the hub is still sent.
    work: Option<Work>,
    /// Sends cloud-to-device messages. Set while there may be some.
    messages: Option<Box<MessageSender>>,
    /// Telemetry that is not being written yet, because more of it may already have arrived. Boxed, because an idle
    /// device has none.
    batch: Option<Box<TelemetryBatch>>,
}

impl ConnectionHandler {
    pub(super) fn new(hub: Arc<Hub>, peer: Peer, slot: ConnectionSlot) -> Self {
        Self {
            client: Client::Unknown(hub),
            peer,
            expires: None,
            durable: false,
            will: None,
            slot,
            work: None,
            messages: None,
            batch: None,
        }
    }

    pub(super) fn hub(&self) -> &Arc<Hub> {
        self.client.hub()
    }

    /// Returns the device, once CONNECT is accepted.
    pub(super) fn device(&self) -> Option<&ConnectedDevice> {
        match &self.client {
            Client::Unknown(_) => None,
            Client::Device(device) => Some(device),
        }
    }

    /// Records that the device sent something.
    pub(super) fn record_activity(&self) {
        if let Some(device) = self.device() {
            device.record_activity();
        }
    }

    /// Returns whether all packets of the device have been handled.
    pub(super) fn is_idle(&self) -> bool {
        self.work.is_none() && self.batch.is_none()
    }

    /// Returns whether input may be handled: not while an operation is pending.
    pub(super) fn accepts_input(&self) -> bool {
        self.work.is_none()
    }

    /// Returns whether telemetry is batched that is not being written yet.
    pub(super) fn has_batch(&self) -> bool {
        self.batch.is_some()
    }

    /// Starts writing the batch.
    pub(super) fn write_batch(&mut self) {
        if let (Some(batch), Client::Device(device)) = (self.batch.take(), &self.client) {
            self.work = Some(batch.write(device));
        }
    }

    /// Moves telemetry events from the state machine to the batch, up to the first other event.
    fn batch_telemetry(&mut self, machine: &mut Machine) -> Result<(), CloseReason> {
        while let Some(event) = machine.peek_event() {
            let (Event::Publish(publish), Client::Device(device)) = (event, &self.client) else { break };
            if !telemetry::is_telemetry_topic(publish.topic.as_str()) {
                break;
            }
            let had_batch = self.batch.is_some();
            let batch = self.batch.get_or_insert_default();
            match batch.push(device, publish) {
                Ok(()) if batch.is_full() => {
                    let _ = machine.poll_event();
                    self.write_batch();
                    return Ok(());
                }
                Ok(()) => drop(machine.poll_event()),
                // The messages before the invalid one are still written.
                Err(_) if had_batch => break,
                Err(error) => {
                    self.batch = None;
                    return Err(telemetry::refuse(&self.peer, device, publish, error));
                }
            }
        }
        if self.has_batch() && machine.peek_event().is_some() {
            self.write_batch();
        }
        Ok(())
    }

    /// Polls the pending operation.
    pub(super) fn poll_work(&mut self, cx: &mut Context<'_>) -> Poll<Result<WorkOutput, CloseReason>> {
        let Some(work) = &mut self.work else { return Poll::Pending };
        let result = ready!(work.as_mut().poll(cx));
        self.work = None;
        Poll::Ready(result)
    }

    /// Handles the events of the state machine until one starts an asynchronous operation. An error ends the
    /// connection.
    pub(super) async fn handle_events(&mut self, machine: &mut Machine) -> Result<(), CloseReason> {
        while self.accepts_input() {
            self.batch_telemetry(machine)?;
            if !self.is_idle() {
                break;
            }
            let Some(event) = machine.poll_event() else { break };
            match event {
                // Rare operations that wait for the store are boxed: a connection is idle most of the time, and the
                // size of its task should not include their state.
                Event::Connect(connect) => Box::pin(self.connect(machine, &connect)).await?,
                Event::Subscribe(subscribe) => Box::pin(self.subscribe(machine, &subscribe)).await?,
                Event::Unsubscribe(unsubscribe) => Box::pin(self.unsubscribe(machine, &unsubscribe)).await?,
                Event::Publish(publish) => self.publish(machine, publish)?,
                Event::PubAck(packet_id) => {
                    if let Some(messages) = &mut self.messages {
                        messages.acknowledge(packet_id);
                    }
                }
                Event::Disconnect => return Err(CloseReason::ClientDisconnect),
            }
        }
        Ok(())
    }

    /// Notes that messages may be pending for the device. `window` is the maximum number of unacknowledged messages.
    pub(super) fn notify_messages(&mut self, window: usize) {
        let Client::Device(device) = &self.client else { return };
        if self.messages.is_none() {
            self.messages = MessageSender::new(device, window).map(Box::new);
        }
        if let Some(messages) = &mut self.messages {
            messages.notify();
        }
    }

    /// Polls for messages to the device. Call it only when all output is written.
    pub(super) fn poll_messages(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Vec<StoredMessage>, CloseReason>> {
        let Some(messages) = &mut self.messages else { return Poll::Pending };
        let found = messages.poll(cx);
        // Most subscribed devices have no messages most of the time, so free the sender.
        if found.is_pending() && messages.is_idle() {
            self.messages = None;
        }
        found
    }

    /// Sends messages to the device through the state machine.
    pub(super) fn send_messages(
        &mut self,
        machine: &mut Machine,
        found: &[StoredMessage],
    ) -> Result<(), CloseReason> {
        self.messages.as_mut().map_or(Ok(()), |messages| messages.send(machine, found))
    }

    /// Called when the connection ends: waits for the pending operation, then records the acknowledgements that the
    /// device has sent. Other packets are not handled: the device sends again what was not acknowledged.
    pub(super) async fn finish_work(&mut self, machine: &mut Machine) {
        if let Some(work) = self.work.take()
            && let Ok(output) = work.await
        {
            // The connection ends anyway, so an error has no effect.
            let _ = output.send(machine);
        }
        while let Some(event) = machine.poll_event() {
            if let (Event::PubAck(packet_id), Some(messages)) = (event, &mut self.messages) {
                messages.acknowledge(packet_id);
            }
        }
    }

    /// Returns the metric of panics.
    pub(super) fn panics(&self) -> &Outcomes {
        &self.hub().metrics().panics
    }

    /// Called after a panic: drops the pending operation and releases the messages of the device.
    pub(super) fn drop_work(&mut self) {
        self.work = None;
        self.messages = None;
    }

    /// Called when the connection ends: completes the messages that the device has acknowledged.
    pub(super) async fn close_messages(&mut self) {
        if let Some(messages) = self.messages.take() {
            messages.close().await;
        }
    }

    async fn subscribe(&mut self, machine: &mut Machine, subscribe: &Subscribe) -> Result<(), CloseReason> {
        let device = self.require_device()?;
        let mut session = device.connection().session();
        let mut codes = Vec::with_capacity(subscribe.filters.len());
        for (filter, qos) in &subscribe.filters {
            codes.push(match subscriptions(filter.as_str(), device.id()) {
                Some(subscriptions) => {
                    let granted = (*qos).min(QoS::AtLeastOnce);
                    for subscription in subscriptions {
                        session = session.with(*subscription, granted == QoS::AtLeastOnce);
                    }
                    SubscribeCode::Granted(granted)
                }
                None => {
                    let filter = excerpt(filter.as_str());
                    log_limited!(
                        info,
                        "subscription refused",
                        "unsupported_filter",
                        device = %device.id(),
                        filter,
                        remedy = "subscribe only to the topics of IoT Hub that this device has"
                    );
                    SubscribeCode::Failure
                }
            });
        }
        save_session(device, session, self.durable).await?;
        machine.suback(subscribe.packet_id, &codes);
        Ok(())
    }

    async fn unsubscribe(
        &mut self,
        machine: &mut Machine,
        unsubscribe: &Unsubscribe,
    ) -> Result<(), CloseReason> {
        let device = self.require_device()?;
        let mut session = device.connection().session();
        let known = |filter: &ferrohub_mqtt::Utf8| subscriptions(filter.as_str(), device.id());
        for subscription in unsubscribe.filters.iter().filter_map(known).flatten() {
            session = session.without(*subscription);
        }
        save_session(device, session, self.durable).await?;
        machine.unsuback(unsubscribe.packet_id);
        Ok(())
    }

    fn publish(&mut self, machine: &mut Machine, publish: Publish) -> Result<(), CloseReason> {
        let device = self.require_device()?;
        let topic = publish.topic.as_str();
        if topic::is_twin_request(topic) {
            self.work = Some(twins::begin(&self.peer, device, publish)?);
            return Ok(());
        }
        if !topic::is_method_response(topic) {
            return Err(invalid_topic::refuse(&self.peer, device.id(), topic, InvalidTopic::Unsupported));
        }
        let Some((status, request_id)) = topic::parse_method_response(topic) else {
            return Err(invalid_topic::refuse(&self.peer, device.id(), topic, InvalidTopic::MethodResponse));
        };
        let reply = match status {
            Some(status) => Ok(MethodReply { status, payload: publish.payload }),
            None => {
                log_limited!(
                    info,
                    "method response refused",
                    "invalid_status",
                    device = %device.id(),
                    topic = excerpt(topic),
                    remedy = "respond with an integer of 32 bits as status"
                );
                Err(CallEnd::InvalidStatus)
            }
        };
        let answer =
            RequestId::parse(request_id).map_or(Answer::NoSuchCall, |id| device.answer_method(id, reply));
        // A client that reconnected before it read the PUBACK sends its response again, as QoS 1 requires.
        if answer == Answer::NoSuchCall && !publish.dup {
            device.hub().metrics().unmatched_method_responses.inc();
            debug!(device = %device.id(), "method response without a pending call");
        }
        if let Some(packet_id) = publish.packet_id {
            machine.puback(packet_id);
        }
        Ok(())
    }

    /// Sends a method request with QoS 0, as Azure does: a call is never sent twice.
    pub(super) fn send_method(
        &self,
        machine: &mut Machine,
        method: &OutgoingMethod,
    ) -> Result<(), CloseReason> {
        let topic = topic::MethodRequest { name: method.name.as_str(), request_id: &method.request_id };
        let payload = method.payload.as_deref().unwrap_or_default();
        machine.publish(topic, QoS::AtMostOnce, payload).map(|_| ()).map_err(|error| {
            warn!(peer = %self.peer.address, %error, "cannot send a method request");
            CloseReason::ProtocolError
        })
    }

    /// Sends a change of desired properties with QoS 0: a device that was disconnected reads its twin.
    pub(super) fn send_desired(
        &self,
        machine: &mut Machine,
        notice: &DesiredNotice,
    ) -> Result<(), CloseReason> {
        let topic = topic::DesiredPatchTopic { version: notice.version };
        machine.publish(topic, QoS::AtMostOnce, &notice.patch).map(|_| ()).map_err(|error| {
            warn!(peer = %self.peer.address, %error, "cannot send a desired properties update");
            CloseReason::ProtocolError
        })
    }

    fn require_device(&self) -> Result<&ConnectedDevice, CloseReason> {
        self.device().ok_or(CloseReason::ProtocolError)
    }

    /// Converts a future wall-clock time to a monotonic instant.
    pub(super) fn to_instant(&self, moment: ferrohub_model::Timestamp) -> Option<Instant> {
        let left = moment.unix_millis().saturating_sub(self.hub().now().unix_millis());
        // `None` (never) if the time is beyond the range of the clock.
        Instant::now().checked_add(Duration::from_millis(u64::try_from(left).unwrap_or(0)))
    }
}

async fn save_session(device: &ConnectedDevice, session: Session, durable: bool) -> Result<(), CloseReason> {
    device.set_session(session, durable).await.map_err(|error| {
        // The subscription is not acknowledged, so the device knows that it is not in effect.
        warn!(device = %device.id(), %error, "cannot store a subscription");
        CloseReason::StoreFailed
    })
}

fn subscriptions(filter: &str, id: &IdentityId) -> Option<&'static [Subscription]> {
    Some(match filter {
        topic::METHODS_FILTER => &[Subscription::Methods],
        topic::TWIN_RESPONSES_FILTER => &[Subscription::TwinResponses],
        topic::DESIRED_FILTER => &[Subscription::DesiredProperties],
        _ => cloud_to_device::subscriptions(topic::parse_messages_filter(filter, id)?),
    })
}
