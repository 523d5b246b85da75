//! Waiting for something that a notification announces, or a time.

use std::pin::Pin;
use std::time::Duration;

use ferrohub_model::Timestamp;
use tokio::sync::futures::Notified;
use tokio::time::sleep;

use crate::clock::Clock;

/// How long a waiter waits after a notification, so that one look serves many of them.
const NOTIFIED_DELAY: Duration = Duration::from_millis(50);
/// Maximum sleep, because the wall clock may be changed meanwhile.
const MAX_SLEEP: Duration = Duration::from_secs(3600);

/// Waits until `changed` is notified, or until `ready` if there is such a time. Cancel-safe.
pub(crate) async fn wait(clock: &dyn Clock, changed: Pin<&mut Notified<'_>>, ready: Option<Timestamp>) {
    let Some(ready) = ready else {
        changed.await;
        return sleep(NOTIFIED_DELAY).await;
    };
    let left = ready.unix_millis().saturating_sub(clock.now().unix_millis());
    let left = Duration::from_millis(u64::try_from(left).unwrap_or(0)).min(MAX_SLEEP);
    tokio::select! {
        () = changed => sleep(NOTIFIED_DELAY).await,
        () = sleep(left) => {}
    }
}
