//! The container of a Ferrohub for import and export.

use std::fmt;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ferrohub_model::{ErrorResponse, Timestamp, percent};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::http_client::read_body;
use crate::{ContainerUrl, Error, ErrorKind, FileStream, ServiceClient};

/// Size of a block in bytes.
const BLOCK_BYTES: usize = 4 * 1024 * 1024;

/// The container of a Ferrohub for import and export, as a signed URL; from [`ServiceClient::create_container_url`].
#[derive(Clone)]
pub struct BlobContainer {
    client: ServiceClient,
    url: ContainerUrl,
}

impl ServiceClient {
    /// Returns a signed URL of the container that a Ferrohub itself has for import and export, valid for `validity`, from one
    /// second to seven days, or for an hour. Its holder may list, read, write and delete the blobs there.
    ///
    /// # Errors
    /// [`ErrorKind::BadRequest`] if the hub stores no files itself, or for another validity; and those of any request.
    pub async fn create_container_url(&self, validity: Option<Duration>) -> Result<BlobContainer, Error> {
        let body = json!({ "expiresInSeconds": validity.map(|validity| validity.as_secs()) });
        let request = self.request(Method::POST, "/ferrohub/import-export/container-url", "");
        let url = request.json(&body)?.send_json().await?;
        Ok(BlobContainer { client: self.clone(), url })
    }
}

impl BlobContainer {
    /// Returns the URL, for the request of a job. A secret.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url.url
    }

    /// Returns when the URL expires.
    #[must_use]
    pub fn expiry(&self) -> Timestamp {
        self.url.expiry_time_utc
    }

    /// Writes a blob from a reader, in blocks. It appears when it is complete. `on_progress` is called with the number of
    /// bytes that are written.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] if the reader fails; [`ErrorKind::Unavailable`] or [`ErrorKind::TooLarge`] if the hub
    /// has no room; and those of any request.
    pub async fn put_blob(
        &self,
        name: &str,
        mut reader: impl AsyncRead + Unpin + Send,
        mut on_progress: impl FnMut(u64) + Send,
    ) -> Result<(), Error> {
        let (mut blocks, mut written) = (Vec::new(), 0);
        loop {
            let block = read_block(&mut reader).await?;
            if block.is_empty() {
                break;
            }
            written += block.len() as u64;
            // Eight digits are also base64, of six bytes.
            let id = format!("{:08}", blocks.len());
            self.send(Method::PUT, name, &format!("&comp=block&blockid={id}"), block).await?;
            blocks.push(id);
            on_progress(written);
        }
        let list: String = blocks.iter().map(|id| format!("<Latest>{id}</Latest>")).collect();
        let list = format!("<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>{list}</BlockList>");
        self.send(Method::PUT, name, "&comp=blocklist", list.into()).await.map(drop)
    }

    /// Opens a blob.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; and those of any request.
    pub async fn open_blob(&self, name: &str) -> Result<FileStream, Error> {
        let response = self.send(Method::GET, name, "", Bytes::new()).await?;
        Ok(FileStream::new(response.into_body(), self.client.request_timeout()))
    }

    /// Deletes a blob.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; and those of any request.
    pub async fn delete_blob(&self, name: &str) -> Result<(), Error> {
        self.send(Method::DELETE, name, "", Bytes::new()).await.map(drop)
    }

    async fn send(
        &self,
        method: Method,
        name: &str,
        parameters: &str,
        body: Bytes,
    ) -> Result<Response<Incoming>, Error> {
        let (base, query) = self.url.url.split_once('?').unwrap_or((&self.url.url, ""));
        let parts: Vec<String> = name.split('/').map(percent::encode).collect();
        let request = Request::builder()
            .method(method)
            .uri(format!("{base}/{}?{query}{parameters}", parts.join("/")))
            .body(body)
            .map_err(|_| Error::invalid_input("the URL of the container is not valid"))?;
        let response = self.client.send_signed(request).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(self.error(response).await?)
    }

    async fn error(&self, response: Response<Incoming>) -> Result<Error, Error> {
        let status = response.status();
        let code = response.headers().get("x-ms-error-code").and_then(|code| code.to_str().ok());
        let text = format!("the hub refused the request for a blob: {status}, {}", code.unwrap_or("no code"));
        read_body(response, self.client.request_timeout()).await?;
        let kind = match status {
            StatusCode::NOT_FOUND => ErrorKind::NotFound,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ErrorKind::Unauthorized,
            status => ErrorResponse::parse(status.as_u16(), None, None, b"").kind(),
        };
        Ok(Error::new(kind, text))
    }
}

async fn read_block(reader: &mut (impl AsyncRead + Unpin)) -> Result<Bytes, Error> {
    let mut block = BytesMut::with_capacity(BLOCK_BYTES);
    while block.len() < BLOCK_BYTES {
        let read = reader.read_buf(&mut block).await.map_err(|error| {
            Error::invalid_input("the data for the blob cannot be read").with_source(error)
        })?;
        if read == 0 {
            break;
        }
    }
    Ok(block.freeze())
}

impl fmt::Debug for BlobContainer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobContainer").field("url", &self.url).finish_non_exhaustive()
    }
}
