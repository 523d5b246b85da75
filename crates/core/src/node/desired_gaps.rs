//! Connections that miss a change of desired properties.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::Connection;
use super::desired::Gap;

/// How long a missing notice may take to arrive. Notices overtake each other by milliseconds.
const GAP_TIMEOUT: Duration = Duration::from_secs(1);

/// The connections that miss a notice, in the order in which that showed. Bounded by the connections: each reports one
/// missing notice at a time.
#[derive(Debug, Default)]
pub(super) struct DesiredGaps {
    queue: Mutex<VecDeque<Missing>>,
    added: Notify,
}

#[derive(Debug)]
struct Missing {
    connection: Arc<Connection>,
    version: u64,
    due: Instant,
}

impl DesiredGaps {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Missing>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, connection: Arc<Connection>, version: u64) {
        let due = Instant::now() + GAP_TIMEOUT;
        self.lock().push_back(Missing { connection, version, due });
        self.added.notify_one();
    }

    /// Returns the next connection that still misses a notice after the time in which the notice could have come.
    /// Cancel-safe. For one caller at a time.
    pub(super) async fn next(&self) -> Arc<Connection> {
        loop {
            let due = self.lock().front().map(|gap| gap.due);
            match due {
                None => self.added.notified().await,
                Some(due) => {
                    sleep_until(due).await;
                    let Some(Missing { connection, version, .. }) = self.lock().pop_front() else { continue };
                    match connection.check_desired_gap(version) {
                        Gap::Filled => {}
                        Gap::Moved(version) => self.add(connection, version),
                        Gap::Lost => return connection,
                    }
                }
            }
        }
    }
}
