//! The format of an archive: a tar file whose members have fixed names and a fixed order.
//!
//! 1. `ferrohub-backup.json`: the [`Header`]
//! 2. secret files of the hub, such as `tls/ca.key`
//! 3. `blobs/instance`, and `blobs/data/…` for each stored file
//! 4. `events.db` and `hub.db`
//! 5. `SHA256SUMS`: a line for each member before it, as `sha256sum` writes it
//!
//! The last member marks an archive as complete. Its content is compared with the lines that a reader computes itself.

use std::fmt;

use ferrohub_model::Timestamp;
use serde::{Deserialize, Serialize};

/// The version of the format. A reader refuses archives with a larger one.
pub const FORMAT: u32 = 1;

/// Longest header in bytes.
pub const MAX_HEADER_BYTES: u64 = 64 * 1024;
/// Longest secret file in bytes.
pub const MAX_SECRET_BYTES: u64 = 1024 * 1024;

/// The first member: what the archive is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Header {
    /// The version of the format.
    pub format: u32,
    /// The version of Ferrohub that made the backup.
    pub hub_version: String,
    /// When the backup was made: everything that the hub had acknowledged then is in it.
    pub created: Timestamp,
    /// The schema versions of the databases.
    pub schema_versions: SchemaVersions,
}

/// The schema versions of both databases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaVersions {
    /// Of `hub.db`.
    pub hub: u32,
    /// Of `events.db`.
    pub events: u32,
}

/// A member of an archive. Its name is also its path in the data folder, except that of the first and the last one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Member {
    /// The [`Header`].
    Header,
    /// A file with keys or certificates.
    Secret(&'static str),
    /// The instance id of the folder for files.
    BlobsInstance,
    /// A stored file: 32 hexadecimal digits.
    Blob(String),
    /// The event log.
    Events,
    /// The store.
    Hub,
    /// The checksums of all others.
    Checksums,
}

impl Member {
    /// Returns the member with this name; `None` if no backup has such a member. `secrets` are the names of secret files.
    #[must_use]
    pub fn from_name(name: &[u8], secrets: &[&'static str]) -> Option<Self> {
        if let Some(secret) = secrets.iter().find(|secret| secret.as_bytes() == name) {
            return Some(Self::Secret(secret));
        }
        Some(match name {
            b"ferrohub-backup.json" => Self::Header,
            b"blobs/instance" => Self::BlobsInstance,
            b"events.db" => Self::Events,
            b"hub.db" => Self::Hub,
            b"SHA256SUMS" => Self::Checksums,
            _ => {
                let file = std::str::from_utf8(name.strip_prefix(b"blobs/data/")?).ok()?;
                Self::Blob(is_blob_file(file).then(|| file.to_owned())?)
            }
        })
    }

    /// Returns the largest allowed size.
    #[must_use]
    pub fn max_bytes(&self) -> u64 {
        match self {
            Self::Header => MAX_HEADER_BYTES,
            Self::Secret(_) | Self::BlobsInstance => MAX_SECRET_BYTES,
            Self::Blob(_) | Self::Events | Self::Hub | Self::Checksums => u64::MAX,
        }
    }

    /// Returns the place in the order of members. Only secrets and stored files may share one.
    #[must_use]
    pub fn rank(&self) -> u8 {
        match self {
            Self::Header => 0,
            Self::Secret(_) => 1,
            Self::BlobsInstance => 2,
            Self::Blob(_) => 3,
            Self::Events => 4,
            Self::Hub => 5,
            Self::Checksums => 6,
        }
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header => f.write_str("ferrohub-backup.json"),
            Self::Secret(name) => f.write_str(name),
            Self::BlobsInstance => f.write_str("blobs/instance"),
            Self::Blob(file) => write!(f, "blobs/data/{file}"),
            Self::Events => f.write_str("events.db"),
            Self::Hub => f.write_str("hub.db"),
            Self::Checksums => f.write_str("SHA256SUMS"),
        }
    }
}

/// Returns whether this is a name that the hub gives to a stored file.
pub(super) fn is_blob_file(name: &str) -> bool {
    name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRETS: [&str; 1] = ["tls/ca.key"];

    #[test]
    fn only_names_that_a_backup_has_are_members() {
        let blob = format!("blobs/data/{}", "0123456789abcdef".repeat(2));
        for name in [
            "ferrohub-backup.json",
            "tls/ca.key",
            "blobs/instance",
            &blob,
            "events.db",
            "hub.db",
            "SHA256SUMS",
        ] {
            assert_eq!(Member::from_name(name.as_bytes(), &SECRETS).unwrap().to_string(), name);
        }
        for name in [
            "",
            "/hub.db",
            "./hub.db",
            "../hub.db",
            "hub.db/",
            "hub.db\0",
            "HUB.DB",
            "hub.db-wal",
            "tls/server.key",
            "tls/../tls/ca.key",
            "blobs/data/",
            "blobs/data/..",
            "blobs/data/../../../etc/passwd",
            "blobs/data/0123456789abcdef0123456789abcde/",
            "blobs/data/0123456789ABCDEF0123456789ABCDEF",
            "blobs/parts/0123456789abcdef0123456789abcdef",
        ] {
            assert_eq!(Member::from_name(name.as_bytes(), &SECRETS), None, "{name}");
        }
        assert_eq!(Member::from_name(b"\xff\xfe", &SECRETS), None);
    }

    #[test]
    fn the_header_is_readable_json() {
        let header = Header {
            format: 1,
            hub_version: "0.1.0".to_owned(),
            created: Timestamp::from_unix_seconds(1_700_000_000),
            schema_versions: SchemaVersions { hub: 11, events: 4 },
        };
        let text = serde_json::to_string(&header).unwrap();
        assert_eq!(
            text,
            r#"{"format":1,"hubVersion":"0.1.0","created":"2023-11-14T22:13:20Z","schemaVersions":{"hub":11,"events":4}}"#
        );
        assert_eq!(serde_json::from_str::<Header>(&text).unwrap(), header);
    }
}
