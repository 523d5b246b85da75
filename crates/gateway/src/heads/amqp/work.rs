//! Operations of a client that wait for the hub. A connection runs one at a time, so messages stay in order.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use ferrohub_amqp::performative::SaslInit;
use ferrohub_amqp::{Delivery, DeliveryId, LinkId, Owned, SessionId, Unsettled};
use ferrohub_core::auth::Principal;
use ferrohub_core::cloud_to_device::Settlement;
use ferrohub_core::delivery::LockToken;
use ferrohub_core::request_peer::{self, with_peer};
use ferrohub_core::telemetry::{EventReader, ReadError};
use ferrohub_core::{Hub, Operation, ServiceCaller, log_limited};
use ferrohub_model::message::{Destination, MessageProperties, SystemProperty};
use ferrohub_model::{ErrorCode, HubError, Timestamp};

use super::connection_handler::Accepted;
use super::event_link::EventLink;
use super::event_message::{self, LastEnqueued};
use super::feed::{Feed, Item};
use super::limits::{MAX_BYTES_PER_READ, MAX_EVENTS_PER_READ};
use super::management::{self, EventHub};
use super::readers::Batch;
use super::sasl::{PlainCredentials, PlainProof};
use super::{cbs, faults, message};

/// The operation that connections are for, in the log.
const PURPOSE: Operation = Operation::SendMessage;

pub(super) type Work = Pin<Box<dyn Future<Output = WorkOutput> + Send>>;

/// The result of an operation.
pub(super) enum WorkOutput {
    /// A client sent credentials in the SASL layer.
    Sasl(Result<ServiceCaller, HubError>),
    /// A client sent a token to `$cbs`, as `request`.
    Token { session: SessionId, request: Bytes, result: Result<ServiceCaller, HubError> },
    /// Messages were sent to devices.
    Messages(Vec<(Option<Unsettled>, Result<(), HubError>)>),
    /// The client of a receiving link asked for what there is, at once.
    Drained { link: LinkId, result: Result<Option<Item>, HubError> },
    /// A request to `$management` has an answer.
    Managed { session: SessionId, reply_to: Option<String>, message: BytesMut, result: Result<(), HubError> },
    /// A reader for a link was opened.
    ReaderOpened { link: LinkId, accepted: Accepted, result: Result<(Box<EventReader>, EventLink), HubError> },
    /// A link for events was read.
    EventsRead { link: LinkId, reader: Box<EventReader>, result: Result<Batch, ReadError> },
    /// An item was settled by the client of a receiving link. `confirm` is set if the client waits for the hub to settle,
    /// too.
    Settled { operation: Operation, confirm: Option<Confirm>, result: Result<(), HubError> },
}

/// A delivery that the hub has to settle.
#[derive(Debug)]
pub(super) struct Confirm {
    pub(super) link: LinkId,
    pub(super) delivery: DeliveryId,
    pub(super) settlement: Settlement,
}

/// Verifies the credentials of SASL PLAIN.
pub(super) fn verify_plain(hub: Arc<Hub>, peer: SocketAddr, init: Owned<SaslInit<'static>>) -> Work {
    Box::pin(with_peer(peer, async move {
        let response = init.get().initial_response.unwrap_or_default().to_owned();
        let credentials = PlainCredentials::parse(&response);
        let policy = credentials.as_ref().map(|credentials| credentials.policy);
        let caller = match credentials.map(|credentials| (credentials.policy, credentials.proof)) {
            Some((policy, PlainProof::Key(key))) => {
                hub.authenticate_policy_key(policy, key, Operation::ReadEvents)
            }
            Some((_, PlainProof::Token(token))) => {
                hub.authenticate_service_connection(Some(token), PURPOSE).await
            }
            None => hub.authenticate_service_connection(None, PURPOSE).await,
        };
        WorkOutput::Sasl(caller.and_then(|caller| match caller.principal() {
            Principal::Policy(own) if policy == Some(&*own.name) => Ok(caller),
            _ => {
                log_limited!(
                    info,
                    "connect refused",
                    "other_policy",
                    peer = request_peer::peer(),
                    remedy =
                        "the user of SASL PLAIN is {policy}@sas.root.{hub}, with the policy of the token"
                );
                Err(HubError::new(ErrorCode::IotHubUnauthorizedAccess, "Unauthorized"))
            }
        }))
    }))
}

/// Verifies a token that was sent to `$cbs`.
pub(super) fn verify_token(hub: Arc<Hub>, peer: SocketAddr, session: SessionId, request: Bytes) -> Work {
    Box::pin(with_peer(peer, async move {
        let result = match cbs::read_token(&request) {
            Ok(token) => hub.authenticate_service_connection(Some(&token), PURPOSE).await,
            Err(error) => Err(HubError::new(ErrorCode::ArgumentInvalid, error.to_string())),
        };
        WorkOutput::Token { session, request, result }
    }))
}

/// Sends messages to devices, in their order.
pub(super) fn send_messages(
    hub: Arc<Hub>,
    caller: Arc<ServiceCaller>,
    peer: SocketAddr,
    deliveries: Vec<Delivery>,
) -> Work {
    Box::pin(with_peer(peer, async move {
        let mut results = Vec::with_capacity(deliveries.len());
        // The messages that can be sent, and their places in `results`.
        let (mut messages, mut places) = (Vec::new(), Vec::new());
        for delivery in deliveries {
            let read = message::read(delivery.message_format, &delivery.payload);
            let read = read.and_then(|message| match injected_error(&hub, &message.0) {
                Some(error) => Err(error),
                None => Ok(message),
            });
            let result = read.map(|message| {
                places.push(results.len());
                messages.push(message);
            });
            results.push((delivery.unsettled, result));
        }
        match caller.send_messages(messages).await {
            Ok(sent) => {
                for (place, sent) in places.into_iter().zip(sent) {
                    if let Some((_, result)) = results.get_mut(place) {
                        *result = sent.map(drop);
                    }
                }
            }
            Err(error) => {
                for place in places {
                    if let Some((_, result)) = results.get_mut(place) {
                        *result = Err(error.clone());
                    }
                }
            }
        }
        WorkOutput::Messages(results)
    }))
}

/// Locks the next item for a receiving link whose client does not want to wait.
pub(super) fn drain(
    hub: Arc<Hub>,
    caller: Arc<ServiceCaller>,
    peer: SocketAddr,
    feed: Feed,
    link: LinkId,
) -> Work {
    Box::pin(with_peer(peer, async move {
        WorkOutput::Drained { link, result: feed.try_next(&caller, hub.host()).await }
    }))
}

/// Answers a request to `$management`.
pub(super) fn manage(
    hub: Arc<Hub>,
    caller: Arc<ServiceCaller>,
    peer: SocketAddr,
    created: Timestamp,
    session: SessionId,
    request: Bytes,
) -> Work {
    Box::pin(with_peer(peer, async move {
        let injected = faults::injected_error(&hub, Operation::GetEventLog, None);
        let event_hub = EventHub { host: hub.host(), created };
        let (message, result) =
            management::answer(&request, event_hub, injected, caller.get_event_log()).await;
        WorkOutput::Managed { session, reply_to: management::reply_to(&request), message, result }
    }))
}

/// Opens the reader of a link.
pub(super) fn open_reader(
    caller: Arc<ServiceCaller>,
    peer: SocketAddr,
    link: LinkId,
    accepted: Accepted,
    event_link: EventLink,
) -> Work {
    Box::pin(with_peer(peer, async move {
        let reader = caller.read_events(event_link.request()).await;
        let result = reader.map(|reader| (Box::new(reader), event_link));
        WorkOutput::ReaderOpened { link, accepted, result }
    }))
}

/// Reads the next events of a link, and encodes them.
pub(super) fn read_events(
    hub: Arc<Hub>,
    link: LinkId,
    mut reader: Box<EventReader>,
    credit: u32,
    wants_last_enqueued: bool,
) -> Work {
    Box::pin(async move {
        let max_events = usize::try_from(credit).unwrap_or(usize::MAX).min(MAX_EVENTS_PER_READ);
        let result = read_batch(&hub, &mut reader, max_events, wants_last_enqueued).await;
        WorkOutput::EventsRead { link, reader, result }
    })
}

async fn read_batch(
    hub: &Hub,
    reader: &mut EventReader,
    max_events: usize,
    wants_last_enqueued: bool,
) -> Result<Batch, ReadError> {
    let events = reader.read_bytes(max_events, MAX_BYTES_PER_READ).await?;
    let mut batch = Batch::default();
    if events.is_empty() {
        return Ok(batch);
    }
    let last = if wants_last_enqueued { reader.last_enqueued().await? } else { None };
    let last = last.map(|(sequence, enqueued)| LastEnqueued { sequence, enqueued, now: hub.now() });
    for event in &events {
        batch.push(|out| event_message::encode(event, last.as_ref(), out));
    }
    Ok(batch)
}

/// Settles an item of a receiving link.
pub(super) fn settle_item(
    hub: Arc<Hub>,
    caller: Arc<ServiceCaller>,
    peer: SocketAddr,
    (feed, token, settlement): (Feed, LockToken, Settlement),
    confirm: Option<Confirm>,
) -> Work {
    Box::pin(with_peer(peer, async move {
        let operation = feed.settle_operation(settlement);
        let result = match faults::injected_error(&hub, operation, None) {
            Some(error) => Err(error),
            None => feed.settle(&caller, token, settlement).await,
        };
        WorkOutput::Settled { operation, confirm, result }
    }))
}

fn injected_error(hub: &Hub, properties: &MessageProperties) -> Option<HubError> {
    let to = properties.get(SystemProperty::To).and_then(Destination::parse);
    faults::injected_error(hub, Operation::SendMessage, to.as_ref().map(|to| to.identity.as_str()))
}
