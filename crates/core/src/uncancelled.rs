//! Work that a caller that hangs up must not stop half way, so that a change and its consequences are not separated.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use ferrohub_model::{ErrorCode, HubError};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::runtime::Handle;

use crate::metrics::Outcomes;
use crate::panics::{Panicked, catch_panic};

/// The label of the metric of panics for the work of this module.
const PLACE: &str = "operation";

/// Why uncancelled work has no outcome. Its changes may be persisted or not.
#[derive(Debug, thiserror::Error)]
pub enum Interrupted {
    /// The work panicked.
    #[error("the operation ended half way: {0}")]
    Panicked(#[from] Panicked),
    /// The process is stopping.
    #[error("the operation ended half way: the hub is stopping")]
    Stopped,
}

impl From<Interrupted> for HubError {
    fn from(_: Interrupted) -> Self {
        let text = "The hub failed while it processed the operation; the log of the hub says why.";
        Self::new(ErrorCode::ServerError, text)
    }
}

/// Runs `work` to completion even if the caller is cancelled, or does not poll for a while: locks that the work holds
/// are not kept by a slow caller. A panic is logged, counted in `panics`, and becomes an error.
///
/// # Panics
///
/// Outside a Tokio runtime.
pub async fn run_uncancelled<T, E>(
    panics: &Outcomes,
    work: impl Future<Output = Result<T, E>> + Send + 'static,
) -> Result<T, E>
where
    T: Send + 'static,
    E: From<Interrupted> + Send + 'static,
{
    // The panic is caught inside the task, so that it is counted even if the caller is gone.
    let caught = catch_panic(panics.clone(), PLACE, work);
    match tokio::spawn(caught).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(panicked)) => Err(Interrupted::from(panicked).into()),
        Err(_) => Err(Interrupted::Stopped.into()),
    }
}

/// Like [`run_uncancelled`], for frequent work that holds no lock: the caller's task runs it, and only if the caller is
/// cancelled does a task of its own complete it. A caller that is not cancelled pays only for a box.
pub fn complete_when_cancelled<T, E>(
    panics: &Outcomes,
    work: impl Future<Output = Result<T, E>> + Send + 'static,
) -> impl Future<Output = Result<T, E>> + Send + 'static
where
    T: Send + 'static,
    E: From<Interrupted> + Send + 'static,
{
    let caught = catch_panic(panics.clone(), PLACE, work);
    let flat = |caught: Result<Result<T, E>, Panicked>| match caught {
        Ok(outcome) => outcome,
        Err(panicked) => Err(Interrupted::from(panicked).into()),
    };
    CompleteWhenCancelled(Some(Box::pin(caught.map(flat))))
}

struct CompleteWhenCancelled<T: Send + 'static>(Option<BoxFuture<'static, T>>);

impl<T: Send + 'static> Future for CompleteWhenCancelled<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let Some(work) = &mut self.0 else { return Poll::Pending };
        let outcome = ready!(work.as_mut().poll(cx));
        self.0 = None;
        Poll::Ready(outcome)
    }
}

impl<T: Send + 'static> Drop for CompleteWhenCancelled<T> {
    fn drop(&mut self) {
        // Without a runtime, the work cannot continue.
        if let Some(work) = self.0.take()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(work);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Semaphore;

    use super::*;
    use crate::metrics::counter;

    /// Work that ends when `start` has a permit, and then adds one to `done`.
    fn work(
        start: &Arc<Semaphore>,
        done: &Arc<Semaphore>,
    ) -> impl Future<Output = Result<u32, HubError>> + use<> {
        let (start, done) = (start.clone(), done.clone());
        async move {
            let _permit = start.acquire().await;
            done.add_permits(1);
            Ok(1)
        }
    }

    #[tokio::test]
    async fn work_completes_although_its_caller_is_cancelled() {
        let (panics, start, done) =
            (Outcomes::default(), Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        assert!(run_uncancelled(&panics, work(&start, &done)).now_or_never().is_none());
        assert!(complete_when_cancelled(&panics, work(&start, &done)).now_or_never().is_none());
        assert_eq!(done.available_permits(), 0);
        start.add_permits(2);
        let _both = done.acquire_many(2).await.unwrap();
    }

    #[tokio::test]
    async fn work_completes_although_its_caller_does_not_poll() {
        let (panics, start, done) =
            (Outcomes::default(), Arc::new(Semaphore::new(1)), Arc::new(Semaphore::new(0)));
        let mut caller = Box::pin(run_uncancelled(&panics, work(&start, &done)));
        assert!((&mut caller).now_or_never().is_none());
        done.acquire().await.unwrap().forget();
        assert_eq!(caller.await, Ok(1));
    }

    #[tokio::test]
    async fn a_panic_becomes_an_error_and_is_counted() {
        let panics = Outcomes::default();
        let panicking = || async { if true { panic!("planted") } else { Ok::<u32, HubError>(1) } };
        for error in [
            run_uncancelled(&panics, panicking()).await.unwrap_err(),
            complete_when_cancelled(&panics, panicking()).await.unwrap_err(),
        ] {
            assert_eq!(error.code, ErrorCode::ServerError);
        }
        assert_eq!(counter(&panics, PLACE).get(), 2);
        // A caller that is gone does not hide the panic.
        let gone = run_uncancelled(&panics, async move {
            tokio::task::yield_now().await;
            panicking().await
        });
        assert!(gone.now_or_never().is_none());
        while counter(&panics, PLACE).get() < 3 {
            tokio::task::yield_now().await;
        }
    }
}
