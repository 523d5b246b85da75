//! The `Bus` port: reaches a device's connection on any node.
//!
//! On a single node the bus is the local [`Connections`](crate::node::Connections) table. Between nodes it sends a
//! [`BusMessage`](crate::node::BusMessage) to the node that has the connection, or to all of them, where an
//! [`Inbox`](crate::node::Inbox) does what the message says.

use std::sync::Arc;

use async_trait::async_trait;
use ferrohub_model::IdentityId;

use crate::close_reason::CloseReason;
use crate::node::{CallEnd, DesiredNotice, Invalidations, MethodReply, OutgoingCall, Selector, What};

/// Reaches a device's connection on any node. The suite in `crates/bus/tests` describes what every adapter does.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Calls a method on a device and waits for the result. Dropping the future cancels the call.
    async fn call(&self, target: &IdentityId, call: OutgoingCall) -> Result<MethodReply, CallEnd>;

    /// Notifies `target` of a change of its desired properties, if it is connected and subscribed to them. The notices of
    /// two changes may arrive in any order: the connection restores the order.
    async fn notify_desired(&self, target: &IdentityId, notice: DesiredNotice);

    /// Notifies `target` that messages may be queued for it, if it is connected and subscribed to messages.
    async fn notify_messages(&self, target: &IdentityId);

    /// Closes connections on every node. Call it after the write that revokes them, and after this node's own caches have
    /// the change.
    async fn disconnect(&self, selector: &Selector, reason: CloseReason);

    /// Tells the other nodes to reload what this node has changed in the store. This node has reloaded it already.
    async fn invalidate(&self, what: What);

    /// Returns the reloads that other nodes request of this node. The hub does them.
    fn invalidations(&self) -> &Arc<Invalidations>;

    /// Announces to the other nodes that `target` is connected here now, so that they close older connections.
    async fn announce_connection(&self, target: &IdentityId);

    /// Returns whether `target` is connected to any node.
    async fn is_connected(&self, target: &IdentityId) -> bool;

    /// Returns the number of connected devices on all nodes. Modules are not counted.
    async fn connected_devices(&self) -> u64;
}
