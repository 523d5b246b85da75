//! Notices of desired properties and of queued messages.

use std::sync::Arc;

use bytes::Bytes;
use ferrohub_core::node::{DesiredNotice, Outgoing};
use ferrohub_core::session::Subscription;

use super::nodes::{Nodes, id, is_quiet, next, over_each_adapter};

over_each_adapter! {
    a_subscribed_device_is_notified_of_desired_properties
    changes_of_desired_properties_are_sent_in_order
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

async fn changes_of_desired_properties_are_sent_in_order(nodes: Nodes) {
    let device = nodes.there.connect("d", &[Subscription::DesiredProperties]);
    for version in [2, 5, 3, 5, 4, 7] {
        nodes.here.bus.notify_desired(&id("d"), DesiredNotice { version, patch: Bytes::new() }).await;
    }
    for expected in 2..=5 {
        match next(&device).await {
            Outgoing::Desired(notice) => assert_eq!(notice.version, expected),
            unexpected => panic!("not a notice: {unexpected:?}"),
        }
    }
    assert!(is_quiet(&device).await, "version 6 is missing");
    let lost = nodes.there.connections.next_desired_gap().await;
    assert!(Arc::ptr_eq(&lost, &device));
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
