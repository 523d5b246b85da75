//! The adapters under test, and the connections of their nodes.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use ferrohub_bus::LocalBus;
use ferrohub_core::auth::Credential;
use ferrohub_core::bus::Bus;
use ferrohub_core::close_reason::CloseReason;
use ferrohub_core::node::{Connection, Connections, Outgoing, OutgoingCall, OutgoingMethod};
use ferrohub_core::registry::{Authentication, Identity};
use ferrohub_core::session::{Session, Subscription};
use ferrohub_model::device::Status;
use ferrohub_model::method::MethodName;
use ferrohub_model::{IdentityId, Timestamp};

use super::loopback::LoopbackBus;

/// A node: its connection table and its bus.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) connections: Arc<Connections>,
    pub(crate) bus: Arc<dyn Bus>,
}

/// The nodes of a hub. `here` and `there` are the same if it has one.
pub(crate) struct Nodes {
    pub(crate) here: Node,
    pub(crate) there: Node,
}

pub(crate) fn one_node() -> Nodes {
    let connections = Arc::new(Connections::new(8));
    let node = Node { bus: Arc::new(LocalBus::new(connections.clone())), connections };
    Nodes { here: node.clone(), there: node }
}

pub(crate) fn two_nodes() -> Nodes {
    let tables = [(); 2].map(|()| Arc::new(Connections::new(8)));
    let [here, there] = LoopbackBus::between(tables.clone());
    let [here_connections, there_connections] = tables;
    Nodes {
        here: Node { connections: here_connections, bus: Arc::new(here) },
        there: Node { connections: there_connections, bus: Arc::new(there) },
    }
}

/// Runs a test over each adapter.
macro_rules! over_each_adapter {
    ($($(#[$doc:meta])* $name:ident)+) => {
        mod one_node {
            $(
                #[tokio::test(start_paused = true)]
                async fn $name() {
                    super::$name(crate::nodes::one_node()).await;
                }
            )+
        }
        mod two_nodes {
            $(
                #[tokio::test(start_paused = true)]
                async fn $name() {
                    super::$name(crate::nodes::two_nodes()).await;
                }
            )+
        }
    };
}
pub(crate) use over_each_adapter;

impl Nodes {
    pub(crate) fn is_one(&self) -> bool {
        Arc::ptr_eq(&self.here.connections, &self.there.connections)
    }
}

pub(crate) fn id(text: &str) -> IdentityId {
    IdentityId::parse(text).unwrap()
}

impl Node {
    /// Connects an identity with these subscriptions to this node, without a word to the others.
    pub(crate) fn connect(&self, name: &str, subscriptions: &[Subscription]) -> Arc<Connection> {
        self.connect_with(name, subscriptions, Credential::Thumbprint)
    }

    pub(crate) fn connect_with(
        &self,
        name: &str,
        subscriptions: &[Subscription],
        credential: Credential,
    ) -> Arc<Connection> {
        let now = Timestamp::from_unix_millis(0);
        let identity = Identity {
            id: id(name),
            generation_id: "1".to_owned(),
            etag: "e".to_owned(),
            status: Status::Enabled,
            status_reason: None,
            status_updated: now,
            authentication: Authentication::None,
            iot_edge: false,
            device_scope: None,
            parent_scopes: Vec::new(),
            managed_by: None,
            connection_state_updated: now,
            last_activity: now,
            messages: 0,
        };
        let session = subscriptions
            .iter()
            .fold(Session::default(), |session, subscription| session.with(*subscription, false));
        let connection = Arc::new(Connection::new(&identity, credential, None, session, now));
        self.connections.attach(&connection, true);
        connection
    }
}

/// Returns a call that waits so many seconds for its device, and 30 seconds for the response.
pub(crate) fn reboot(connect_seconds: u64) -> OutgoingCall {
    OutgoingCall {
        name: MethodName::new("reboot").unwrap(),
        payload: Some("{\"delay\":1}".into()),
        connect_timeout: Duration::from_secs(connect_seconds),
        response_timeout: Duration::from_secs(30),
    }
}

/// Returns the next instruction of a connection, once there is one.
pub(crate) async fn next(connection: &Connection) -> Outgoing {
    poll_fn(|cx| connection.poll_outgoing(cx)).await
}

/// Returns the next request of a connection, once there is one.
pub(crate) async fn next_request(connection: &Connection) -> OutgoingMethod {
    match next(connection).await {
        Outgoing::Method(method) => method,
        other => panic!("not a call: {other:?}"),
    }
}

/// Returns whether the connection has no instruction now.
pub(crate) async fn is_quiet(connection: &Connection) -> bool {
    poll_fn(|cx| Poll::Ready(connection.poll_outgoing(cx).is_pending())).await
}

/// Returns why these connections were closed.
pub(crate) fn close_reasons<const N: usize>(connections: [&Arc<Connection>; N]) -> [Option<CloseReason>; N] {
    connections.map(|connection| connection.close_reason())
}
