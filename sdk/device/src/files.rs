//! File uploads, in three steps.
//!
//! The hub names the destination (`POST /devices/{id}/files`). The storage receives the bytes as a block blob, in one
//! request or in blocks that are retried one by one. The hub receives the outcome (`POST …/files/notifications`),
//! success or failure: an upload without a reported outcome counts towards the limit of the device until the hub
//! expires it.

mod blob;
mod completion;
mod source;

use std::sync::Arc;

use ferrohub_model::file::FileUpload as UploadInfo;
use ferrohub_model::percent;
use hyper::HeaderMap;
use serde_json::json;

use crate::driver::Shared;
use crate::error::Error;
use blob::BlobWriter;
use completion::CompletionGuard;
pub use source::FileUpload;

/// Longest name of a file.
const MAX_NAME_BYTES: usize = 1024;

/// An uploaded file; from [`DeviceClient::upload_file`](crate::DeviceClient::upload_file).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UploadedFile {
    /// The name of the blob: the device id, a slash and the name of the file.
    pub blob_name: String,
    /// The URI of the blob. Reading it needs an authorization of its own.
    pub blob_uri: String,
    /// The size in bytes.
    pub blob_size_in_bytes: u64,
}

/// The path of the blob, encoded.
fn path(info: &UploadInfo) -> String {
    let mut path = format!("/{}", percent::encode(&info.container_name));
    for part in info.blob_name.split('/') {
        path.push('/');
        percent::encode_into(part, &mut path);
    }
    path
}

/// Path and query, to which further parameters can be appended.
fn target(info: &UploadInfo) -> String {
    format!("{}?{}", path(info), info.sas_token.trim_start_matches('?'))
}

pub(crate) async fn run(shared: Arc<Shared>, upload: FileUpload) -> Result<UploadedFile, Error> {
    let config = &shared.config;
    if upload.name.is_empty() || upload.name.len() > MAX_NAME_BYTES {
        return Err(Error::invalid_input(format!(
            "the name of a file must have 1 to {MAX_NAME_BYTES} bytes"
        )));
    }
    if config.identity.module_str().is_some() {
        return Err(Error::invalid_input("modules cannot upload files; use the client of the device"));
    }
    let files = format!("/devices/{}/files", percent::encode(config.identity.device_str()));
    let response = config
        .post(&files, &json!({ "blobName": upload.name }), HeaderMap::new(), config.request_timeout)
        .await?;
    let info: UploadInfo = response.success("the hub refused the upload")?.json()?;
    let mut completion =
        CompletionGuard::new(shared.clone(), format!("{files}/notifications"), &info.correlation_id);
    let sent = match BlobWriter::new(&shared, &info) {
        Ok(blob) => blob.write(upload).await,
        Err(error) => Err(error),
    };
    match sent {
        Ok(bytes) => {
            completion.succeeded();
            completion.report().await.map_err(|error| {
                let message = format!("the file is uploaded, but that was not reported to the hub: {error}");
                Error::new(error.kind(), message).with_source(error)
            })?;
            let blob_uri = format!("https://{}{}", info.host_name, path(&info));
            Ok(UploadedFile { blob_name: info.blob_name, blob_uri, blob_size_in_bytes: bytes })
        }
        Err(error) => {
            completion.failed(&error);
            if let Err(unreported) = completion.report().await {
                tracing::warn!(error = %unreported, "a failed upload was not reported to the hub");
            }
            Err(error)
        }
    }
}

/// Returns whether a request of an upload is repeated. A proxy before the storage may answer with any status of 5xx.
fn is_retryable(error: &Error) -> bool {
    error.is_retryable() || error.status().is_some_and(|status| status >= 500)
}

#[cfg(test)]
mod tests {
    use ferrohub_model::ErrorResponse;

    use super::*;

    #[test]
    fn each_part_of_a_name_is_encoded() {
        let info = |sas_token: &str| UploadInfo {
            correlation_id: String::new(),
            host_name: "store".to_owned(),
            container_name: "files".to_owned(),
            blob_name: "d#1/a b/é?.txt".to_owned(),
            sas_token: sas_token.to_owned(),
        };
        let expected = "/files/d%231/a%20b/%C3%A9%3F.txt?sv=1&sig=a%2Fb";
        assert_eq!(target(&info("?sv=1&sig=a%2Fb")), expected);
        assert_eq!(target(&info("sv=1&sig=a%2Fb")), expected);
    }

    #[test]
    fn every_server_error_is_retried() {
        let error = |status| Error::from_response("x", ErrorResponse::parse(status, None, None, b""));
        for status in [429, 500, 502, 503, 504] {
            assert!(is_retryable(&error(status)), "{status}");
        }
        for status in [400, 403, 404, 409, 412] {
            assert!(!is_retryable(&error(status)), "{status}");
        }
    }
}
