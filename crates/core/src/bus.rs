//! The `Bus` port: who holds a device's connection, and request and reply to it.
//!
//! On one node the bus is the local [`Connections`](crate::connections::Connections) table. Between
//! nodes it carries the same three verbs to the node that holds the connection.

use async_trait::async_trait;
use ferrohub_model::{IdentityId, KeyFingerprint};

use crate::connections::{CallEnd, CloseReason, DesiredNotice, MethodReply, OutgoingCall};

/// Reaches a device's connection wherever it is.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Calls a method on a device and waits for how it ends. Dropping the future cancels the call.
    async fn call(&self, target: &IdentityId, call: OutgoingCall) -> Result<MethodReply, CallEnd>;

    /// Tells `target` of a change of its desired properties, if it is connected and wants to know.
    async fn notify_desired(&self, target: &IdentityId, notice: DesiredNotice);

    /// Tells `target` that messages may wait for it, if it is connected and listens for them.
    async fn notify_messages(&self, target: &IdentityId);

    /// Closes the connection of `target`, and of its modules if it is a device, on every node.
    async fn disconnect(&self, target: &IdentityId, reason: CloseReason);

    /// Closes the connection of `target`, not those of its modules, on every node, if this is the key that it
    /// authenticated with.
    async fn disconnect_using_key(&self, target: &IdentityId, key: KeyFingerprint);

    /// Tells the other nodes that `target` is connected here now, so that they let go of older connections.
    async fn announce_connection(&self, target: &IdentityId);

    /// Whether `target` is connected anywhere.
    async fn is_connected(&self, target: &IdentityId) -> bool;

    /// How many devices, not modules, are connected, on all nodes together.
    async fn connected_devices(&self) -> u64;
}
