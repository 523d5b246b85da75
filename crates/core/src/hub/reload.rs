//! Reloads what this node keeps in memory of the store, when another node has changed it.

use std::time::Duration;

use tokio::time::sleep;
use tracing::{info, warn};

use super::Hub;
use crate::node::What;
use crate::store_error::StoreError;

/// How long to wait after a reload that failed.
const RETRY_DELAY: Duration = Duration::from_secs(1);

impl Hub {
    /// Does the reloads that other nodes request over the bus. Never returns. On a single node there are none: an operation
    /// that changes the store also changes what its own node keeps in memory.
    pub async fn run_reloads(&self) {
        let invalidations = self.bus.invalidations();
        loop {
            let reload = invalidations.next().await;
            match self.reload(reload.what).await {
                Ok(()) => {
                    info!(what = ?reload.what, "reloaded what another node has changed");
                    invalidations.done(reload);
                }
                Err(error) => {
                    let retry_seconds = RETRY_DELAY.as_secs();
                    warn!(what = ?reload.what, %error, retry_seconds, "cannot reload what another node has changed");
                    sleep(RETRY_DELAY).await;
                }
            }
        }
    }

    async fn reload(&self, what: What) -> Result<(), StoreError> {
        match what {
            What::Policies => self.reload_policies().await,
            What::Authorities => self.reload_authorities().await,
            What::SigningKeys => self.reload_url_keys().await,
            What::Configurations => self.reload_configurations().await,
        }
    }
}
