//! Containers of storage outside the hub, which import and export jobs read and write: Azure Storage or a compatible store.
//!
//! A URL comes from a caller, so it must not make the hub send requests to any host: only hosts that the operator lists are
//! reached, and redirects are not followed. The signature is in the URL, so no error contains one.

mod allowed_host;
mod requests;

use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use ferrohub_core::files::{BlobError, ByteStream};
use ferrohub_core::import_export::{ContainerBlob, ContainerError, ExternalContainers, OpenContainerBlob};
use http::{HeaderMap, Method, StatusCode, header};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;

pub use allowed_host::{AllowedHost, InvalidAllowedHost};
use requests::{BlobUrl, Client};

/// Size of a block in bytes. A smaller blob is written with one request.
const BLOCK_BYTES: usize = 4 * 1024 * 1024;
/// The maximum number of blocks of a blob.
const MAX_BLOCKS: usize = 50_000;
/// Time-out of a request: of its response's head, and of a block that is sent.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Access to containers by URLs with shared access signatures.
pub struct SignedContainers {
    client: Client,
    hosts: Vec<AllowedHost>,
}

impl SignedContainers {
    /// Creates the client; sends no request yet. It trusts the certificate authorities of the operating system.
    ///
    /// # Errors
    /// If TLS cannot be set up.
    pub fn new(hosts: Vec<AllowedHost>) -> Result<Self, rustls::Error> {
        Ok(Self { client: Client::new(TIMEOUT)?, hosts })
    }

    fn url(&self, container: &str, blob: &str) -> Result<BlobUrl, ContainerError> {
        BlobUrl::parse(container, blob, &self.hosts)
    }
}

/// Returns the size and version in the head of a response. `None` if the response is not valid.
fn version(headers: &HeaderMap, bytes: u64) -> Option<ContainerBlob> {
    let etag = headers.get(header::ETAG)?.to_str().ok()?.trim_matches('"').to_owned();
    Some(ContainerBlob { bytes, etag })
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn invalid_response() -> ContainerError {
    ContainerError::Refused("the response has no size or no ETag".to_owned())
}

#[async_trait]
impl ExternalContainers for SignedContainers {
    fn check(&self, container: &str) -> Result<(), ContainerError> {
        self.url(container, "").map(drop)
    }

    async fn open(
        &self,
        container: &str,
        blob: &str,
        from: u64,
    ) -> Result<OpenContainerBlob, ContainerError> {
        let url = self.url(container, blob)?;
        let head = self.client.send(Method::HEAD, &url, "", &[], Bytes::new()).await?;
        let size = content_length(head.headers()).ok_or_else(invalid_response)?;
        let found = version(head.headers(), size).ok_or_else(invalid_response)?;
        if from >= found.bytes {
            return Ok(OpenContainerBlob { blob: found, stream: Box::new(Empty) });
        }
        let (range, etag) = (format!("bytes={from}-"), format!("\"{}\"", found.etag));
        let headers = [("x-ms-range", range.as_str()), ("if-match", etag.as_str())];
        let response = self.client.send(Method::GET, &url, "", &headers, Bytes::new()).await?;
        let is_range = response.status() == StatusCode::PARTIAL_CONTENT;
        if content_length(response.headers()) != Some(found.bytes - from) || (from > 0 && !is_range) {
            return Err(ContainerError::Refused("the response does not have the requested bytes".to_owned()));
        }
        let body = response.into_body().map_err(|_| ()).boxed_unsync();
        Ok(OpenContainerBlob { blob: found, stream: Box::new(Body(body)) })
    }

    async fn put(
        &self,
        container: &str,
        blob: &str,
        stream: &mut dyn ByteStream,
    ) -> Result<(), ContainerError> {
        let url = self.url(container, blob)?;
        let mut ids: Vec<String> = Vec::new();
        let mut block = BytesMut::new();
        let content_type = ("x-ms-blob-content-type", "application/octet-stream");
        while let Some(chunk) = stream.next().await? {
            block.extend_from_slice(&chunk);
            while block.len() >= BLOCK_BYTES {
                let full = block.split_to(BLOCK_BYTES).freeze();
                self.put_block(&url, &mut ids, full).await?;
            }
        }
        if ids.is_empty() {
            let headers = [("x-ms-blob-type", "BlockBlob"), content_type];
            self.client.send(Method::PUT, &url, "", &headers, block.freeze()).await?;
            return Ok(());
        }
        if !block.is_empty() {
            self.put_block(&url, &mut ids, block.freeze()).await?;
        }
        let mut list = String::from("<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>");
        for id in &ids {
            list.push_str("<Latest>");
            list.push_str(id);
            list.push_str("</Latest>");
        }
        list.push_str("</BlockList>");
        self.client.send(Method::PUT, &url, "comp=blocklist", &[content_type], list.into()).await?;
        Ok(())
    }
}

impl SignedContainers {
    async fn put_block(
        &self,
        url: &BlobUrl,
        ids: &mut Vec<String>,
        block: Bytes,
    ) -> Result<(), ContainerError> {
        if ids.len() >= MAX_BLOCKS {
            return Err(BlobError::TooManyBlocks.into());
        }
        // Eight digits are also base64, of six bytes.
        let id = format!("{:08}", ids.len());
        self.client.send(Method::PUT, url, &format!("comp=block&blockid={id}"), &[], block).await?;
        ids.push(id);
        Ok(())
    }
}

/// The body of a response.
struct Body(UnsyncBoxBody<Bytes, ()>);

#[async_trait]
impl ByteStream for Body {
    async fn next(&mut self) -> Result<Option<Bytes>, BlobError> {
        loop {
            match self.0.frame().await {
                None => return Ok(None),
                Some(Err(())) => return Err(BlobError::IncompleteBody("the connection failed")),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }
}

/// No bytes.
struct Empty;

#[async_trait]
impl ByteStream for Empty {
    async fn next(&mut self) -> Result<Option<Bytes>, BlobError> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// Starts a storage that answers each request with the next of these responses, and then none. Returns its address.
    async fn storage(responses: Vec<String>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            for response in responses {
                let (mut socket, _) = listener.accept().await.unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(socket.read_u8().await.unwrap());
                }
                socket.write_all(response.as_bytes()).await.unwrap();
            }
        });
        address
    }

    fn response(status: &str, headers: &[&str], body: &str) -> String {
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        format!("HTTP/1.1 {status}\r\n{headers}Connection: close\r\n\r\n{body}")
    }

    async fn open(responses: Vec<String>, from: u64) -> Result<OpenContainerBlob, ContainerError> {
        let address = storage(responses).await;
        let containers = SignedContainers::new(vec![format!("http://{address}").parse().unwrap()]).unwrap();
        containers.open(&format!("http://{address}/c?sig=secret"), "devices.txt", from).await
    }

    #[tokio::test]
    async fn redirects_are_not_followed() {
        let elsewhere = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let location = format!("Location: http://{}/c?sig=secret", elsewhere.local_addr().unwrap());
        for status in
            ["301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"]
        {
            let redirect = response(status, &["Content-Length: 0", &location], "");
            let error = open(vec![redirect], 0).await.err().unwrap().to_string();
            assert!(error.contains("the hub follows no redirects") && !error.contains("secret"), "{error}");
        }
        let visited = tokio::time::timeout(Duration::from_millis(50), elsewhere.accept()).await;
        assert!(visited.is_err(), "nothing was sent to the other host");
    }

    #[tokio::test]
    async fn a_storage_that_answers_something_else_is_refused() {
        let head = |etag| response("200 OK", &["Content-Length: 10", etag], "");
        let etag = "ETag: \"v1\"";
        for (responses, from, expected) in [
            (vec![response("200 OK", &[etag], "")], 0, "no size or no ETag"),
            (vec![head("X: y")], 0, "no size or no ETag"),
            (
                vec![head(etag), response("200 OK", &["Content-Length: 9", etag], "123456789")],
                0,
                "not have the requested bytes",
            ),
            // Without the range that was asked for, the first bytes would be taken for later ones.
            (
                vec![head(etag), response("200 OK", &["Content-Length: 6", etag], "123456")],
                4,
                "not have the requested bytes",
            ),
            // The blob was replaced after its size was read.
            (vec![head(etag), response("412 Precondition Failed", &["Content-Length: 0"], "")], 0, "412"),
            (vec![response("404 Not Found", &["x-ms-error-code: BlobNotFound"], "")], 0, "it does not exist"),
            (vec![response("503 Busy", &["Content-Length: 0"], "")], 0, "503"),
        ] {
            let error = open(responses, from).await.err().unwrap();
            assert!(error.to_string().contains(expected), "{error} is not {expected}");
            let is_temporary = matches!(error, ContainerError::Unavailable(_));
            assert_eq!(is_temporary, expected == "503", "{error}");
        }
    }

    #[tokio::test]
    async fn a_body_that_ends_too_early_is_an_error() {
        let etag = "ETag: \"v1\"";
        let head = response("200 OK", &["Content-Length: 10", etag], "");
        let body = response("200 OK", &["Content-Length: 10", etag], "123");
        let mut stream = open(vec![head, body], 0).await.unwrap().stream;
        let error = loop {
            match stream.next().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the body is complete"),
                Err(error) => break error,
            }
        };
        assert!(error.to_string().contains("the connection failed"), "{error}");
    }
}
