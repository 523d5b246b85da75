//! The messages of a bus, and what a node does with those of other nodes.

use std::sync::Arc;

use ferrohub_model::IdentityId;
use serde::{Deserialize, Serialize};

use super::{CallEnd, Connections, DesiredNotice, Invalidations, MethodReply, OutgoingCall, Selector, What};
use crate::close_reason::CloseReason;

/// A message from one node to another. Plain data: times are durations, and there are no handles.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BusMessage {
    /// Call a method.
    Call {
        /// The device or module to call.
        target: IdentityId,
        /// The call.
        call: OutgoingCall,
    },
    /// The desired properties of `target` have changed.
    NotifyDesired {
        /// The device or module.
        target: IdentityId,
        /// The change.
        notice: DesiredNotice,
    },
    /// Messages may be queued for `target`.
    NotifyMessages {
        /// The device or module.
        target: IdentityId,
    },
    /// Close connections.
    Disconnect {
        /// The connections.
        selector: Selector,
        /// Why.
        reason: CloseReason,
    },
    /// `id` is connected to the node that sends this, so older connections of it are to be closed.
    Connected {
        /// The device or module.
        id: IdentityId,
    },
    /// Reload what another node has changed in the store.
    Invalidate(What),
    /// Is `target` connected to the node that receives this?
    IsConnected {
        /// The device or module.
        target: IdentityId,
    },
    /// How many devices are connected to the node that receives this?
    CountDevices,
}

/// The answer to a [`BusMessage`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BusReply {
    /// How a call ended.
    Call(Result<MethodReply, CallEnd>),
    /// The message had its effect.
    Done,
    /// Whether an identity is connected.
    Connected(bool),
    /// A number of connected devices.
    Devices(u64),
}

/// What other nodes can reach of this node. An adapter of the bus between nodes delivers their messages here.
#[derive(Debug, Clone)]
pub struct Inbox {
    connections: Arc<Connections>,
    invalidations: Arc<Invalidations>,
}

impl Inbox {
    /// Creates the inbox of a node. The hub of the node serves `invalidations`.
    #[must_use]
    pub fn new(connections: Arc<Connections>, invalidations: Arc<Invalidations>) -> Self {
        Self { connections, invalidations }
    }

    /// Does what a message says, and returns the answer to it. Dropping the future of a call cancels the call.
    pub async fn handle(&self, message: BusMessage) -> BusReply {
        let connections = &self.connections;
        match message {
            BusMessage::Call { target, call } => {
                return BusReply::Call(connections.call(&target, call).await);
            }
            BusMessage::IsConnected { target } => {
                return BusReply::Connected(connections.is_connected(&target));
            }
            BusMessage::CountDevices => return BusReply::Devices(connections.device_count() as u64),
            BusMessage::NotifyDesired { target, notice } => connections.notify_desired(&target, notice),
            BusMessage::NotifyMessages { target } => connections.notify_messages(&target),
            BusMessage::Disconnect { selector, reason } => {
                // In this order, a credential that was revoked on another node cannot connect again after the close.
                if let Some(what) = selector.depends_on() {
                    self.invalidations.reload(what).await;
                }
                connections.disconnect(&selector, reason);
            }
            BusMessage::Connected { id } => connections.take_over(&id),
            BusMessage::Invalidate(what) => self.invalidations.reload(what).await,
        }
        BusReply::Done
    }
}
