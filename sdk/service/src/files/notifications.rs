//! Notifications of uploaded files.

use ferrohub_model::percent;
use http::{Method, header};

use crate::{Error, ErrorKind, FileNotification, ServiceClient};

const PATH: &str = "/messages/serviceBound/filenotifications";

/// A locked notification, from [`ServiceClient::receive_file_notification`]. The hub does not deliver it elsewhere
/// before the lock expires. A notification that is not completed is delivered again.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LockedFileNotification {
    /// The notification.
    pub notification: FileNotification,
    client: ServiceClient,
    lock_token: String,
}

impl LockedFileNotification {
    /// Completes the notification: the hub deletes it.
    ///
    /// # Errors
    /// [`ErrorKind::LockLost`] if the lock has expired; another receiver may have the notification then. Otherwise
    /// those of any request.
    pub async fn complete(self) -> Result<(), Error> {
        let path = format!("{PATH}/{}", percent::encode(&self.lock_token));
        self.client.request(Method::DELETE, &path, "").send().await.map(drop)
    }

    /// Abandons the notification: it is delivered again at once.
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
    /// Receives and locks the oldest notification of an uploaded file; `None` if there is none. The hub sends
    /// notifications only if they are enabled.
    ///
    /// # Errors
    /// Those of any request.
    pub async fn receive_file_notification(&self) -> Result<Option<LockedFileNotification>, Error> {
        let response = self.request(Method::GET, PATH, "").send().await?;
        if response.status == http::StatusCode::NO_CONTENT {
            return Ok(None);
        }
        let unreadable = || Error::new(ErrorKind::Protocol, "the response of the hub cannot be read");
        let token =
            response.headers.get(header::ETAG).and_then(|etag| etag.to_str().ok()).ok_or_else(unreadable)?;
        let notification =
            serde_json::from_slice(&response.body).map_err(|error| unreadable().with_source(error))?;
        let lock_token = token.trim_matches('"').to_owned();
        Ok(Some(LockedFileNotification { notification, client: self.clone(), lock_token }))
    }
}
