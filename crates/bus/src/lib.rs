//! Adapters of the [`Bus`] port, which reaches a device's connection.
//!
//! [`LocalBus`] is the adapter for a single node: it uses the node's own connection table.

use std::sync::Arc;

use async_trait::async_trait;
use ferrohub_core::bus::Bus;
use ferrohub_core::close_reason::CloseReason;
use ferrohub_core::node::{
    CallEnd, Connections, DesiredNotice, Invalidations, MethodReply, OutgoingCall, Selector, What,
};
use ferrohub_model::IdentityId;

/// The bus for a single node.
#[derive(Debug, Clone)]
pub struct LocalBus {
    connections: Arc<Connections>,
    invalidations: Arc<Invalidations>,
}

impl LocalBus {
    /// Creates a bus that reaches the connections of this node.
    #[must_use]
    pub fn new(connections: Arc<Connections>) -> Self {
        Self { connections, invalidations: Arc::default() }
    }
}

#[async_trait]
impl Bus for LocalBus {
    async fn call(&self, target: &IdentityId, call: OutgoingCall) -> Result<MethodReply, CallEnd> {
        self.connections.call(target, call).await
    }

    async fn notify_desired(&self, target: &IdentityId, notice: DesiredNotice) {
        self.connections.notify_desired(target, notice);
    }

    async fn notify_messages(&self, target: &IdentityId) {
        self.connections.notify_messages(target);
    }

    async fn disconnect(&self, selector: &Selector, reason: CloseReason) {
        self.connections.disconnect(selector, reason);
    }

    async fn invalidate(&self, _: What) {}

    fn invalidations(&self) -> &Arc<Invalidations> {
        &self.invalidations
    }

    async fn announce_connection(&self, _: &IdentityId) {}

    async fn is_connected(&self, target: &IdentityId) -> bool {
        self.connections.is_connected(target)
    }

    async fn connected_devices(&self) -> u64 {
        self.connections.device_count() as u64
    }
}
