//! Files that devices upload: their names, and the JSON of an upload.
//!
//! An upload takes three steps. The device requests a location from the hub (`POST /devices/{id}/files` with
//! [`FileUploadRequest`], answered by [`FileUpload`]). It puts the file to
//! `https://{hostName}/{containerName}/{blobName}{sasToken}` as a block blob of Azure Storage. Then it reports the
//! outcome (`POST /devices/{id}/files/notifications` with [`FileUploadOutcome`], answered by 204). Services receive a
//! [`FileNotification`].

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::identity::{DeviceId, InvalidId};
use crate::percent;
use crate::timestamp::Timestamp;

/// Longest blob name in characters, including the device id and the slash.
pub const MAX_BLOB_NAME_LENGTH: usize = 1024;
/// Maximum number of segments (separated by slashes) in a blob name.
pub const MAX_BLOB_NAME_SEGMENTS: usize = 254;

/// Why a text is not a valid blob name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBlobName {
    /// The text before the first slash is not a device id.
    #[error("the blob name does not begin with a device id: {0}")]
    Device(#[from] InvalidId),
    /// The name ends after the device id.
    #[error("the blob name is empty")]
    Empty,
    /// More than [`MAX_BLOB_NAME_LENGTH`] characters.
    #[error("the blob name has more than {MAX_BLOB_NAME_LENGTH} characters, including the device id")]
    TooLong,
    /// A segment is empty, `.` or `..`, or ends with a dot, or there are too many segments. Clients and proxies
    /// normalize such paths.
    #[error(
        "the blob name may have at most {MAX_BLOB_NAME_SEGMENTS} segments, and none may be empty or end with a dot"
    )]
    Segment,
    /// A backslash, which clients turn into a slash, or a control character.
    #[error("the blob name contains {0:?}, which is not allowed")]
    Character(char),
}

/// Owns the blobs of the hub's own container for import and export, in place of a device id. No id contains this character.
const CONTAINER_OWNER: &str = "~";

/// The name of a blob: the device id, a slash, and the device's name for the file. Or a blob of the hub's own container
/// for import and export, which belongs to no device.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlobName(Arc<str>);

impl BlobName {
    /// Returns the blob name of the file that `device` calls `name`.
    pub fn new(device: &str, name: &str) -> Result<Self, InvalidBlobName> {
        Self::parse(&format!("{device}/{name}"))
    }

    /// Parses a complete blob name, which begins with a device id.
    pub fn parse(text: &str) -> Result<Self, InvalidBlobName> {
        DeviceId::new(text.split_once('/').map_or(text, |(device, _)| device))?;
        Self::check(text)
    }

    /// Returns the name of a blob of the hub's own container for import and export.
    pub fn in_container(name: &str) -> Result<Self, InvalidBlobName> {
        Self::check(&format!("{CONTAINER_OWNER}/{name}"))
    }

    /// Parses a name that [`BlobName::as_str`] has returned, of a device or of the container.
    pub fn parse_stored(text: &str) -> Result<Self, InvalidBlobName> {
        let in_container = text.strip_prefix(CONTAINER_OWNER).and_then(|rest| rest.strip_prefix('/'));
        in_container.map_or_else(|| Self::parse(text), Self::in_container)
    }

    /// Returns the name in the hub's own container for import and export; `None` for the blob of a device.
    #[must_use]
    pub fn name_in_container(&self) -> Option<&str> {
        self.0.strip_prefix(CONTAINER_OWNER)?.strip_prefix('/')
    }

    /// Returns the first segment of the stored names of the container's blobs.
    #[must_use]
    pub fn container_owner() -> &'static str {
        CONTAINER_OWNER
    }

    fn check(text: &str) -> Result<Self, InvalidBlobName> {
        let (_, name) = text.split_once('/').unwrap_or((text, ""));
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
            || name.split('/').count() >= MAX_BLOB_NAME_SEGMENTS
        {
            return Err(InvalidBlobName::Segment);
        }
        Ok(Self(text.into()))
    }

    /// Returns the complete blob name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the id of the device that owns the file; for a blob of the container, a text that is no id.
    #[must_use]
    pub fn device(&self) -> &str {
        self.0.split_once('/').map_or("", |(device, _)| device)
    }

    /// Returns the name for a URL: everything except slashes and unreserved characters is percent-encoded.
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

/// A device's request for an upload location.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileUploadRequest {
    /// The device's name for the file; the hub prefixes it with the device id.
    #[serde(default)]
    pub blob_name: Option<String>,
}

/// The hub's answer: the upload location and a token for it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileUpload {
    /// Identifies the upload when the device reports its outcome.
    pub correlation_id: String,
    /// Host of the storage, with a port if it is not the default.
    pub host_name: String,
    /// The container in the storage.
    pub container_name: String,
    /// The complete blob name, not percent-encoded.
    pub blob_name: String,
    /// The query that authorizes the upload, including the question mark. A secret.
    pub sas_token: String,
}

impl FileUpload {
    /// Returns the URL for the upload. A secret, because it contains the token.
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

/// The outcome of an upload, as reported by the device.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileUploadOutcome {
    /// Identifies the upload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// Whether the upload succeeded.
    pub is_success: bool,
    /// The status code of the storage, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_code: Option<i64>,
    /// The status text of the storage, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_description: Option<String>,
}

/// The notification to services that a device has uploaded a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileNotification {
    /// The device.
    pub device_id: String,
    /// URI of the file; reading it needs separate authorization.
    pub blob_uri: String,
    /// The complete blob name.
    pub blob_name: String,
    /// When the file was written.
    pub last_updated_time: Timestamp,
    /// Size of the file in bytes.
    pub blob_size_in_bytes: u64,
    /// When the device reported the upload.
    pub enqueued_time_utc: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_blob_names_survive_a_url_and_others_are_refused() {
        for valid in ["d/f.txt", "d/a/b/c", "d#1/é ü?&%2F", "d/__proto__", "d/CON", "d/f.x.y", "..d/...x"] {
            let name = BlobName::parse(valid).unwrap();
            assert_eq!((name.as_str(), name.device()), (valid, valid.split_once('/').unwrap().0));
            let decoded = percent::decode(&name.encoded()).unwrap();
            assert_eq!(BlobName::parse(&decoded).unwrap(), name);
        }
        use InvalidBlobName as E;
        for (invalid, error) in [
            ("", E::Device(InvalidId::Empty)),
            ("d", E::Empty),
            ("d/", E::Empty),
            ("/etc/passwd", E::Device(InvalidId::Empty)),
            ("d/..", E::Segment),
            ("d/../e/f", E::Segment),
            ("d/./f", E::Segment),
            ("d//f", E::Segment),
            ("d/f/", E::Segment),
            ("d/f.", E::Segment),
            ("d/a\\b", E::Character('\\')),
            ("d/a\0b", E::Character('\0')),
            ("d/a\nb", E::Character('\n')),
            ("a b/f", E::Device(InvalidId::Character(' '))),
        ] {
            assert_eq!(BlobName::parse(invalid), Err(error), "{invalid:?}");
        }
        let blob = BlobName::in_container("devices.txt").unwrap();
        assert_eq!(blob.name_in_container(), Some("devices.txt"));
        assert_eq!(BlobName::parse_stored(blob.as_str()), Ok(blob.clone()));
        assert_eq!(
            BlobName::parse(blob.as_str()),
            Err(E::Device(InvalidId::Character('~'))),
            "no device owns it"
        );
        assert!(BlobName::in_container("").is_err() && BlobName::in_container("../x").is_err());
        assert_eq!(BlobName::parse_stored("d/f").unwrap().name_in_container(), None);
        assert_eq!(BlobName::new("d", &"x".repeat(1023)), Err(E::TooLong));
        assert!(BlobName::new("d", &"é".repeat(1022)).is_ok());
        assert_eq!(BlobName::new("d", &"x/".repeat(300)), Err(E::Segment));
    }

    #[test]
    fn the_url_is_encoded_and_debug_output_hides_the_token() {
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
