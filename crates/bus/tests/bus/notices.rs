//! Notices of desired properties and of queued messages.

use bytes::Bytes;
use ferrohub_core::node::{DesiredNotice, Outgoing};
use ferrohub_core::session::Subscription;

use super::nodes::{Nodes, id, is_quiet, next, over_each_adapter};

over_each_adapter! {
    a_subscribed_device_is_notified_of_desired_properties
    a_subscribed_device_is_notified_of_messages
}

async fn a_subscribed_device_is_notified_of_desired_properties(nodes: Nodes) {
    let device = nodes.there.connect("d", &[Subscription::DesiredProperties]);
    let other = nodes.there.connect("e", &[Subscription::Messages]);
    let notice =
        DesiredNotice { version: 7, patch: Bytes::from_static("{\"é\":null,\"$version\":7}".as_bytes()) };
    for name in ["d", "e", "absent"] {
        nodes.here.bus.notify_desired(&id(name), notice.clone()).await;
    }
    match next(&device).await {
        Outgoing::Desired(received) => assert_eq!(received, notice),
        unexpected => panic!("not a notice: {unexpected:?}"),
    }
    assert!(is_quiet(&device).await && is_quiet(&other).await);
}

async fn a_subscribed_device_is_notified_of_messages(nodes: Nodes) {
    let device = nodes.there.connect("d", &[Subscription::Messages]);
    let other = nodes.there.connect("e", &[Subscription::Methods]);
    for name in ["d", "e", "absent"] {
        nodes.here.bus.notify_messages(&id(name)).await;
    }
    assert!(matches!(next(&device).await, Outgoing::Messages));
    assert!(is_quiet(&device).await && is_quiet(&other).await);
}
