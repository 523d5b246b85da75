//! What became of messages to devices.

use std::time::Duration;

use ferrohub_model::message::FeedbackRecord;
use http::{Method, header};

use crate::uri::segment;
use crate::{Error, ErrorKind, ServiceClient};

/// A batch of feedback that this client has in hand: complete it, or it comes again.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LockedFeedback {
    /// With which it is settled.
    pub lock_token: String,
    /// What became of which message, oldest first.
    pub records: Vec<FeedbackRecord>,
}

impl ServiceClient {
    /// The oldest feedback that nobody has in hand; `None` if there is none yet. The hub gathers feedback for up to 15
    /// seconds, or 64 records.
    ///
    /// # Errors
    /// Those that any request can have.
    pub async fn receive_feedback(&self) -> Result<Option<LockedFeedback>, Error> {
        let answer = self.request(Method::GET, "/messages/serviceBound/feedback", "").send().await?;
        if answer.body.is_empty() {
            return Ok(None);
        }
        let unreadable = || Error::new(ErrorKind::Protocol, "the hub's answer cannot be read");
        let token = answer.headers.get(header::ETAG).and_then(|token| token.to_str().ok());
        let records =
            serde_json::from_slice(&answer.body).map_err(|error| unreadable().with_source(error))?;
        let lock_token = token.ok_or_else(unreadable)?.trim_matches('"').to_owned();
        Ok(Some(LockedFeedback { lock_token, records }))
    }

    /// Is done with a batch: the hub forgets it.
    ///
    /// # Errors
    /// [`ErrorKind::PreconditionFailed`] if its lock ran out; somebody else may have it then.
    pub async fn complete_feedback(&self, lock_token: &str) -> Result<(), Error> {
        let path = format!("/messages/serviceBound/feedback/{}", segment(lock_token));
        self.request(Method::DELETE, &path, "").send().await.map(drop)
    }

    /// Gives a batch back: it comes again at once.
    ///
    /// # Errors
    /// [`ErrorKind::PreconditionFailed`] if its lock ran out.
    pub async fn abandon_feedback(&self, lock_token: &str) -> Result<(), Error> {
        let path = format!("/messages/serviceBound/feedback/{}/abandon", segment(lock_token));
        self.request(Method::POST, &path, "").send().await.map(drop)
    }

    /// Feedback as it comes: asks for it again and again, with this poll_interval where there was none.
    #[must_use]
    pub fn feedback(&self, poll_interval: Duration) -> FeedbackStream {
        FeedbackStream { client: self.clone(), poll_interval, locked: None }
    }
}

/// Feedback as it comes.
#[derive(Debug)]
pub struct FeedbackStream {
    client: ServiceClient,
    poll_interval: Duration,
    /// What the caller was given last.
    locked: Option<String>,
}

impl FeedbackStream {
    /// The next batch, however long that takes. The one before is completed: what the caller was given and did not ask
    /// on from comes again.
    ///
    /// # Errors
    /// Those that any request can have; it may be called again. A batch whose completion failed comes again.
    pub async fn next(&mut self) -> Result<Vec<FeedbackRecord>, Error> {
        self.complete().await?;
        loop {
            if let Some(batch) = self.client.receive_feedback().await? {
                self.locked = Some(batch.lock_token);
                return Ok(batch.records);
            }
            tokio::time::sleep(self.poll_interval).await;
        }
    }

    /// Completes the batch that the caller was given last, without asking for another.
    ///
    /// # Errors
    /// Those that any request can have. That its lock ran out is none: it comes again.
    pub async fn complete(&mut self) -> Result<(), Error> {
        let Some(lock_token) = &self.locked else { return Ok(()) };
        match self.client.complete_feedback(lock_token).await {
            Err(error) if error.kind() != ErrorKind::PreconditionFailed => return Err(error),
            _ => self.locked = None,
        }
        Ok(())
    }
}
