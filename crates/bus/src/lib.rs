//! Adapters of the [`Bus`] port, which reaches a device's connection.
//!
//! [`LocalBus`] is the adapter for a single node: it uses the node's own connection table.

use std::sync::Arc;

use async_trait::async_trait;
use ferrohub_core::bus::Bus;
use ferrohub_core::close_reason::CloseReason;
use ferrohub_core::node::{CallEnd, Connections, DesiredNotice, MethodReply, OutgoingCall};
use ferrohub_model::{IdentityId, KeyFingerprint};

/// The bus for a single node.
#[derive(Debug, Clone)]
pub struct LocalBus {
    connections: Arc<Connections>,
}

impl LocalBus {
    /// Creates a bus that reaches the connections of this node.
    #[must_use]
    pub fn new(connections: Arc<Connections>) -> Self {
        Self { connections }
    }
}

#[async_trait]
impl Bus for LocalBus {
    async fn call(&self, target: &IdentityId, call: OutgoingCall) -> Result<MethodReply, CallEnd> {
        self.connections.call(target, call).await
    }

    async fn notify_desired(&self, target: &IdentityId, notice: DesiredNotice) {
        if let Some(connection) = self.connections.get(target) {
            connection.notify_desired(notice);
        }
    }

    async fn notify_messages(&self, target: &IdentityId) {
        if let Some(connection) = self.connections.get(target) {
            connection.notify_messages();
        }
    }

    async fn disconnect(&self, target: &IdentityId, reason: CloseReason) {
        self.connections.close(target, reason);
        if target.module_str().is_none() {
            // The modules of a device are disconnected with it. This is rare, so a scan of all connections is fine.
            let device = target.as_str();
            for module in
                self.connections.select(|c| c.id.module_str().is_some() && c.id.device_str() == device)
            {
                self.connections.close(&module.id, reason);
            }
        }
    }

    async fn disconnect_using_key(&self, target: &IdentityId, key: KeyFingerprint) {
        self.connections.close_using_key(target, key, CloseReason::CredentialChanged);
    }

    async fn announce_connection(&self, _: &IdentityId) {}

    async fn is_connected(&self, target: &IdentityId) -> bool {
        self.connections.get(target).is_some_and(|connection| connection.close_reason().is_none())
    }

    async fn connected_devices(&self) -> u64 {
        self.connections.device_count() as u64
    }
}
