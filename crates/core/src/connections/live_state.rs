//! The live state of identities, for queries.

use std::sync::Arc;

use ferrohub_model::{IdentityId, Timestamp};

use super::RecentActivity;
use crate::hub::Hub;
use crate::node::{Connection, Connections};
use crate::queries::LiveState;

/// The connections of this node and the times that are not in the store yet.
struct NodeState {
    connections: Arc<Connections>,
    recent: Arc<RecentActivity>,
}

impl NodeState {
    fn connection(&self, id: &IdentityId, generation_id: &str) -> Option<Arc<Connection>> {
        self.connections.get(id).filter(|connection| connection.generation_id == generation_id)
    }
}

impl LiveState for NodeState {
    fn is_connected(&self, id: &IdentityId, generation_id: &str) -> bool {
        self.connection(id, generation_id).is_some_and(|connection| connection.close_reason().is_none())
    }

    fn last_activity(&self, id: &IdentityId, generation_id: &str, stored: Timestamp) -> Timestamp {
        // The connection first: when it ends, its times are buffered before it leaves the table.
        let connected = self.connection(id, generation_id).map(|connection| connection.last_activity());
        let buffered = self.recent.last_activity(id, generation_id);
        connected.into_iter().chain(buffered).fold(stored, Timestamp::max)
    }
}

impl Hub {
    /// Returns the live state of identities.
    pub(crate) fn live_state(&self) -> Arc<dyn LiveState> {
        Arc::new(NodeState { connections: self.connections.clone(), recent: self.recent_activity.clone() })
    }
}
