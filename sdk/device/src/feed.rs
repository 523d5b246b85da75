//! A bounded queue from the background task to one reader in the application.
//!
//! It outlives connections. A new reader ends the one before, and gets what nobody has read yet.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

pub(crate) struct Feed<T> {
    state: Mutex<State<T>>,
}

struct State<T> {
    items: VecDeque<T>,
    /// Counts the readers there ever were: the last one counts.
    reader: u64,
    /// Whether it is still there.
    open: bool,
    /// Whether nothing can come any more.
    ended: bool,
    waker: Option<Waker>,
}

/// The reading end. Dropping it closes the feed until somebody opens it again.
pub(crate) struct Reader<T> {
    feed: Arc<Feed<T>>,
    number: u64,
}

impl<T> Default for Feed<T> {
    fn default() -> Self {
        let state = State { items: VecDeque::new(), reader: 0, open: false, ended: false, waker: None };
        Self { state: Mutex::new(state) }
    }
}

impl<T> Feed<T> {
    pub(crate) fn open(self: &Arc<Self>) -> Reader<T> {
        let mut state = self.lock();
        state.reader += 1;
        state.open = true;
        let number = state.reader;
        let before = state.waker.take();
        drop(state);
        before.into_iter().for_each(Waker::wake);
        Reader { feed: self.clone(), number }
    }

    /// Which reader there is.
    pub(crate) fn reader(&self) -> Option<u64> {
        let state = self.lock();
        state.open.then_some(state.reader)
    }

    /// Adds an item, unless there are `limit` already.
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

    /// Forgets what nobody has read.
    pub(crate) fn clear(&self) {
        let items = std::mem::take(&mut self.lock().items);
        // What is dropped may look at this feed.
        drop(items);
    }

    /// Forgets what nobody has read, but for what `keep` picks.
    pub(crate) fn retain(&self, mut keep: impl FnMut(&T) -> bool) {
        let mut state = self.lock();
        let (kept, dropped): (VecDeque<T>, VecDeque<T>) = state.items.drain(..).partition(|item| keep(item));
        state.items = kept;
        drop(state);
        drop(dropped);
    }

    /// Ends the reader that there is.
    pub(crate) fn dismiss(&self) {
        let mut state = self.lock();
        if state.open {
            state.reader += 1;
            state.open = false;
        }
        let waker = state.waker.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }

    /// Nothing more comes: the reader takes what is there, and ends.
    pub(crate) fn end(&self) {
        let mut state = self.lock();
        state.ended = true;
        let waker = state.waker.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Reader<T> {
    pub(crate) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut state = self.feed.lock();
        if state.reader != self.number {
            return Poll::Ready(None);
        }
        if let Some(item) = state.items.pop_front() {
            return Poll::Ready(Some(item));
        }
        if state.ended {
            return Poll::Ready(None);
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl<T> Drop for Reader<T> {
    fn drop(&mut self) {
        let mut state = self.feed.lock();
        if state.reader == self.number {
            state.open = false;
            state.waker = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    async fn next(reader: &Reader<u8>) -> Option<u8> {
        poll_fn(|cx| reader.poll_next(cx)).await
    }

    #[tokio::test]
    async fn it_is_bounded_and_ends() {
        let feed = Arc::new(Feed::default());
        let reader = feed.open();
        assert_eq!((feed.push(1, 2), feed.push(2, 2), feed.push(3, 2)), (Ok(()), Ok(()), Err(3)));
        assert_eq!(next(&reader).await, Some(1));
        feed.end();
        assert_eq!((next(&reader).await, next(&reader).await), (Some(2), None));
    }

    #[tokio::test]
    async fn a_reader_that_waits_is_woken_and_a_new_one_takes_over() {
        let feed = Arc::new(Feed::default());
        assert_eq!(feed.reader(), None);
        let first = feed.open();
        let waiting = tokio::spawn(async move { next(&first).await });
        tokio::task::yield_now().await;
        let second = feed.open();
        assert_eq!(waiting.await.unwrap(), None);
        assert_eq!(feed.reader(), Some(2), "the first one's end is not the second one's");
        let waiting = tokio::spawn(async move { (next(&second).await, second) });
        tokio::task::yield_now().await;
        feed.push(7, 1).unwrap();
        let (item, second) = waiting.await.unwrap();
        assert_eq!(item, Some(7));
        drop(second);
        assert_eq!(feed.reader(), None);
    }
}
