//! The `Bus` port: reaches a device's connection on any node.
//!
//! On a single node the bus is the local [`Connections`](crate::node::Connections) table. Between
//! nodes it forwards the same operations to the node that has the connection.

use async_trait::async_trait;
use ferrohub_model::{IdentityId, KeyFingerprint};

use crate::close_reason::CloseReason;
use crate::node::{CallEnd, DesiredNotice, MethodReply, OutgoingCall};

/// Reaches a device's connection on any node.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Calls a method on a device and waits for the result. Dropping the future cancels the call.
    async fn call(&self, target: &IdentityId, call: OutgoingCall) -> Result<MethodReply, CallEnd>;

    /// Notifies `target` of a change of its desired properties, if it is connected and subscribed to them.
    async fn notify_desired(&self, target: &IdentityId, notice: DesiredNotice);

    /// Notifies `target` that messages may be queued for it, if it is connected and subscribed to messages.
    async fn notify_messages(&self, target: &IdentityId);

    /// Closes the connection of `target` on every node. For a device, also closes the connections of its modules.
    async fn disconnect(&self, target: &IdentityId, reason: CloseReason);

    /// Closes the connection of `target` on every node if it authenticated with `key`. For a device, also closes the
    /// connections of its modules that authenticated with this key of the device; the others stay open.
    async fn disconnect_using_key(&self, target: &IdentityId, key: KeyFingerprint);

    /// Announces to the other nodes that `target` is connected here now, so that they close older connections.
    async fn announce_connection(&self, target: &IdentityId);

    /// Returns whether `target` is connected to any node.
    async fn is_connected(&self, target: &IdentityId) -> bool;

    /// Returns the number of connected devices on all nodes. Modules are not counted.
    async fn connected_devices(&self) -> u64;
}
