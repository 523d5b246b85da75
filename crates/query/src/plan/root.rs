//! Collections, and the members of their rows.

/// What a query reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Collection {
    /// `devices`: the twins of devices, ordered by device id.
    Devices,
    /// `devices.modules`: the twins of modules, ordered by device id and module id.
    Modules,
    /// `devices.jobs`: one row per job and device, ordered by the creation time of the job, job id, device id and module
    /// id.
    Jobs,
}

impl Collection {
    /// All collections.
    pub const ALL: [Self; 3] = [Self::Devices, Self::Modules, Self::Jobs];

    /// Returns the name in the query language.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Devices => "devices",
            Self::Modules => "devices.modules",
            Self::Jobs => "devices.jobs",
        }
    }
}

/// The start of a path: a member of the row that the hub defines. Its name may be written in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Root {
    /// `deviceId`, also written `id`.
    DeviceId,
    /// `moduleId`.
    ModuleId,
    /// `etag`.
    Etag,
    /// `deviceEtag`.
    DeviceEtag,
    /// `status`: `enabled` or `disabled`, or the state of a device in a job.
    Status,
    /// `statusReason`.
    StatusReason,
    /// `statusUpdateTime`.
    StatusUpdateTime,
    /// `connectionState`: `Connected` or `Disconnected`.
    ConnectionState,
    /// `lastActivityTime`.
    LastActivityTime,
    /// `cloudToDeviceMessageCount`.
    CloudToDeviceMessageCount,
    /// `authenticationType`.
    AuthenticationType,
    /// `x509Thumbprint`: an object.
    X509Thumbprint,
    /// `modelId`.
    ModelId,
    /// `version`.
    Version,
    /// `capabilities`: an object with `iotEdge`.
    Capabilities,
    /// `deviceScope`.
    DeviceScope,
    /// `parentScopes`: an array.
    ParentScopes,
    /// `tags`: an object.
    Tags,
    /// `properties`: the object with both sections. Paths into a section begin with the two roots below.
    Properties,
    /// `properties.desired`: an object, with `$version` and `$metadata`.
    Desired,
    /// `properties.reported`: an object, with `$version` and `$metadata`.
    Reported,
    /// `configurations`: an object with one member per configuration that targets the twin, with `status`.
    Configurations,
    /// `jobId`.
    JobId,
    /// `jobType`: `scheduleUpdateTwin` or `scheduleDeviceMethod`.
    JobType,
    /// `startTimeUtc`.
    StartTime,
    /// `endTimeUtc`: the deadline.
    EndTime,
    /// `createdDateTimeUtc`, also written `createdTimeUtc`.
    CreatedTime,
    /// `lastUpdatedDateTimeUtc`.
    LastUpdatedTime,
    /// `outcome`: an object.
    Outcome,
    /// `error`: an object with `code` and `description`.
    Error,
}

const TWIN: [Root; 22] = [
    Root::DeviceId,
    Root::ModuleId,
    Root::Etag,
    Root::DeviceEtag,
    Root::Status,
    Root::StatusReason,
    Root::StatusUpdateTime,
    Root::ConnectionState,
    Root::LastActivityTime,
    Root::CloudToDeviceMessageCount,
    Root::AuthenticationType,
    Root::X509Thumbprint,
    Root::ModelId,
    Root::Version,
    Root::Capabilities,
    Root::DeviceScope,
    Root::ParentScopes,
    Root::Tags,
    Root::Properties,
    Root::Desired,
    Root::Reported,
    Root::Configurations,
];

const JOB: [Root; 11] = [
    Root::DeviceId,
    Root::ModuleId,
    Root::JobId,
    Root::JobType,
    Root::Status,
    Root::StartTime,
    Root::EndTime,
    Root::CreatedTime,
    Root::LastUpdatedTime,
    Root::Outcome,
    Root::Error,
];

/// Other names of roots, in lower case.
const ALIASES: [(&str, Root); 2] = [("id", Root::DeviceId), ("createdtimeutc", Root::CreatedTime)];

impl Root {
    /// Returns the roots of a collection.
    #[must_use]
    pub fn of(collection: Collection) -> &'static [Self] {
        match collection {
            Collection::Devices | Collection::Modules => &TWIN,
            Collection::Jobs => &JOB,
        }
    }

    /// Returns the root with a name in any case, if the collection has it.
    #[must_use]
    pub fn named(name: &str, collection: Collection) -> Option<Self> {
        let roots = Self::of(collection);
        let alias =
            || ALIASES.iter().find(|(alias, _)| alias.eq_ignore_ascii_case(name)).map(|(_, root)| root);
        let root = roots.iter().find(|root| root.as_str().eq_ignore_ascii_case(name)).or_else(alias)?;
        roots.contains(root).then_some(*root)
    }

    /// Returns the name as rows have it; members are separated by a dot.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DeviceId => "deviceId",
            Self::ModuleId => "moduleId",
            Self::Etag => "etag",
            Self::DeviceEtag => "deviceEtag",
            Self::Status => "status",
            Self::StatusReason => "statusReason",
            Self::StatusUpdateTime => "statusUpdateTime",
            Self::ConnectionState => "connectionState",
            Self::LastActivityTime => "lastActivityTime",
            Self::CloudToDeviceMessageCount => "cloudToDeviceMessageCount",
            Self::AuthenticationType => "authenticationType",
            Self::X509Thumbprint => "x509Thumbprint",
            Self::ModelId => "modelId",
            Self::Version => "version",
            Self::Capabilities => "capabilities",
            Self::DeviceScope => "deviceScope",
            Self::ParentScopes => "parentScopes",
            Self::Tags => "tags",
            Self::Properties => "properties",
            Self::Desired => "properties.desired",
            Self::Reported => "properties.reported",
            Self::Configurations => "configurations",
            Self::JobId => "jobId",
            Self::JobType => "jobType",
            Self::StartTime => "startTimeUtc",
            Self::EndTime => "endTimeUtc",
            Self::CreatedTime => "createdDateTimeUtc",
            Self::LastUpdatedTime => "lastUpdatedDateTimeUtc",
            Self::Outcome => "outcome",
            Self::Error => "error",
        }
    }

    /// Returns the canonical name of a member that the hub defines, if `name` is one in any case. Names of other members
    /// belong to the user and are case-sensitive.
    pub(crate) fn member(self, name: &str) -> Option<&'static str> {
        let members: &[&str] = match self {
            Self::Capabilities => &["iotEdge"],
            Self::X509Thumbprint => &["primaryThumbprint", "secondaryThumbprint"],
            _ => &[],
        };
        members.iter().find(|member| member.eq_ignore_ascii_case(name)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_has_any_case_and_belongs_to_its_collection() {
        assert_eq!(Root::named("DEVICEID", Collection::Modules), Some(Root::DeviceId));
        assert_eq!(Root::named("Id", Collection::Devices), Some(Root::DeviceId));
        assert_eq!(Root::named("createdTimeUtc", Collection::Jobs), Some(Root::CreatedTime));
        assert_eq!(Root::named("createdTimeUtc", Collection::Devices), None);
        assert_eq!(Root::named("tags", Collection::Jobs), None);
        assert_eq!(Root::named("jobId", Collection::Devices), None);
        assert_eq!(Root::named("statusUpdatedTime", Collection::Devices), None);
    }
}
