//! Reads of bodies and of ranges run on blocking threads, never on the thread of the caller.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test ends by panicking")]

mod common;

use std::time::Duration;

use common::{open, open_events};
use ferrohub_conformance::changes::create;
use ferrohub_conformance::samples::{batch, id, identity};
use ferrohub_core::cloud_to_device::MessageStore as _;
use ferrohub_core::registry::RegistryStore as _;
use ferrohub_core::telemetry::EventLog;
use ferrohub_model::Timestamp;
use futures_util::FutureExt as _;

/// Polls a read once while the only blocking thread of the runtime is busy, and then lets it end.
async fn needs_a_blocking_thread<T>(name: &str, read: impl Future<Output = T>) -> T {
    let (release, busy) = std::sync::mpsc::sync_channel::<()>(1);
    let (started, starts) = tokio::sync::oneshot::channel();
    let blocked = tokio::task::spawn_blocking(move || {
        started.send(()).unwrap();
        busy.recv_timeout(Duration::from_secs(60)).unwrap();
    });
    starts.await.unwrap();
    let mut read = Box::pin(read);
    assert!(read.as_mut().now_or_never().is_none(), "{name} was read on the thread of the caller");
    release.send(()).unwrap();
    blocked.await.unwrap();
    read.await
}

#[test]
fn bodies_and_ranges_are_read_on_blocking_threads() {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        let log = open_events(&store, 2);
        log.append(batch(0, "dev", 0, &[&[0; 256 * 1024]])).await.unwrap();
        let events = needs_a_blocking_thread("an event", log.read(0, 0, 1, 1)).await.unwrap();
        assert_eq!(events[0].body.len(), 256 * 1024);
        let states = needs_a_blocking_thread("the state of the partitions", log.state()).await.unwrap();
        assert_eq!(states.len(), 2);
        let time = Timestamp::from_unix_millis(0);
        let first = needs_a_blocking_thread("the first event since", log.first_since(0, time)).await.unwrap();
        assert_eq!(first, 0);

        create(&store, &identity("dev"), 10).await.unwrap();
        let queue = needs_a_blocking_thread("a queue", store.queued_messages(&id("dev"))).await.unwrap();
        assert!(queue.is_empty());
        let messages = needs_a_blocking_thread("messages", store.messages(&[1])).await.unwrap();
        assert!(messages.is_empty());
        // Rows that are found by their key are read at once.
        assert!(store.identity(&id("dev")).now_or_never().is_some());
    });
}
