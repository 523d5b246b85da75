//! Requests of other nodes to reload what this node keeps in memory of the store.

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// What a node keeps in memory of the store, and reloads when another node has changed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// The shared access policies.
    Policies,
    /// The certificate authorities.
    Authorities,
    /// The keys that sign blob URLs of the hub's own folder.
    SigningKeys,
    /// The configurations.
    Configurations,
}

impl What {
    /// Everything that a node keeps in memory of the store.
    pub const ALL: [Self; 4] = [Self::Policies, Self::Authorities, Self::SigningKeys, Self::Configurations];
}

/// How often each of [`What::ALL`] was requested or reloaded.
type Counts = [u64; What::ALL.len()];

fn count(counts: &Counts, what: What) -> u64 {
    counts.get(what as usize).copied().unwrap_or_default()
}

/// The reloads that are requested and not done. Requests of the same thing that come together are one reload, so this is
/// bounded.
#[derive(Debug, Default)]
pub struct Invalidations {
    requested: watch::Sender<Counts>,
    reloaded: watch::Sender<Counts>,
}

/// A reload to do: what, and the newest request that it fulfils.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reload {
    /// What to read from the store.
    pub what: What,
    request: u64,
}

impl Invalidations {
    /// Requests a reload, and returns once the hub has read from the store what was there when this was called. Dropping
    /// the future does not withdraw the request.
    pub async fn reload(&self, what: What) {
        let mut reloaded = self.reloaded.subscribe();
        let request = self.request(what);
        // Fails only if the sender is dropped, which `self` has.
        let _ = reloaded.wait_for(|reloaded| count(reloaded, what) >= request).await;
    }

    /// Requests a reload of everything, for a bus that was cut off from the other nodes and may have missed messages.
    pub fn request_all(&self) {
        for what in What::ALL {
            self.request(what);
        }
    }

    fn request(&self, what: What) -> u64 {
        let mut request = 0;
        self.requested.send_modify(|requested| {
            if let Some(number) = requested.get_mut(what as usize) {
                *number += 1;
                request = *number;
            }
        });
        request
    }

    /// Returns the next reload to do. Call [`done`](Self::done) when the hub has read it; until then this returns it again.
    /// Cancel-safe.
    pub async fn next(&self) -> Reload {
        let mut requested = self.requested.subscribe();
        loop {
            let (due, done) = (*requested.borrow_and_update(), *self.reloaded.borrow());
            for what in What::ALL {
                let request = count(&due, what);
                if request > count(&done, what) {
                    return Reload { what, request };
                }
            }
            // Fails only if the sender is dropped, which `self` has.
            let _ = requested.changed().await;
        }
    }

    /// Records that the hub has read this from the store, and wakes those that wait for it.
    pub fn done(&self, reload: Reload) {
        self.reloaded.send_modify(|reloaded| {
            if let Some(number) = reloaded.get_mut(reload.what as usize) {
                *number = (*number).max(reload.request);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    async fn run_ready_tasks() {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn requests_that_come_together_are_one_reload() {
        let invalidations = Arc::new(Invalidations::default());
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let invalidations = invalidations.clone();
                tokio::spawn(async move { invalidations.reload(What::Authorities).await })
            })
            .collect();
        run_ready_tasks().await;
        let reload = invalidations.next().await;
        assert_eq!(reload.what, What::Authorities);
        assert_eq!(invalidations.next().await, reload, "a reload that failed is due again");
        invalidations.done(reload);
        for waiting in waiting {
            waiting.await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_request_during_a_reload_is_another_reload() {
        let invalidations = Arc::new(Invalidations::default());
        invalidations.request_all();
        let first = invalidations.next().await;
        let waiting = {
            let invalidations = invalidations.clone();
            tokio::spawn(async move { invalidations.reload(first.what).await })
        };
        run_ready_tasks().await;
        invalidations.done(first);
        run_ready_tasks().await;
        assert!(!waiting.is_finished(), "the reload began before the request");
        for _ in What::ALL {
            let reload = invalidations.next().await;
            invalidations.done(reload);
        }
        waiting.await.unwrap();
    }
}
