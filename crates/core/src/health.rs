//! The health of the background tasks. A task that panics makes the hub unready, and `/readyz` names it.

mod readiness;

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt as _;
use tracing::error;

use crate::metrics::{Outcomes, count};

/// The background tasks that have failed. Clones share the state.
#[derive(Debug, Clone, Default)]
pub struct Health {
    /// The reasons by task.
    failed: Arc<Mutex<BTreeMap<&'static str, String>>>,
    metric: Outcomes,
}

impl Health {
    pub(crate) fn new(metric: Outcomes) -> Self {
        Self { failed: Arc::default(), metric }
    }

    /// Returns a future that runs `task`, and records under `name` if it panics.
    pub fn supervise<F>(&self, name: &'static str, task: F) -> impl Future<Output = ()> + Send + use<F>
    where
        F: Future<Output = ()> + Send,
    {
        let health = self.clone();
        async move {
            if let Err(panic) = AssertUnwindSafe(task).catch_unwind().await {
                let error = panic_message(&*panic);
                error!(
                    task = name,
                    error, "a background task ended; the hub is not ready until it is restarted"
                );
                count(&health.metric, name);
                health.lock().insert(name, error.to_owned());
            }
        }
    }

    /// Returns a sentence for each failed task.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let problem = |(name, reason): (&&str, &String)| {
            format!("the background task {name} ended: {reason}; restart the hub")
        };
        self.lock().iter().map(problem).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, String>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the message of a panic.
#[must_use]
pub fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("panic without a message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_is_named_and_counted() {
        let health = Health::default();
        health.supervise("one", async {}).await;
        assert_eq!(health.problems(), [""; 0]);
        health.supervise("two", async { panic!("no {}", 2) }).await;
        health.supervise("three", async { panic!("no") }).await;
        assert_eq!(
            health.problems(),
            [
                "the background task three ended: no; restart the hub",
                "the background task two ended: no 2; restart the hub"
            ]
        );
        assert_eq!(crate::metrics::counter(&health.metric, "two").get(), 1);
    }
}
