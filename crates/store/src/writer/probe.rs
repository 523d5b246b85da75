//! The readiness probe: a small write that reaches the disk.

use std::time::{Duration, Instant};

use ferrohub_core::store::StoreError;
use rusqlite::Connection;
use tokio::sync::Mutex;

use super::Writer;

/// How long the outcome of a probe is valid. Limits the number of probes, because health checks are not authenticated.
const PROBE_VALIDITY: Duration = Duration::from_secs(1);

/// The last probe: when it ended, and the error's text.
#[derive(Debug, Default)]
pub(super) struct LastProbe(Mutex<Option<(Instant, Result<(), String>)>>);

impl Writer {
    /// Checks that a write reaches the disk, or returns the outcome of a check less than a second ago.
    #[expect(clippy::disallowed_methods, reason = "limits how often the disk is probed")]
    pub(crate) async fn probe(&self) -> Result<(), StoreError> {
        // Concurrent callers wait for one probe.
        let mut last = self.last_probe.0.lock().await;
        if let Some((at, outcome)) = &*last
            && at.elapsed() < PROBE_VALIDITY
        {
            return outcome.clone().map_err(|text| StoreError::Failed(text.into()));
        }
        let outcome = self.write(rewrite_user_version).await;
        let text = match &outcome {
            Err(StoreError::Closed) => return outcome,
            Err(StoreError::Failed(source)) => Err(source.to_string()),
            other => other.as_ref().copied().map_err(ToString::to_string),
        };
        *last = Some((Instant::now(), text));
        outcome
    }
}

/// Writes the first page of the database without a change.
fn rewrite_user_version(db: &Connection) -> rusqlite::Result<()> {
    let version: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
    db.pragma_update(None, "user_version", version)
}
