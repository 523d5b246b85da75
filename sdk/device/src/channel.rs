//! A bounded channel from the background task to one receiver in the application.
//!
//! It stays open across connections. A new receiver ends the one before and receives the unread items.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

pub(crate) struct Channel<T> {
    state: Mutex<State<T>>,
}

struct State<T> {
    items: VecDeque<T>,
    /// The id of the latest receiver; ids count up.
    receiver_id: u64,
    /// Whether that receiver still exists.
    open: bool,
    /// Whether no more items can be pushed.
    closed: bool,
    waker: Option<Waker>,
}

/// The receiving end. After it is dropped, the channel has no receiver until the next `subscribe`.
pub(crate) struct Receiver<T> {
    channel: Arc<Channel<T>>,
    id: u64,
}

impl<T> Default for Channel<T> {
    fn default() -> Self {
        let state = State { items: VecDeque::new(), receiver_id: 0, open: false, closed: false, waker: None };
        Self { state: Mutex::new(state) }
    }
}

impl<T> Channel<T> {
    pub(crate) fn subscribe(self: &Arc<Self>) -> Receiver<T> {
        let mut state = self.lock();
        state.receiver_id += 1;
        state.open = true;
        let id = state.receiver_id;
        let before = state.waker.take();
        drop(state);
        before.into_iter().for_each(Waker::wake);
        Receiver { channel: self.clone(), id }
    }

    /// Returns the id of the receiver, if there is one.
    pub(crate) fn receiver_id(&self) -> Option<u64> {
        let state = self.lock();
        state.open.then_some(state.receiver_id)
    }

    /// Adds an item, or returns it if there are `limit` items already.
    pub(crate) fn push(&self, item: T, limit: usize) -> Result<(), T> {
        let mut state = self.lock();
        if state.items.len() >= limit {
            return Err(item);
        }
        state.items.push_back(item);
        let waker = state.waker.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
        Ok(())
    }

    /// Removes all unread items.
    pub(crate) fn clear(&self) {
        let items = std::mem::take(&mut self.lock().items);
        // Dropping an item may lock this channel.
        drop(items);
    }

    /// Removes the unread items for which `keep` returns false.
    pub(crate) fn retain(&self, mut keep: impl FnMut(&T) -> bool) {
        let mut state = self.lock();
        let (kept, dropped): (VecDeque<T>, VecDeque<T>) = state.items.drain(..).partition(|item| keep(item));
        state.items = kept;
        drop(state);
        drop(dropped);
    }

    /// Ends the receiver.
    pub(crate) fn close_receiver(&self) {
        let mut state = self.lock();
        if state.open {
            state.receiver_id += 1;
            state.open = false;
        }
        let waker = state.waker.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }

    /// Closes the channel: the receiver takes the unread items, and ends.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let waker = state.waker.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Receiver<T> {
    pub(crate) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut state = self.channel.lock();
        if state.receiver_id != self.id {
            return Poll::Ready(None);
        }
        if let Some(item) = state.items.pop_front() {
            return Poll::Ready(Some(item));
        }
        if state.closed {
            return Poll::Ready(None);
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut state = self.channel.lock();
        if state.receiver_id == self.id {
            state.open = false;
            state.waker = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    async fn next(receiver: &Receiver<u8>) -> Option<u8> {
        poll_fn(|cx| receiver.poll_next(cx)).await
    }

    #[tokio::test]
    async fn a_channel_is_bounded_and_can_be_closed() {
        let channel = Arc::new(Channel::default());
        let receiver = channel.subscribe();
        assert_eq!((channel.push(1, 2), channel.push(2, 2), channel.push(3, 2)), (Ok(()), Ok(()), Err(3)));
        assert_eq!(next(&receiver).await, Some(1));
        channel.close();
        assert_eq!((next(&receiver).await, next(&receiver).await), (Some(2), None));
    }

    #[tokio::test]
    async fn a_waiting_receiver_is_woken_and_a_new_one_takes_over() {
        let channel = Arc::new(Channel::default());
        assert_eq!(channel.receiver_id(), None);
        let first = channel.subscribe();
        let waiting = tokio::spawn(async move { next(&first).await });
        tokio::task::yield_now().await;
        let second = channel.subscribe();
        assert_eq!(waiting.await.unwrap(), None);
        assert_eq!(channel.receiver_id(), Some(2), "the end of the first receiver does not end the second");
        let waiting = tokio::spawn(async move { (next(&second).await, second) });
        tokio::task::yield_now().await;
        channel.push(7, 1).unwrap();
        let (item, second) = waiting.await.unwrap();
        assert_eq!(item, Some(7));
        drop(second);
        assert_eq!(channel.receiver_id(), None);
    }
}
