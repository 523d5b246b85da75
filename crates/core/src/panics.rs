//! Panics that end one operation, request or connection, and nothing else.

use std::any::Any;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use tracing::error;

use crate::metrics::{Outcomes, count};

/// Some work panicked. The text is the message of the panic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it panicked ({0})")]
pub struct Panicked(pub String);

/// Runs `work`. If it panics, [records](record_panic) that under `place`.
///
/// # Errors
///
/// [`Panicked`] if it panicked. Its locks are released then, and everything that it owned is dropped.
pub fn catch_panic<T, F: Future<Output = T>>(
    panics: Outcomes,
    place: &'static str,
    work: F,
) -> impl Future<Output = Result<T, Panicked>> + use<T, F> {
    // Not an `async fn`: its future would have room for `work` twice.
    AssertUnwindSafe(work)
        .catch_unwind()
        .map(move |ended| ended.map_err(|panic| record_panic(&panics, place, &*panic)))
}

/// Logs and counts a panic that was caught. `place` is a constant such as `operation` or `https`.
pub fn record_panic(panics: &Outcomes, place: &'static str, panic: &(dyn Any + Send)) -> Panicked {
    let error = panic_message(panic);
    error!(
        place,
        error, "a panic was caught; it ended one operation, request or connection, and the hub goes on"
    );
    count(panics, place);
    Panicked(error.to_owned())
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
    use crate::metrics::counter;

    #[tokio::test]
    async fn a_panic_is_caught_and_counted_with_its_message() {
        let panics = Outcomes::default();
        assert_eq!(catch_panic(panics.clone(), "operation", async { 1 }).await, Ok(1));
        let caught = catch_panic(panics.clone(), "operation", async { panic!("no {}", 2) }).await;
        assert_eq!(caught, Err::<(), _>(Panicked("no 2".to_owned())));
        assert_eq!(counter(&panics, "operation").get(), 1);
    }
}
