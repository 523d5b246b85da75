//! The load generator: thousands of connections on one thread, and calls in a closed or an open loop.

pub(crate) mod amqp;
pub(crate) mod calls;
pub(crate) mod device;
pub(crate) mod dial;
pub(crate) mod http;
pub(crate) mod mqtt;
pub(crate) mod nats;

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Runs all futures, at most `concurrency` at a time. Returns the first error.
pub(crate) async fn run_all<T, F>(concurrency: usize, work: impl Iterator<Item = F>) -> anyhow::Result<Vec<T>>
where
    T: Send + 'static,
    F: Future<Output = anyhow::Result<T>> + Send + 'static,
{
    let permits = Arc::new(Semaphore::new(concurrency));
    let mut tasks = JoinSet::new();
    for one in work {
        let permit = permits.clone().acquire_owned().await?;
        tasks.spawn(async move {
            let _permit = permit;
            one.await
        });
    }
    let mut results = Vec::new();
    while let Some(result) = tasks.join_next().await {
        results.push(result??);
    }
    Ok(results)
}
