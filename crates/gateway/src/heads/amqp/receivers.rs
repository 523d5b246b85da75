//! Links on which services receive. A link that has credit waits for the next item; it does not ask again and again.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use ferrohub_amqp::{Connection as Machine, DeliveryId, LinkId};
use ferrohub_core::ServiceCaller;
use ferrohub_core::delivery::LockToken;
use ferrohub_core::request_peer::with_peer;
use ferrohub_model::HubError;

use super::callers::{CallerId, Callers};
use super::feed::{Feed, Item};
use super::limits::MAX_LOCKED;
use super::server::AmqpContext;
use crate::transport::peer::Peer;

/// Delay after an error of the store.
const RETRY_DELAY: Duration = Duration::from_secs(5);

type Fetch = Pin<Box<dyn Future<Output = Result<Item, HubError>> + Send>>;

/// The receiving links of one connection.
#[derive(Default)]
pub(super) struct Receivers(Vec<Receiver>);

struct Receiver {
    link: LinkId,
    feed: Feed,
    caller: CallerId,
    /// Whether the client wants items settled: then they are completed once they are sent.
    settled: bool,
    /// Waits for the next item, while there is credit.
    fetch: Option<Fetch>,
    /// Whether the last fetch has failed.
    failed: bool,
    /// Items that the client has not settled.
    locked: Vec<Locked>,
}

/// An item that is locked for a client.
pub(super) struct Locked {
    delivery: DeliveryId,
    token: LockToken,
    /// Who received it.
    caller: Arc<ServiceCaller>,
}

/// What a link is for.
#[derive(Clone, Copy)]
pub(super) struct ReceiverInfo {
    pub(super) feed: Feed,
    pub(super) caller: CallerId,
    pub(super) settled: bool,
}

impl Receivers {
    pub(super) fn add(&mut self, link: LinkId, info: ReceiverInfo) {
        let ReceiverInfo { feed, caller, settled } = info;
        self.0.push(Receiver { link, feed, caller, settled, fetch: None, failed: false, locked: Vec::new() });
    }

    /// Starts to wait on each link that has credit and room.
    pub(super) fn start(&mut self, machine: &Machine, callers: &Callers, context: &AmqpContext, peer: &Peer) {
        for receiver in &mut self.0 {
            if machine.credit(receiver.link) == 0 {
                receiver.fetch = None;
            } else if receiver.fetch.is_none()
                && receiver.locked.len() < MAX_LOCKED
                && let Some(caller) = callers.get(receiver.caller)
            {
                let delay = if receiver.failed { RETRY_DELAY } else { Duration::ZERO };
                let (feed, caller, hub) = (receiver.feed, caller.clone(), context.hub.clone());
                receiver.fetch = Some(Box::pin(with_peer(peer.address, async move {
                    if !delay.is_zero() {
                        tokio::time::sleep(delay).await;
                    }
                    feed.next(&caller, hub.host()).await
                })));
            }
        }
    }

    /// Ready when an item is there, or could not be fetched.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<(LinkId, Result<Item, HubError>)> {
        for receiver in &mut self.0 {
            if let Some(fetch) = &mut receiver.fetch
                && let Poll::Ready(result) = fetch.as_mut().poll(cx)
            {
                receiver.fetch = None;
                receiver.failed = result.is_err();
                return Poll::Ready((receiver.link, result));
            }
        }
        Poll::Pending
    }

    /// Returns what a link is for.
    pub(super) fn info(&self, link: LinkId) -> Option<ReceiverInfo> {
        let receiver = self.0.iter().find(|receiver| receiver.link == link)?;
        let Receiver { feed, caller, settled, .. } = receiver;
        Some(ReceiverInfo { feed: *feed, caller: *caller, settled: *settled })
    }

    /// Remembers an item until the client settles it.
    pub(super) fn lock(
        &mut self,
        link: LinkId,
        delivery: DeliveryId,
        token: LockToken,
        caller: Arc<ServiceCaller>,
    ) {
        if let Some(receiver) = self.0.iter_mut().find(|receiver| receiver.link == link) {
            receiver.locked.push(Locked { delivery, token, caller });
        }
    }

    /// Takes the item that a client settles. The client must still have the right: its caller decides.
    pub(super) fn unlock(&mut self, link: LinkId, delivery: DeliveryId) -> Option<(ReceiverInfo, LockToken)> {
        let info = self.info(link)?;
        let receiver = self.0.iter_mut().find(|receiver| receiver.link == link)?;
        let at = receiver.locked.iter().position(|locked| locked.delivery == delivery)?;
        Some((info, receiver.locked.swap_remove(at).token))
    }

    /// The client of a link wants what there is, at once: the link waits no longer. Returns what the link is for, if it
    /// has room.
    pub(super) fn drain(&mut self, link: LinkId) -> Option<ReceiverInfo> {
        let receiver = self.0.iter_mut().find(|receiver| receiver.link == link)?;
        receiver.fetch = None;
        if receiver.locked.len() < MAX_LOCKED { self.info(link) } else { None }
    }

    /// A link belongs to another token of its caller now.
    pub(super) fn set_caller(&mut self, link: LinkId, caller: CallerId) {
        for receiver in self.0.iter_mut().filter(|receiver| receiver.link == link) {
            receiver.caller = caller;
            receiver.fetch = None;
        }
    }

    /// The caller may no longer act: its links wait no longer.
    pub(super) fn stop(&mut self, caller: CallerId) {
        for receiver in self.0.iter_mut().filter(|receiver| receiver.caller == caller) {
            receiver.fetch = None;
        }
    }

    /// Removes links that have ended, and gives back what their clients have not settled.
    pub(super) fn remove(&mut self, has_ended: impl Fn(LinkId) -> bool) {
        let ended = self.0.extract_if(.., |receiver| has_ended(receiver.link));
        let locked: Vec<_> = ended.map(|receiver| (receiver.feed, receiver.locked)).collect();
        if locked.iter().any(|(_, locked)| !locked.is_empty()) {
            release(locked);
        }
    }

    /// Gives back everything that the client has not settled: the connection has ended.
    pub(super) fn release_all(&mut self) {
        let all = std::mem::take(&mut self.0);
        release(all.into_iter().map(|receiver| (receiver.feed, receiver.locked)).collect());
    }
}

fn release(items: Vec<(Feed, Vec<Locked>)>) {
    for (feed, locked) in items {
        for Locked { token, caller, .. } in locked {
            // An error means that the lock has expired, or that it soon will.
            let _ = feed.release(&caller, token);
        }
    }
}
