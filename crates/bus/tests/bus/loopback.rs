//! A bus between nodes in one process. Every message and every reply is encoded as JSON and decoded again, so nothing else
//! can pass.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ferrohub_core::bus::Bus;
use ferrohub_core::close_reason::CloseReason;
use ferrohub_core::node::{
    BusMessage, BusReply, CallEnd, Connections, DesiredNotice, Inbox, Invalidations, MethodReply,
    OutgoingCall, Selector, What,
};
use ferrohub_model::IdentityId;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

/// How often a call that waits for its device asks the nodes again.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// The bus of one node. Its own node it reaches without messages.
pub(crate) struct LoopbackBus {
    connections: Arc<Connections>,
    invalidations: Arc<Invalidations>,
    others: Vec<Inbox>,
}

/// Ends the work of the other node when the node that asked loses interest. A bus over a network sends a message for it.
struct CancelOnDrop(AbortHandle);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl LoopbackBus {
    /// Returns the buses of nodes that have these connection tables and reach each other.
    pub(crate) fn between(tables: [Arc<Connections>; 2]) -> [Self; 2] {
        let [first, second] = tables.map(|connections| (connections, Arc::<Invalidations>::default()));
        let bus = |own: &(Arc<Connections>, Arc<Invalidations>), other: &(Arc<Connections>, _)| Self {
            connections: own.0.clone(),
            invalidations: own.1.clone(),
            others: vec![Inbox::new(other.0.clone(), Arc::clone(&other.1))],
        };
        [bus(&first, &second), bus(&second, &first)]
    }

    async fn ask(node: &Inbox, message: &BusMessage) -> BusReply {
        let (node, message) = (node.clone(), serde_json::to_vec(message).unwrap());
        let work = tokio::spawn(async move {
            let reply = node.handle(serde_json::from_slice(&message).unwrap()).await;
            serde_json::to_vec(&reply).unwrap()
        });
        let _cancel = CancelOnDrop(work.abort_handle());
        serde_json::from_slice(&work.await.unwrap()).unwrap()
    }

    async fn tell_others(&self, message: BusMessage) {
        for node in &self.others {
            assert_eq!(Self::ask(node, &message).await, BusReply::Done);
        }
    }

    /// Calls the device if it is connected to any node and subscribed to methods.
    async fn call_now(&self, target: &IdentityId, call: OutgoingCall) -> Result<MethodReply, CallEnd> {
        let mut end = self.connections.call(target, call.clone()).await;
        let message = BusMessage::Call { target: target.clone(), call };
        for node in &self.others {
            // The call was not sent, so it may go to another node.
            if end != Err(CallEnd::NotOnline) {
                break;
            }
            end = match Self::ask(node, &message).await {
                BusReply::Call(end) => end,
                other => panic!("{other:?} answers a call"),
            };
        }
        end
    }
}

#[async_trait]
impl Bus for LoopbackBus {
    async fn call(&self, target: &IdentityId, call: OutgoingCall) -> Result<MethodReply, CallEnd> {
        let deadline = Instant::now() + call.connect_timeout;
        let call = OutgoingCall { connect_timeout: Duration::ZERO, ..call };
        loop {
            let end = self.call_now(target, call.clone()).await;
            if end != Err(CallEnd::NotOnline) || Instant::now() >= deadline {
                return end;
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    async fn notify_desired(&self, target: &IdentityId, notice: DesiredNotice) {
        self.connections.notify_desired(target, notice.clone());
        self.tell_others(BusMessage::NotifyDesired { target: target.clone(), notice }).await;
    }

    async fn notify_messages(&self, target: &IdentityId) {
        self.connections.notify_messages(target);
        self.tell_others(BusMessage::NotifyMessages { target: target.clone() }).await;
    }

    async fn disconnect(&self, selector: &Selector, reason: CloseReason) {
        self.connections.disconnect(selector, reason);
        self.tell_others(BusMessage::Disconnect { selector: selector.clone(), reason }).await;
    }

    async fn invalidate(&self, what: What) {
        self.tell_others(BusMessage::Invalidate(what)).await;
    }

    fn invalidations(&self) -> &Arc<Invalidations> {
        &self.invalidations
    }

    async fn announce_connection(&self, target: &IdentityId) {
        self.tell_others(BusMessage::Connected { id: target.clone() }).await;
    }

    async fn is_connected(&self, target: &IdentityId) -> bool {
        if self.connections.is_connected(target) {
            return true;
        }
        for node in &self.others {
            let message = BusMessage::IsConnected { target: target.clone() };
            if Self::ask(node, &message).await == BusReply::Connected(true) {
                return true;
            }
        }
        false
    }

    async fn connected_devices(&self) -> u64 {
        let mut devices = self.connections.device_count() as u64;
        for node in &self.others {
            match Self::ask(node, &BusMessage::CountDevices).await {
                BusReply::Devices(more) => devices += more,
                other => panic!("{other:?} is no number"),
            }
        }
        devices
    }
}
