//! Feedback on messages to devices.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use ferrohub_model::message::FeedbackRecord;
use ferrohub_model::percent;
use futures_util::Stream;
use futures_util::future::BoxFuture;
use http::{Method, header};

use crate::{Error, ErrorKind, ServiceClient};

const PATH: &str = "/messages/serviceBound/feedback";

/// A locked batch of feedback, from [`ServiceClient::receive_feedback`]. The hub does not deliver it elsewhere before
/// the lock expires. A batch that is not completed is delivered again.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LockedFeedback {
    /// The records, oldest first.
    pub records: Vec<FeedbackRecord>,
    client: ServiceClient,
    lock_token: String,
}

impl LockedFeedback {
    /// Completes the batch: the hub deletes it.
    ///
    /// # Errors
    /// [`ErrorKind::LockLost`] if the lock has expired; another receiver may have the batch then. Otherwise those of
    /// any request.
    pub async fn complete(self) -> Result<(), Error> {
        let path = format!("{PATH}/{}", percent::encode(&self.lock_token));
        self.client.request(Method::DELETE, &path, "").send().await.map(drop)
    }

    /// Abandons the batch: it is delivered again at once.
    ///
    /// # Errors
    /// As for [`complete`](Self::complete).
    pub async fn abandon(self) -> Result<(), Error> {
        let path = format!("{PATH}/{}/abandon", percent::encode(&self.lock_token));
        self.client.request(Method::POST, &path, "").send().await.map(drop)
    }

    /// Returns the token that identifies the lock, for logs.
    #[must_use]
    pub fn lock_token(&self) -> &str {
        &self.lock_token
    }
}

impl ServiceClient {
    /// Receives and locks the oldest batch of feedback; `None` if there is none. The hub collects feedback for up to 15
    /// seconds or 64 records.
    ///
    /// # Errors
    /// Those of any request.
    pub async fn receive_feedback(&self) -> Result<Option<LockedFeedback>, Error> {
        let response = self.request(Method::GET, PATH, "").send().await?;
        if response.body.is_empty() {
            return Ok(None);
        }
        let unreadable = || Error::new(ErrorKind::Protocol, "the response of the hub cannot be read");
        let token = response.headers.get(header::ETAG).and_then(|token| token.to_str().ok());
        let records =
            serde_json::from_slice(&response.body).map_err(|error| unreadable().with_source(error))?;
        let lock_token = token.ok_or_else(unreadable)?.trim_matches('"').to_owned();
        Ok(Some(LockedFeedback { records, client: self.clone(), lock_token }))
    }

    /// Returns a stream of feedback. It polls the hub, with this interval while there is no feedback.
    #[must_use]
    pub fn feedback(&self, poll_interval: Duration) -> FeedbackStream {
        FeedbackStream { client: self.clone(), poll_interval, locked: None, step: None }
    }
}

/// A stream of feedback; from [`ServiceClient::feedback`]. It never ends.
///
/// The request for the next batch completes the one before. The last batch is delivered again, unless
/// [`complete`](Self::complete) is called. An error does not end the stream: the next call tries again.
pub struct FeedbackStream {
    client: ServiceClient,
    poll_interval: Duration,
    /// The batch that was returned last.
    locked: Option<LockedFeedback>,
    /// The request in progress. It survives when the future of `next` is dropped.
    step: Option<BoxFuture<'static, Result<LockedFeedback, Error>>>,
}

impl FeedbackStream {
    /// Waits for the next batch, and completes the one before. Never returns `None`. The same as `StreamExt::next`,
    /// without the trait. Dropping the future loses nothing.
    ///
    /// # Errors
    /// Those of any request. The next call tries again.
    pub async fn next(&mut self) -> Option<Result<Vec<FeedbackRecord>, Error>> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// Completes the batch that was returned last, without receiving another.
    ///
    /// # Errors
    /// Those of any request. An expired lock is not an error: the batch is delivered again.
    pub async fn complete(&mut self) -> Result<(), Error> {
        if let Some(locked) = &self.locked {
            complete(locked.clone()).await?;
            self.locked = None;
        }
        Ok(())
    }
}

/// Completes a batch. If its lock is lost, it was completed before or is delivered again.
async fn complete(locked: LockedFeedback) -> Result<(), Error> {
    match locked.complete().await {
        Err(error) if error.kind() != ErrorKind::LockLost => Err(error),
        _ => Ok(()),
    }
}

async fn receive(
    client: ServiceClient,
    poll_interval: Duration,
    previous: Option<LockedFeedback>,
) -> Result<LockedFeedback, Error> {
    if let Some(previous) = previous {
        complete(previous).await?;
    }
    loop {
        if let Some(locked) = client.receive_feedback().await? {
            return Ok(locked);
        }
        tokio::time::sleep(poll_interval).await;
    }
}

impl Stream for FeedbackStream {
    type Item = Result<Vec<FeedbackRecord>, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let step = this.step.get_or_insert_with(|| {
            Box::pin(receive(this.client.clone(), this.poll_interval, this.locked.clone()))
        });
        let result = ready!(step.as_mut().poll(cx));
        this.step = None;
        Poll::Ready(Some(result.map(|locked| this.locked.insert(locked).records.clone())))
    }
}

impl fmt::Debug for FeedbackStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FeedbackStream").field("poll_interval", &self.poll_interval).finish_non_exhaustive()
    }
}
