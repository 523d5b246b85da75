//! Connections that a revocation or a newer connection closes, and the questions who is connected.

use std::sync::Arc;

use ferrohub_core::auth::Credential;
use ferrohub_core::close_reason::CloseReason::{self, CredentialChanged, Deleted, TakenOver};
use ferrohub_core::node::{Connection, Selector};
use ferrohub_model::{DeviceId, KeyFingerprint, SharedAccessKey};

use super::nodes::{Nodes, close_reasons, id, over_each_adapter};
use super::reloads::serve_reloads;

over_each_adapter! {
    an_identity_is_disconnected_without_its_modules
    a_device_is_disconnected_with_its_modules
    what_authenticated_with_a_key_is_disconnected
    what_authenticated_with_a_policy_or_an_authority_is_disconnected
    a_disconnect_is_a_revocation_on_every_node
    a_newer_connection_closes_the_older_one
    presence_is_that_of_all_nodes
}

async fn disconnect(nodes: &Nodes, selector: Selector, reason: CloseReason) {
    nodes.here.bus.disconnect(&selector, reason).await;
}

async fn an_identity_is_disconnected_without_its_modules(nodes: Nodes) {
    let [device, module, other] = ["d", "d/m", "d/n"].map(|name| nodes.there.connect(name, &[]));
    disconnect(&nodes, Selector::Identity(id("d/m")), Deleted).await;
    assert_eq!(close_reasons([&device, &module, &other]), [None, Some(Deleted), None]);
    disconnect(&nodes, Selector::Identity(id("d")), Deleted).await;
    assert_eq!(close_reasons([&device, &other]), [Some(Deleted), None]);
    disconnect(&nodes, Selector::Identity(id("absent")), Deleted).await;
}

async fn a_device_is_disconnected_with_its_modules(nodes: Nodes) {
    let of_others = ["d2", "d2/m", "D/m"].map(|name| nodes.there.connect(name, &[]));
    for round in 0..2 {
        let names = ["d/m", "d/n"];
        let device = nodes.there.connect("d", &[]);
        let modules = names.map(|name| nodes.there.connect(name, &[]));
        // A connection that has ended leaves nothing behind.
        let gone = nodes.there.connect("d/gone", &[]);
        nodes.there.connections.detach(&gone, CloseReason::Lost);
        disconnect(&nodes, Selector::Device(DeviceId::new("d").unwrap()), Deleted).await;
        let [m, n] = &modules;
        assert_eq!(close_reasons([&device, m, n]), [Some(Deleted); 3], "round {round}");
        assert_eq!(gone.close_reason(), Some(CloseReason::Lost));
        for closed in modules.iter().chain([&device]) {
            nodes.there.connections.detach(closed, CloseReason::Lost);
        }
        assert_eq!(nodes.there.connections.count(), of_others.len());
    }
    let [first, second, third] = &of_others;
    assert_eq!(close_reasons([first, second, third]), [None; 3]);
}

fn key() -> KeyFingerprint {
    SharedAccessKey::generate().fingerprint()
}

async fn what_authenticated_with_a_key_is_disconnected(nodes: Nodes) {
    let (old, new, of_module) = (key(), key(), key());
    let connect = |name: &str, credential| nodes.there.connect_with(name, &[], credential);
    let device = connect("d", Credential::DeviceKey(old));
    let with_device_key = connect("d/m", Credential::ParentDeviceKey(old));
    let with_new_key = connect("d/n", Credential::ParentDeviceKey(new));
    let with_own_key = connect("d/o", Credential::DeviceKey(of_module));
    let of_other = connect("d2", Credential::DeviceKey(old));
    let selector = |name, key| Selector::Key { identity: id(name), key };
    disconnect(&nodes, selector("d", of_module), CredentialChanged).await;
    assert_eq!(close_reasons([&device, &with_own_key]), [None; 2], "it is not a key of the device");
    disconnect(&nodes, selector("d", old), CredentialChanged).await;
    let closed = Some(CredentialChanged);
    assert_eq!(close_reasons([&device, &with_device_key]), [closed; 2]);
    assert_eq!(close_reasons([&with_new_key, &with_own_key, &of_other]), [None; 3]);
    disconnect(&nodes, selector("d/o", of_module), CredentialChanged).await;
    assert_eq!(close_reasons([&with_own_key, &with_new_key]), [closed, None]);
}

async fn what_authenticated_with_a_policy_or_an_authority_is_disconnected(nodes: Nodes) {
    let reloads = serve_reloads(&nodes.there);
    let name = Arc::<str>::from("x");
    let policy = nodes.there.connect_with("p", &[], Credential::Policy { name: name.clone() });
    let authority = nodes.there.connect_with("a", &[], Credential::Authority { name: name.clone() });
    let other = nodes.there.connect_with("o", &[], Credential::Policy { name: "other".into() });
    disconnect(&nodes, Selector::Policy { name: "x".to_owned() }, CredentialChanged).await;
    let closed = Some(CredentialChanged);
    assert_eq!(close_reasons([&policy, &authority, &other]), [closed, None, None]);
    disconnect(&nodes, Selector::Authority { name: "x".to_owned() }, CredentialChanged).await;
    assert_eq!(close_reasons([&authority, &other]), [closed, None]);
    reloads.abort();
}

async fn a_disconnect_is_a_revocation_on_every_node(nodes: Nodes) {
    let counts = || [&nodes.here, &nodes.there].map(|node| node.connections.revocations());
    let before = counts();
    // Also if it finds no connection: one may be about to be made.
    disconnect(&nodes, Selector::Identity(id("d")), Deleted).await;
    assert_eq!(counts(), before.map(|count| count + 1));
}

async fn a_newer_connection_closes_the_older_one(nodes: Nodes) {
    let [device, module] = ["d", "d/m"].map(|name| nodes.there.connect(name, &[]));
    let newer = nodes.here.connect("d", &[]);
    nodes.here.bus.announce_connection(&id("d")).await;
    assert_eq!(close_reasons([&device, &module, &newer]), [Some(TakenOver), None, None]);
}

async fn presence_is_that_of_all_nodes(nodes: Nodes) {
    let bus = &nodes.here.bus;
    let first: Arc<Connection> = nodes.there.connect("d", &[]);
    nodes.there.connect("d/m", &[]);
    nodes.here.connect("e", &[]);
    assert!(bus.is_connected(&id("d")).await && bus.is_connected(&id("d/m")).await);
    assert!(bus.is_connected(&id("e")).await && !bus.is_connected(&id("d/n")).await);
    assert_eq!(bus.connected_devices().await, 2, "modules are not counted");
    nodes.there.connections.detach(&first, CloseReason::Lost);
    assert!(!bus.is_connected(&id("d")).await);
    assert_eq!(bus.connected_devices().await, 1);
}
