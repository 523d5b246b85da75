//! What a hub tells of uploaded files, and the files that a Ferrohub keeps itself.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};

use crate::http_client::with_timeout;
use crate::uri::segment;
use crate::{Error, ErrorKind, FileNotification, ServiceClient};

/// A notification that this back end has received and not settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedFileNotification {
    /// What it says.
    pub notification: FileNotification,
    lock_token: String,
}

/// A file that a Ferrohub keeps in its own folder.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredFile {
    /// The device's id, a slash, and what the device calls it.
    pub blob_name: String,
    /// Its size.
    pub blob_size_in_bytes: u64,
    /// When it was written, RFC 3339.
    pub last_updated_time: String,
    /// What the device says it is.
    #[serde(default)]
    pub content_type: Option<String>,
}

/// The bytes of a file, as they come.
pub struct FileStream {
    body: Incoming,
    timeout: Duration,
}

impl FileStream {
    /// The next bytes; `None` at the end of the file.
    ///
    /// # Errors
    /// [`ErrorKind::Connection`] if they break off, [`ErrorKind::Timeout`] if none come for too long.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            let frame = with_timeout(self.timeout, async { Ok(self.body.frame().await) }).await?;
            let Some(frame) = frame else { return Ok(None) };
            let frame = frame.map_err(|error| {
                Error::new(ErrorKind::Connection, "the file broke off").with_source(error)
            })?;
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
    }
}

impl std::fmt::Debug for FileStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileStream").finish_non_exhaustive()
    }
}

/// A piece of a list of files.
#[derive(Debug, Clone, Default)]
pub struct FileQuery<'a> {
    /// Files of this device alone.
    pub device_id: Option<&'a str>,
    /// Files behind this name.
    pub after: Option<&'a str>,
    /// So many at most; a hub gives no more than 1000.
    pub top: Option<usize>,
}

impl ServiceClient {
    /// The next file that a device has uploaded, or `None`: nobody else hears of it until it is completed or abandoned, or
    /// the hub's time for that is up. Hubs tell of files only where that is switched on.
    ///
    /// # Errors
    /// Those that any request can have.
    pub async fn receive_file_notification(&self) -> Result<Option<LockedFileNotification>, Error> {
        let answer = self.request(Method::GET, PATH, "").send().await?;
        if answer.status == http::StatusCode::NO_CONTENT {
            return Ok(None);
        }
        let invalid = || Error::new(ErrorKind::Protocol, "the hub's answer cannot be read");
        let token =
            answer.headers.get(header::ETAG).and_then(|etag| etag.to_str().ok()).ok_or_else(invalid)?;
        let notification =
            serde_json::from_slice(&answer.body).map_err(|error| invalid().with_source(error))?;
        Ok(Some(LockedFileNotification { notification, lock_token: token.trim_matches('"').to_owned() }))
    }

    /// Says that a notification has been dealt with.
    ///
    /// # Errors
    /// [`ErrorKind::PreconditionFailed`] if the time for that is up.
    pub async fn complete_file_notification(&self, received: &LockedFileNotification) -> Result<(), Error> {
        let path = format!("{PATH}/{}", segment(&received.lock_token));
        self.request(Method::DELETE, &path, "").send().await.map(drop)
    }

    /// Gives a notification back, for others to receive.
    ///
    /// # Errors
    /// [`ErrorKind::PreconditionFailed`] if the time for that is up.
    pub async fn abandon_file_notification(&self, received: &LockedFileNotification) -> Result<(), Error> {
        let path = format!("{PATH}/{}/abandon", segment(&received.lock_token));
        self.request(Method::POST, &path, "").send().await.map(drop)
    }

    /// Files that a Ferrohub keeps itself, in the order of their names.
    ///
    /// # Errors
    /// [`ErrorKind::BadRequest`] if it keeps none, because a storage account is configured or files are off.
    pub async fn list_files(&self, query: &FileQuery<'_>) -> Result<Vec<StoredFile>, Error> {
        let mut text = String::new();
        for (name, value) in [("deviceId", query.device_id), ("after", query.after)] {
            if let Some(value) = value {
                text.push_str(&format!("{name}={}&", segment(value)));
            }
        }
        if let Some(top) = query.top {
            text.push_str(&format!("top={top}&"));
        }
        self.request(Method::GET, "/ferrohub/files", &text).send_json().await
    }

    /// Opens a file that a Ferrohub keeps itself.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]
    pub async fn open_file(&self, blob_name: &str) -> Result<FileStream, Error> {
        let answer = self.request(Method::GET, &file_path(blob_name)?, "").send_streaming().await?;
        Ok(FileStream { body: answer.into_body(), timeout: self.request_timeout() })
    }

    /// Deletes a file that a Ferrohub keeps itself.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]
    pub async fn delete_file(&self, blob_name: &str) -> Result<(), Error> {
        self.request(Method::DELETE, &file_path(blob_name)?, "").send().await.map(drop)
    }
}

const PATH: &str = "/messages/serviceBound/filenotifications";

fn file_path(blob_name: &str) -> Result<String, Error> {
    if blob_name.split('/').any(|part| part.is_empty() || part == "." || part == "..") {
        return Err(Error::new(ErrorKind::InvalidInput, "the name of the file has a part that is none"));
    }
    let parts: Vec<String> = blob_name.split('/').map(segment).collect();
    Ok(format!("/ferrohub/files/{}", parts.join("/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_by_a_path() {
        assert_eq!(file_path("d#1/a b/c").unwrap(), "/ferrohub/files/d%231/a%20b/c");
        for bad in ["", "d//f", "d/../f", "/f"] {
            assert_eq!(file_path(bad).unwrap_err().kind(), ErrorKind::InvalidInput);
        }
    }
}
