//! Files that devices upload: their names, and the JSON around an upload.
//!
//! An upload takes three steps. The device asks the hub where to (`POST /devices/{id}/files` with
//! [`FileUploadRequest`], answered by [`FileUpload`]); it puts the file to
//! `https://{hostName}/{containerName}/{blobName}{sasToken}` as a block blob of Azure Storage; and it says how that went
//! (`POST /devices/{id}/files/notifications` with [`FileUploadOutcome`], answered by 204). Services hear of it as a
//! [`FileNotification`].

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::identity::{DeviceId, InvalidId};
use crate::percent;
use crate::timestamp::Timestamp;

/// Longest name of a blob, in characters, the device's id and the slash included.
pub const MAX_BLOB_NAME_LENGTH: usize = 1024;
/// Most parts between slashes in the name of a blob.
pub const MAX_BLOB_NAME_PARTS: usize = 254;

/// Why a text is not the name of a device's file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBlobName {
    /// There is no device's id before the first slash.
    #[error("the name of the blob does not begin with the id of a device: {0}")]
    Device(#[from] InvalidId),
    /// Nothing is left after the id.
    #[error("the name of the blob is empty")]
    Empty,
    /// More than [`MAX_BLOB_NAME_LENGTH`] characters.
    #[error("the name of the blob has more than {MAX_BLOB_NAME_LENGTH} characters, the device's id included")]
    TooLong,
    /// A part between slashes is empty, `.` or `..`, or ends with a dot, or there are too many of them. Clients and
    /// proxies tidy such paths up.
    #[error("no part of the blob's name may be empty, or be or end with a dot")]
    Part,
    /// A backslash, which clients turn into a slash, or a control character.
    #[error("the name of the blob contains {0:?}")]
    Character(char),
}

/// The name of a blob: the device's id, a slash, and what the device calls its file.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlobName(Arc<str>);

impl BlobName {
    /// What `device` calls `name`.
    pub fn new(device: &str, name: &str) -> Result<Self, InvalidBlobName> {
        Self::parse(&format!("{device}/{name}"))
    }

    /// Reads the whole name.
    pub fn parse(text: &str) -> Result<Self, InvalidBlobName> {
        let (device, name) = text.split_once('/').unwrap_or((text, ""));
        DeviceId::new(device)?;
        if name.is_empty() {
            return Err(InvalidBlobName::Empty);
        }
        if text.chars().count() > MAX_BLOB_NAME_LENGTH {
            return Err(InvalidBlobName::TooLong);
        }
        if let Some(character) = name.chars().find(|c| c.is_control() || *c == '\\') {
            return Err(InvalidBlobName::Character(character));
        }
        if name.split('/').any(|part| part.is_empty() || part.ends_with('.'))
            || name.split('/').count() >= MAX_BLOB_NAME_PARTS
        {
            return Err(InvalidBlobName::Part);
        }
        Ok(Self(text.into()))
    }

    /// The whole name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id of the device whose file it is.
    #[must_use]
    pub fn device(&self) -> &str {
        self.0.split_once('/').map_or("", |(device, _)| device)
    }

    /// As it stands in a URL: everything but slashes and unreserved characters encoded.
    #[must_use]
    pub fn encoded(&self) -> String {
        let parts: Vec<String> = self.0.split('/').map(percent::encode).collect();
        parts.join("/")
    }
}

impl fmt::Display for BlobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for BlobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// What a device asks for: where to put this file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileUploadRequest {
    /// What the device calls the file; the hub puts the device's id before it.
    #[serde(default)]
    pub blob_name: Option<String>,
}

/// What the hub answers: where to, and for how long.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileUpload {
    /// Names this upload when the device says how it went.
    pub correlation_id: String,
    /// Host of the storage, with a port where it is not the usual one.
    pub host_name: String,
    /// The container there.
    pub container_name: String,
    /// The whole name of the blob, not encoded.
    pub blob_name: String,
    /// The query that lets the device in, question mark included: a secret.
    pub sas_token: String,
}

impl FileUpload {
    /// The URL to put the file to: a secret, as the token is part of it.
    #[must_use]
    pub fn url(&self) -> String {
        let parts: Vec<String> = self.blob_name.split('/').map(percent::encode).collect();
        format!("https://{}/{}/{}{}", self.host_name, self.container_name, parts.join("/"), self.sas_token)
    }
}

impl fmt::Debug for FileUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileUpload")
            .field("host_name", &self.host_name)
            .field("container_name", &self.container_name)
            .field("blob_name", &self.blob_name)
            .finish_non_exhaustive()
    }
}

/// How an upload went, as the device tells it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileUploadOutcome {
    /// Which upload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// Whether the file is there.
    pub is_success: bool,
    /// The status that the storage answered, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_code: Option<i64>,
    /// Its text, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_description: Option<String>,
}

/// What services hear: a device has uploaded a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileNotification {
    /// The device.
    pub device_id: String,
    /// Where the file is; reading it takes a right of its own.
    pub blob_uri: String,
    /// The whole name of the blob.
    pub blob_name: String,
    /// When it was written.
    pub last_updated_time: Timestamp,
    /// Its size.
    pub blob_size_in_bytes: u64,
    /// When the device said that it is there.
    pub enqueued_time_utc: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_are_what_a_url_keeps() {
        for good in ["d/f.txt", "d/a/b/c", "d#1/é ü?&%2F", "d/__proto__", "d/CON", "d/f.x.y", "..d/...x"] {
            let name = BlobName::parse(good).unwrap();
            assert_eq!((name.as_str(), name.device()), (good, good.split_once('/').unwrap().0));
            let decoded = percent::decode(&name.encoded()).unwrap();
            assert_eq!(BlobName::parse(&decoded).unwrap(), name);
        }
        use InvalidBlobName as E;
        for (bad, error) in [
            ("", E::Device(InvalidId::Empty)),
            ("d", E::Empty),
            ("d/", E::Empty),
            ("/etc/passwd", E::Device(InvalidId::Empty)),
            ("d/..", E::Part),
            ("d/../e/f", E::Part),
            ("d/./f", E::Part),
            ("d//f", E::Part),
            ("d/f/", E::Part),
            ("d/f.", E::Part),
            ("d/a\\b", E::Character('\\')),
            ("d/a\0b", E::Character('\0')),
            ("d/a\nb", E::Character('\n')),
            ("a b/f", E::Device(InvalidId::Character(' '))),
        ] {
            assert_eq!(BlobName::parse(bad), Err(error), "{bad:?}");
        }
        assert_eq!(BlobName::new("d", &"x".repeat(1023)), Err(E::TooLong));
        assert!(BlobName::new("d", &"é".repeat(1022)).is_ok());
        assert_eq!(BlobName::new("d", &"x/".repeat(300)), Err(E::Part));
    }

    #[test]
    fn a_url_is_a_secret_and_encoded() {
        let upload = FileUpload {
            correlation_id: "c".to_owned(),
            host_name: "h:8443".to_owned(),
            container_name: "k".to_owned(),
            blob_name: "d#1/a b".to_owned(),
            sas_token: "?sig=secret".to_owned(),
        };
        assert_eq!(upload.url(), "https://h:8443/k/d%231/a%20b?sig=secret");
        assert!(!format!("{upload:?}").contains("secret"));
    }
}
