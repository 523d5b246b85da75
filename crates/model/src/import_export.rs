//! The JSON of jobs that import or export identities. Azure calls it `JobProperties`.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::names::serde_by_name;
use crate::timestamp::Timestamp;

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobType {
    /// Reads identities from a blob and changes the registry.
    Import,
    /// Writes all identities to a blob.
    Export,
}

impl JobType {
    /// Returns the name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Import => "import",
            Self::Export => "export",
        }
    }
}

serde_by_name!(JobType, &[Self::Import, Self::Export]);

/// The state of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobStatus {
    /// It waits.
    Enqueued,
    /// It runs.
    Running,
    /// It has ended. Single identities may have failed.
    Completed,
    /// It has ended and could not do its work.
    Failed,
    /// A caller has cancelled it.
    Cancelled,
}

impl JobStatus {
    /// All states.
    pub const ALL: &[Self] = &[Self::Enqueued, Self::Running, Self::Completed, Self::Failed, Self::Cancelled];

    /// Returns the name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Enqueued => "enqueued",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Returns whether the job waits or runs.
    #[must_use]
    pub fn is_active(self) -> bool {
        matches!(self, Self::Enqueued | Self::Running)
    }
}

serde_by_name!(JobStatus, JobStatus::ALL);

/// How the hub proves to the storage that it may use a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StorageAuthentication {
    /// With the shared access signature in the container's URI.
    KeyBased,
    /// With the hub's own identity in Microsoft Entra.
    IdentityBased,
}

impl StorageAuthentication {
    /// Returns the name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::KeyBased => "keyBased",
            Self::IdentityBased => "identityBased",
        }
    }
}

serde_by_name!(StorageAuthentication, &[Self::KeyBased, Self::IdentityBased]);

/// A request for a new job. Members that the hub does not know are ignored, and so are those that only a response has.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ImportExportRequest {
    /// What the job does.
    #[serde(rename = "type")]
    pub kind: Option<JobType>,
    /// The container of the blob to import, with a signature. A secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_blob_container_uri: Option<String>,
    /// The blob to import; `None` or empty for `devices.txt`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_blob_name: Option<String>,
    /// The container that an export, or the errors of an import, are written to, with a signature. A secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_blob_container_uri: Option<String>,
    /// The blob that an export is written to; `None` or empty for `devices.txt`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_blob_name: Option<String>,
    /// Whether an export leaves out the keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exclude_keys_in_export: Option<bool>,
    /// How the hub proves to the storage that it may use the containers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_authentication_type: Option<StorageAuthentication>,
    /// Whether configurations are imported or exported as well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub include_configurations: Option<bool>,
    /// The blob of the configurations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub configurations_blob_name: Option<String>,
}

impl ImportExportRequest {
    /// A job that imports the blob `devices.txt` of a container, and writes what fails to another or the same one.
    pub fn import(input_container: impl Into<String>, output_container: impl Into<String>) -> Self {
        Self {
            kind: Some(JobType::Import),
            input_blob_container_uri: Some(input_container.into()),
            output_blob_container_uri: Some(output_container.into()),
            ..Self::default()
        }
    }

    /// A job that exports all devices and modules, with their keys, to the blob `devices.txt` of a container.
    pub fn export(container: impl Into<String>) -> Self {
        Self {
            kind: Some(JobType::Export),
            output_blob_container_uri: Some(container.into()),
            ..Self::default()
        }
    }
}

impl fmt::Debug for ImportExportRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImportExportRequest")
            .field("kind", &self.kind)
            .field("input_blob_name", &self.input_blob_name)
            .field("output_blob_name", &self.output_blob_name)
            .field("exclude_keys_in_export", &self.exclude_keys_in_export)
            .finish_non_exhaustive()
    }
}

/// A job. Members that do not apply are absent: some clients do not expect `null`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImportExportJob {
    /// The id, a GUID.
    pub job_id: String,
    /// When the job was created.
    pub start_time_utc: Timestamp,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_time_utc: Option<Timestamp>,
    /// What it does.
    #[serde(rename = "type")]
    pub kind: JobType,
    /// Its state.
    pub status: JobStatus,
    /// How much is done, in percent.
    pub progress: u8,
    /// The container of the blob to import, without its signature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_blob_container_uri: Option<String>,
    /// The blob to import.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_blob_name: Option<String>,
    /// The container that is written to, without its signature.
    pub output_blob_container_uri: String,
    /// The blob that is written.
    pub output_blob_name: String,
    /// Whether an export leaves out the keys.
    pub exclude_keys_in_export: bool,
    /// How the hub proves to the storage that it may use the containers.
    pub storage_authentication_type: StorageAuthentication,
    /// Whether configurations are imported or exported as well.
    pub include_configurations: bool,
    /// The blob of the configurations, if they are included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configurations_blob_name: Option<String>,
    /// Why the job failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_reason: Option<String>,
    /// The number of identities that are imported or exported. Azure has no such member.
    #[serde(default)]
    pub items_done: u64,
    /// The number of lines that failed, each with an entry in `importErrors.log`. Azure has no such member.
    #[serde(default)]
    pub items_failed: u64,
}

/// A request for a signed URL of the hub's own container.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerUrlRequest {
    /// How long the URL is valid, in seconds; `None` for an hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_in_seconds: Option<u64>,
}

/// A signed URL of the hub's own container.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerUrl {
    /// The URL. A secret: its holder may read, write, list and delete the blobs of the container.
    pub url: String,
    /// When it expires.
    pub expiry_time_utc: Timestamp,
}

impl fmt::Debug for ContainerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContainerUrl").field("expiry_time_utc", &self.expiry_time_utc).finish_non_exhaustive()
    }
}

/// Returns a URL without its query and fragment, which contain the signature.
#[must_use]
pub fn without_signature(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn requests_of_clients_are_read_and_secrets_are_not_in_debug_output() {
        let request: ImportExportRequest = serde_json::from_value(json!({
            "jobId": "", "startTimeUtc": null, "type": "ExPort", "status": "unknown", "progress": 0,
            "outputBlobContainerUri": "https://a/c?sig=secret", "inputBlobContainerUri": null,
            "excludeKeysInExport": true, "storageAuthenticationType": "KeyBased", "identity": null,
        }))
        .unwrap();
        assert_eq!(request.kind, Some(JobType::Export));
        assert_eq!(request.storage_authentication_type, Some(StorageAuthentication::KeyBased));
        assert_eq!(
            (request.exclude_keys_in_export, request.input_blob_container_uri.as_ref()),
            (Some(true), None)
        );
        assert!(!format!("{request:?}").contains("secret"));
        let url = ContainerUrl { url: "https://a?sig=secret".to_owned(), expiry_time_utc: Timestamp::NEVER };
        assert!(!format!("{url:?}").contains("secret"));
        assert_eq!(without_signature("https://a/c?sig=secret#x"), "https://a/c");
    }
}
