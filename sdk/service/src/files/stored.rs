//! The files that a Ferrohub stores itself.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use ferrohub_model::{Timestamp, percent};
use futures_util::Stream;
use http::Method;
use hyper::body::{Body as _, Incoming};
use serde::{Deserialize, Serialize};
use tokio::time::{Sleep, sleep};

use crate::{Error, ErrorKind, ServiceClient};

/// A file that a Ferrohub stores in its own folder.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct StoredFile {
    /// The name of the blob: the device id, a slash and the name of the file.
    pub blob_name: String,
    /// The size in bytes.
    pub blob_size_in_bytes: u64,
    /// When it was written.
    pub last_updated_time: Timestamp,
    /// The media type that the device set.
    #[serde(default)]
    pub content_type: Option<String>,
}

/// A stream of the bytes of a file; from [`ServiceClient::open_file`]. It ends with the file, or after an error.
pub struct FileStream {
    body: Option<Incoming>,
    timeout: Duration,
    /// Runs while the stream waits for bytes.
    timer: Option<Pin<Box<Sleep>>>,
}

impl FileStream {
    pub(crate) fn new(body: Incoming, timeout: Duration) -> Self {
        Self { body: Some(body), timeout, timer: None }
    }

    /// Waits for the next bytes. Returns `None` at the end of the file. The same as `StreamExt::next`, without the
    /// trait.
    ///
    /// # Errors
    /// [`ErrorKind::Connection`] if the download is interrupted; [`ErrorKind::Timeout`] if no bytes arrive for the
    /// [request time-out](crate::Builder::request_timeout).
    pub async fn next(&mut self) -> Option<Result<Bytes, Error>> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl Stream for FileStream {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            let Some(body) = &mut this.body else { return Poll::Ready(None) };
            let item = match Pin::new(body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => Some(Ok(data)),
                    Err(_) => continue,
                },
                Poll::Ready(Some(Err(error))) => {
                    let message = "the download of the file was interrupted";
                    Some(Err(Error::new(ErrorKind::Connection, message).with_source(error)))
                }
                Poll::Ready(None) => None,
                Poll::Pending => {
                    let timer = this.timer.get_or_insert_with(|| Box::pin(sleep(this.timeout)));
                    ready!(timer.as_mut().poll(cx));
                    let message =
                        format!("no bytes of the file arrived for {} seconds", this.timeout.as_secs());
                    Some(Err(Error::new(ErrorKind::Timeout, message)))
                }
            };
            this.timer = None;
            if !matches!(item, Some(Ok(_))) {
                this.body = None;
            }
            return Poll::Ready(item);
        }
    }
}

impl fmt::Debug for FileStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileStream").finish_non_exhaustive()
    }
}

/// Selects files of a list; for [`ServiceClient::list_files`].
///
/// ```
/// # use ferrohub_service::FileQuery;
/// let query = FileQuery::new().device_id("pump-1").top(10);
/// ```
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct FileQuery {
    device_id: Option<String>,
    after: Option<String>,
    top: Option<usize>,
}

impl FileQuery {
    /// All files, sorted by name; at most 1,000.
    pub fn new() -> Self {
        Self::default()
    }

    /// Selects the files of this device.
    pub fn device_id(mut self, id: impl Into<String>) -> Self {
        self.device_id = Some(id.into());
        self
    }

    /// Selects the files after this name, for the next page.
    pub fn after(mut self, blob_name: impl Into<String>) -> Self {
        self.after = Some(blob_name.into());
        self
    }

    /// Sets the maximum number of files, from 1 to 1,000; another value means 1,000.
    pub fn top(mut self, count: usize) -> Self {
        self.top = Some(count);
        self
    }

    fn to_text(&self) -> String {
        let mut text = String::new();
        for (name, value) in [("deviceId", &self.device_id), ("after", &self.after)] {
            if let Some(value) = value {
                text.push_str(&format!("{name}={}&", percent::encode(value)));
            }
        }
        if let Some(top) = self.top {
            text.push_str(&format!("top={top}&"));
        }
        text
    }
}

impl ServiceClient {
    /// Lists the files that a Ferrohub stores itself, sorted by name.
    ///
    /// # Errors
    /// [`ErrorKind::BadRequest`] if the hub stores no files, because a storage account is configured or files are
    /// disabled; and those of any request.
    pub async fn list_files(&self, query: &FileQuery) -> Result<Vec<StoredFile>, Error> {
        self.request(Method::GET, "/ferrohub/files", &query.to_text()).send_json().await
    }

    /// Opens a file that a Ferrohub stores itself.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] if a part of the name is empty, `.` or `..`; [`ErrorKind::NotFound`]; and those of
    /// any request.
    pub async fn open_file(&self, blob_name: &str) -> Result<FileStream, Error> {
        let response = self.request(Method::GET, &file_path(blob_name)?, "").send_streaming().await?;
        Ok(FileStream::new(response.into_body(), self.request_timeout()))
    }

    /// Deletes a file that a Ferrohub stores itself.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] if a part of the name is empty, `.` or `..`; [`ErrorKind::NotFound`]; and those of
    /// any request.
    pub async fn delete_file(&self, blob_name: &str) -> Result<(), Error> {
        self.request(Method::DELETE, &file_path(blob_name)?, "").send().await.map(drop)
    }
}

fn file_path(blob_name: &str) -> Result<String, Error> {
    if blob_name.split('/').any(|part| part.is_empty() || part == "." || part == "..") {
        let message = format!("invalid name of a file: {blob_name:?}; no part may be empty, \".\" or \"..\"");
        return Err(Error::invalid_input(message));
    }
    let parts: Vec<String> = blob_name.split('/').map(percent::encode).collect();
    Ok(format!("/ferrohub/files/{}", parts.join("/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_by_a_path() {
        assert_eq!(file_path("d#1/a b/c").unwrap(), "/ferrohub/files/d%231/a%20b/c");
        for invalid in ["", "d//f", "d/../f", "/f"] {
            assert_eq!(file_path(invalid).unwrap_err().kind(), ErrorKind::InvalidInput);
        }
    }

    #[test]
    fn a_query_is_encoded() {
        let query = FileQuery::new().device_id("d#1").after("d#1/a b").top(5);
        assert_eq!(query.to_text(), "deviceId=d%231&after=d%231%2Fa%20b&top=5&");
        assert_eq!(FileQuery::new().to_text(), "");
    }

    #[test]
    fn the_time_of_a_stored_file_is_a_timestamp() {
        let json = r#"{"blobName":"d/f","blobSizeInBytes":1,"lastUpdatedTime":"2027-01-01T00:00:00.5Z"}"#;
        let file: StoredFile = serde_json::from_str(json).unwrap();
        assert_eq!(file.last_updated_time.to_string(), "2027-01-01T00:00:00.5Z");
    }
}
