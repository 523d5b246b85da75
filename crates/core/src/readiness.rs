//! Readiness: whether the hub can serve requests, and the reasons if it cannot.

use std::time::Duration;

use tokio::time::timeout;

use crate::hub::Hub;
use crate::store::StoreError;

/// A database that does not complete a small write within this time is not ready.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

impl Hub {
    /// Checks that the hub is not stopping, that no background task is failing, and that the store and the event log
    /// can be read and written.
    ///
    /// # Errors
    ///
    /// A sentence for each reason why the hub is not ready. It is meant for the operator and may contain paths.
    pub async fn readiness(&self) -> Result<(), Vec<String>> {
        if self.is_stopping() {
            return Err(vec!["the hub is stopping".to_owned()]);
        }
        let mut problems = self.background.problems();
        let (store, events) = tokio::join!(
            timeout(PROBE_TIMEOUT, self.store.ping()),
            timeout(PROBE_TIMEOUT, self.events.ping())
        );
        for (name, outcome) in [("the store", store), ("the event log", events)] {
            match outcome {
                Ok(Ok(())) => {}
                Ok(Err(StoreError::Closed)) => problems.push(format!("{name} is closed")),
                Ok(Err(error)) => problems.push(error.to_string()),
                Err(_) => problems.push(format!(
                    "{name} did not complete a small write within {} s; check the disk",
                    PROBE_TIMEOUT.as_secs()
                )),
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }
}
