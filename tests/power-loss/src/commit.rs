//! Groups of writes that share a commit, independent of the speed of threads.

use std::future::Future;

use tokio::task::yield_now;

use crate::Disk;

/// Runs one write, and then the others of a group in one commit: the sync of the first one is held back until the others
/// wait. Returns the results; none for the group if the first write failed before its sync. Runs `while_held` when nothing
/// of all this is safe yet. Needs a runtime of one thread.
///
/// # Panics
/// If a write panics.
pub async fn share_commit<T, W>(
    disk: &Disk,
    first: W,
    group: Vec<W>,
    while_held: impl AsyncFnOnce(),
) -> (T, Option<Vec<T>>)
where
    T: Send + 'static,
    W: Future<Output = T> + Send + 'static,
{
    let join = |result: Result<T, tokio::task::JoinError>| result.expect("a write panicked");
    disk.hold_syncs();
    let first = tokio::spawn(first);
    while !first.is_finished() && !disk.is_sync_held() {
        yield_now().await;
    }
    if !disk.is_sync_held() {
        disk.release_syncs();
        return (join(first.await), None);
    }
    let group: Vec<_> = group.into_iter().map(tokio::spawn).collect();
    // Each write is in the queue when its task has run once.
    for _ in 0..3 {
        yield_now().await;
    }
    while_held().await;
    disk.release_syncs();
    let first = join(first.await);
    let mut results = Vec::new();
    for write in group {
        results.push(join(write.await));
    }
    (first, Some(results))
}
