//! Files: to the store that the hub names, in three steps.
//!
//! The hub says where (`POST /devices/{id}/files`), the store takes the bytes as a block blob – in one piece, or in
//! blocks of which each is tried again – and the hub hears how it went (`POST …/files/notifications`), whether well or
//! not: an upload that is not reported counts against the device's limit until the hub gives it up.

mod blob;
mod completion;
mod source;

use std::sync::Arc;

use ferrohub_model::percent;
use hyper::HeaderMap;
use serde::Deserialize;
use serde_json::json;

use crate::driver::Shared;
use crate::error::Error;
use blob::BlobWriter;
use completion::CompletionGuard;
pub use source::FileUpload;

/// The longest name of a file.
const MAX_NAME_BYTES: usize = 1024;

/// A file that the store has; from [`DeviceClient::upload_file`](crate::DeviceClient::upload_file).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UploadedFile {
    /// Its name in the store, which the hub put the device's id before.
    pub blob_name: String,
    /// Where it is; whoever wants to read it needs rights of their own.
    pub blob_uri: String,
    /// Its size.
    pub blob_size_in_bytes: u64,
}

/// Where the hub wants a file.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Place {
    correlation_id: String,
    host_name: String,
    container_name: String,
    blob_name: String,
    sas_token: String,
}

impl Place {
    fn path(&self) -> String {
        let mut path = format!("/{}", percent::encode(&self.container_name));
        for part in self.blob_name.split('/') {
            path.push('/');
            percent::encode_into(part, &mut path);
        }
        path
    }

    /// Path and query, without what may follow.
    fn target(&self) -> String {
        format!("{}?{}", self.path(), self.sas_token.trim_start_matches('?'))
    }
}

pub(crate) async fn run(shared: Arc<Shared>, upload: FileUpload) -> Result<UploadedFile, Error> {
    let config = &shared.config;
    if upload.name.is_empty() || upload.name.len() > MAX_NAME_BYTES {
        return Err(Error::invalid_input(format!("a file's name has 1 to {MAX_NAME_BYTES} bytes")));
    }
    if config.identity.module_str().is_some() {
        return Err(Error::invalid_input("only devices upload files, not their modules"));
    }
    let path = format!("/devices/{}/files", percent::encode(config.identity.device_str()));
    let answer = config
        .post(&path, &json!({ "blobName": upload.name }), HeaderMap::new(), config.request_timeout)
        .await?;
    let place: Place = answer.success("the hub does not take the file")?.json()?;
    let mut completion =
        CompletionGuard::new(shared.clone(), format!("{path}/notifications"), &place.correlation_id);
    let sent = match BlobWriter::new(&shared, &place) {
        Ok(blob) => blob.write(upload).await,
        Err(error) => Err(error),
    };
    match sent {
        Ok(bytes) => {
            completion.succeeded();
            completion.report().await.map_err(|error| {
                Error::caused(
                    error.kind(),
                    format!("the file is there, but the hub does not know: {error}"),
                    error,
                )
            })?;
            let uri = format!("https://{}{}", place.host_name, place.path());
            Ok(UploadedFile { blob_name: place.blob_name, blob_uri: uri, blob_size_in_bytes: bytes })
        }
        Err(error) => {
            completion.failed(&error);
            if let Err(untold) = completion.report().await {
                tracing::warn!(error = %untold, "the hub was not told that an upload failed");
            }
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_of_a_name_is_encoded() {
        let place = |sas_token: &str| Place {
            correlation_id: String::new(),
            host_name: "store".to_owned(),
            container_name: "files".to_owned(),
            blob_name: "d#1/a b/é?.txt".to_owned(),
            sas_token: sas_token.to_owned(),
        };
        let expected = "/files/d%231/a%20b/%C3%A9%3F.txt?sv=1&sig=a%2Fb";
        assert_eq!(place("?sv=1&sig=a%2Fb").target(), expected);
        assert_eq!(place("sv=1&sig=a%2Fb").target(), expected);
    }
}
