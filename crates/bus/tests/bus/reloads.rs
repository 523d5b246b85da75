//! What other nodes reload when this one has changed the store.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ferrohub_core::auth::Credential;
use ferrohub_core::close_reason::CloseReason;
use ferrohub_core::node::{Selector, What};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::nodes::{Node, Nodes, over_each_adapter};

over_each_adapter! {
    the_other_nodes_reload_what_a_node_has_changed
    the_other_nodes_reload_a_credential_before_they_close_its_connections
}

/// How long a reload takes.
const RELOAD_TIME: Duration = Duration::from_millis(100);

/// Does the reloads of a node as its hub does.
pub(crate) fn serve_reloads(node: &Node) -> JoinHandle<()> {
    record_reloads(node, Arc::default())
}

fn record_reloads(node: &Node, done: Arc<Mutex<Vec<What>>>) -> JoinHandle<()> {
    let invalidations = node.bus.invalidations().clone();
    tokio::spawn(async move {
        loop {
            let reload = invalidations.next().await;
            sleep(RELOAD_TIME).await;
            done.lock().unwrap().push(reload.what);
            invalidations.done(reload);
        }
    })
}

async fn the_other_nodes_reload_what_a_node_has_changed(nodes: Nodes) {
    let done = Arc::<Mutex<Vec<What>>>::default();
    record_reloads(&nodes.there, done.clone());
    for what in What::ALL {
        nodes.here.bus.invalidate(what).await;
    }
    // The node that changed the store changed its own memory in the same operation.
    let expected = if nodes.is_one() { Vec::new() } else { What::ALL.to_vec() };
    assert_eq!(*done.lock().unwrap(), expected);
}

async fn the_other_nodes_reload_a_credential_before_they_close_its_connections(nodes: Nodes) {
    let done = Arc::<Mutex<Vec<What>>>::default();
    record_reloads(&nodes.there, done.clone());
    let device = nodes.there.connect_with("d", &[], Credential::Policy { name: "x".into() });
    let bus = nodes.here.bus.clone();
    let disconnecting = tokio::spawn(async move {
        let selector = Selector::Policy { name: "x".to_owned() };
        bus.disconnect(&selector, CloseReason::CredentialChanged).await;
    });
    let started = Instant::now();
    while device.close_reason().is_none() {
        assert!(started.elapsed() < 2 * RELOAD_TIME, "it is closed after the reload");
        if !nodes.is_one() && done.lock().unwrap().is_empty() {
            assert_eq!(nodes.there.connections.revocations(), 0, "the revocation counts after the reload");
        }
        sleep(Duration::from_millis(1)).await;
    }
    disconnecting.await.unwrap();
    assert_eq!(done.lock().unwrap().len(), usize::from(!nodes.is_one()));
}
