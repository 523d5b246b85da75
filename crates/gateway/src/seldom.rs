//! A future beside a busier one in the same task, polled only when it was woken itself.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// A future that seldom has something to say. Whoever polls it often, because something else woke the task, pays
/// for one atomic load instead of what the future does when it is polled.
pub(crate) struct Seldom {
    future: Pin<Box<dyn Future<Output = ()> + Send>>,
    bell: Option<Arc<Bell>>,
}

/// What the future wakes.
struct Bell {
    rung: AtomicBool,
    task: Waker,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        self.task.wake_by_ref();
    }
}

impl Seldom {
    pub(crate) fn new(future: impl Future<Output = ()> + Send + 'static) -> Self {
        Self { future: Box::pin(future), bell: None }
    }

    /// Whether the future has ended. Not to be called again once it has.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let bell = match &self.bell {
            Some(bell) if bell.task.will_wake(cx.waker()) => {
                if !bell.rung.swap(false, Ordering::Acquire) {
                    return Poll::Pending;
                }
                bell.clone()
            }
            // The first time, or the task is another one.
            _ => Arc::new(Bell { rung: AtomicBool::new(false), task: cx.waker().clone() }),
        };
        let ended = self.future.as_mut().poll(&mut Context::from_waker(&bell.clone().into()));
        self.bell = Some(bell);
        ended
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn it_is_polled_only_when_it_was_woken() {
        let (sender, receiver) = oneshot::channel::<()>();
        let polls = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counted = {
            let (polls, mut receiver) = (polls.clone(), receiver);
            poll_fn(move |cx| {
                polls.fetch_add(1, Ordering::Relaxed);
                Pin::new(&mut receiver).poll(cx).map(drop)
            })
        };
        let mut seldom = Seldom::new(counted);
        for _ in 0..3 {
            poll_fn(|cx| {
                assert!(seldom.poll(cx).is_pending());
                Poll::Ready(())
            })
            .await;
        }
        assert_eq!(polls.load(Ordering::Relaxed), 1);
        tokio::spawn(async move { sender.send(()) });
        poll_fn(|cx| seldom.poll(cx)).await;
        assert_eq!(polls.load(Ordering::Relaxed), 2);
    }
}
