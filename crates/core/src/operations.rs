//! The table of the hub's operations: who may use each, and where faults take effect on it.
//!
//! This table is the only place that says so. The callers ([`ServiceCaller`](crate::ServiceCaller),
//! [`DeviceCaller`](crate::DeviceCaller), [`ConnectedDevice`](crate::ConnectedDevice), [`BlobCaller`](crate::BlobCaller))
//! check it in every operation. Protocol heads take the names of metrics, faults and descriptions from it.

use ferrohub_model::blob_sas::BlobRight;
use ferrohub_model::{IdentityId, Right};

use crate::faults::FaultPoint;

/// What an identity, which is a device or a module, may do with its own credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identities {
    /// Nothing: the operation is for services.
    None,
    /// A device may use it, for itself or its modules.
    Devices,
    /// A module may use it.
    Modules,
    /// A device or a module may use it, for itself.
    All,
}

impl Identities {
    /// Returns whether the identity is of this kind.
    #[must_use]
    pub fn include(self, id: &IdentityId) -> bool {
        match self {
            Self::None => false,
            Self::Devices => id.module_str().is_none(),
            Self::Modules => id.module_str().is_some(),
            Self::All => true,
        }
    }
}

/// The group of an operation, as in documentation and descriptions of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperationGroup {
    /// Devices and modules.
    Registry,
    /// Twins.
    Twins,
    /// Digital twins and commands.
    DigitalTwins,
    /// Queries on twins.
    Queries,
    /// Configurations (automatic device management).
    Configurations,
    /// Jobs on many devices.
    Jobs,
    /// Direct methods.
    Methods,
    /// Telemetry and the event log.
    Telemetry,
    /// Messages to devices and their feedback.
    CloudToDevice,
    /// Uploaded files.
    Files,
    /// Jobs that import or export devices and modules.
    ImportExport,
    /// Shared access policies.
    Policies,
    /// Certificate authorities.
    Authorities,
    /// Fault injection.
    Faults,
}

impl OperationGroup {
    /// All groups.
    pub const ALL: [Self; 14] = [
        Self::Registry,
        Self::Twins,
        Self::DigitalTwins,
        Self::Queries,
        Self::Configurations,
        Self::Jobs,
        Self::Methods,
        Self::Telemetry,
        Self::CloudToDevice,
        Self::Files,
        Self::ImportExport,
        Self::Policies,
        Self::Authorities,
        Self::Faults,
    ];

    /// Returns the name in lower case, as in paths of the source code.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Registry => "registry",
            Self::Twins => "twins",
            Self::DigitalTwins => "digital_twins",
            Self::Queries => "queries",
            Self::Configurations => "configurations",
            Self::Jobs => "jobs",
            Self::Methods => "methods",
            Self::Telemetry => "telemetry",
            Self::CloudToDevice => "cloud_to_device",
            Self::Files => "files",
            Self::ImportExport => "import_export",
            Self::Policies => "policies",
            Self::Authorities => "authorities",
            Self::Faults => "faults",
        }
    }

    /// Returns what the operations of the group are about, as a sentence.
    #[must_use]
    pub fn description(self) -> &'static str {
        match self {
            Self::Registry => "Devices and modules.",
            Self::Twins => "Twins.",
            Self::DigitalTwins => "Digital twins and commands of IoT Plug and Play.",
            Self::Queries => "Queries on twins.",
            Self::Configurations => "Configurations (automatic device management).",
            Self::Jobs => "Jobs on many devices.",
            Self::Methods => "Direct methods.",
            Self::Telemetry => "Telemetry and the event log.",
            Self::CloudToDevice => "Messages to devices and their feedback.",
            Self::Files => "Uploaded files.",
            Self::ImportExport => "Jobs that import or export devices and modules.",
            Self::Policies => "Shared access policies.",
            Self::Authorities => "Certificate authorities.",
            Self::Faults => "Fault injection.",
        }
    }
}

/// A row of the table.
#[derive(Debug, Clone, Copy)]
struct Row {
    name: &'static str,
    group: OperationGroup,
    /// Alternative sets of rights. A policy needs all rights of one set. Empty: no policy permits it.
    rights: &'static [&'static [Right]],
    /// The data actions of Entra, without the prefix `Microsoft.Devices/IotHubs/`. All are needed. Empty: Entra does not permit it.
    data_actions: &'static [&'static str],
    identities: Identities,
    /// Alternative rights of a signed URL. Empty: no URL permits it.
    url_rights: &'static [BlobRight],
    fault_point: Option<FaultPoint>,
}

const REGISTRY_READ: &[&[Right]] = &[&[Right::RegistryRead]];
const REGISTRY_WRITE: &[&[Right]] = &[&[Right::RegistryWrite]];
const SERVICE_CONNECT: &[&[Right]] = &[&[Right::ServiceConnect]];
/// An export contains keys, and an import replaces them.
const REGISTRY_READ_WRITE: &[&[Right]] = &[&[Right::RegistryRead, Right::RegistryWrite]];
const SERVICE_OR_REGISTRY: &[&[Right]] = &[&[Right::ServiceConnect], &[Right::RegistryWrite]];
/// Only a policy with every right may change access control.
const ALL_RIGHTS: &[&[Right]] = &[&Right::ALL];

impl Row {
    const fn new(name: &'static str, group: OperationGroup) -> Self {
        let (rights, url_rights): (&[&[Right]], &[BlobRight]) = (&[], &[]);
        let (data_actions, identities, fault_point): (&[&str], _, _) = (&[], Identities::None, None);
        Self { name, group, rights, data_actions, identities, url_rights, fault_point }
    }

    const fn policies(self, rights: &'static [&'static [Right]]) -> Self {
        Self { rights, ..self }
    }

    const fn entra(self, actions: &'static [&'static str]) -> Self {
        Self { data_actions: actions, ..self }
    }

    const fn identities(self, identities: Identities) -> Self {
        Self { identities, ..self }
    }

    const fn signed_url(self, url_rights: &'static [BlobRight]) -> Self {
        Self { url_rights, ..self }
    }

    const fn fault(self, point: FaultPoint) -> Self {
        Self { fault_point: Some(point), ..self }
    }
}

macro_rules! operations {
    ($($(#[doc = $doc:literal])+ $operation:ident, $name:literal, $group:ident $(, $method:ident($argument:expr))*;)*) => {
        /// An operation of the hub.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Operation {
            $($(#[doc = $doc])+ $operation,)*
        }

        impl Operation {
            /// All operations.
            pub const ALL: &[Self] = &[$(Self::$operation,)*];

            fn row(self) -> &'static Row {
                match self {
                    $(Self::$operation => {
                        const { &Row::new($name, OperationGroup::$group)$(.$method($argument))* }
                    })*
                }
            }

            /// Returns what the operation does, in one or more sentences.
            #[must_use]
            pub fn description(self) -> &'static str {
                match self {
                    $(Self::$operation => concat!($($doc),+).trim_ascii(),)*
                }
            }
        }
    };
}

operations! {
    /// Returns the first devices, ordered by id.
    ListDevices, "listDevices", Registry, policies(REGISTRY_READ), entra(&["devices/read"]);
    /// Returns a device.
    GetDevice, "getDevice", Registry, policies(REGISTRY_READ), entra(&["devices/read"]);
    /// Creates or updates a device.
    PutDevice, "putDevice", Registry, policies(REGISTRY_WRITE), entra(&["devices/write"]);
    /// Deletes a device with its modules.
    DeleteDevice, "deleteDevice", Registry, policies(REGISTRY_WRITE), entra(&["devices/delete"]);
    // Azure also asks for both data actions.
    /// Creates, updates and deletes devices and modules, with their twins.
    ChangeIdentities, "changeIdentities", Registry,
        policies(REGISTRY_WRITE), entra(&["devices/write", "devices/delete"]);
    /// Replaces keys of devices and modules.
    RegenerateKeys, "regenerateKeys", Registry, policies(REGISTRY_WRITE), entra(&["devices/write"]);
    /// Replaces or swaps the keys of a device.
    RegenerateDeviceKey, "regenerateDeviceKey", Registry, policies(REGISTRY_WRITE), entra(&["devices/write"]);
    /// Returns the modules of a device.
    ListModules, "listModules", Registry,
        policies(REGISTRY_READ), entra(&["devices/read"]), identities(Identities::Devices);
    /// Returns a module.
    GetModule, "getModule", Registry,
        policies(REGISTRY_READ), entra(&["devices/read"]), identities(Identities::Devices);
    /// Creates or updates a module.
    PutModule, "putModule", Registry,
        policies(REGISTRY_WRITE), entra(&["devices/write"]), identities(Identities::Devices);
    /// Deletes a module.
    DeleteModule, "deleteModule", Registry,
        policies(REGISTRY_WRITE), entra(&["devices/delete"]), identities(Identities::Devices);
    /// Replaces or swaps the keys of a module.
    RegenerateModuleKey, "regenerateModuleKey", Registry, policies(REGISTRY_WRITE), entra(&["devices/write"]);
    /// Returns the numbers of registered, enabled and disabled devices.
    GetRegistryStatistics, "getRegistryStatistics", Registry, policies(REGISTRY_READ), entra(&["statistics/read"]);
    /// Returns the number of connected devices.
    // A policy with `RegistryRead` can derive nearly the same number from the device list.
    GetServiceStatistics, "getServiceStatistics", Registry,
        policies(&[&[Right::ServiceConnect], &[Right::RegistryRead]]), entra(&["statistics/read"]);

    /// Returns a twin.
    GetTwin, "getTwin", Twins, policies(SERVICE_CONNECT), entra(&["twins/read"]);
    /// Merges tags and desired properties into a twin.
    PatchTwin, "patchTwin", Twins, policies(SERVICE_CONNECT), entra(&["twins/write"]);
    /// Replaces tags and desired properties of a twin.
    PutTwin, "putTwin", Twins, policies(SERVICE_CONNECT), entra(&["twins/write"]);
    /// Returns the twin of the device or module itself.
    GetOwnTwin, "getOwnTwin", Twins, identities(Identities::All), fault(FaultPoint::TwinResponse);
    /// Merges reported properties into the twin of the device or module itself.
    PatchReportedProperties, "patchReportedProperties", Twins,
        identities(Identities::All), fault(FaultPoint::TwinResponse);

    /// Returns the digital twin of a device.
    GetDigitalTwin, "getDigitalTwin", DigitalTwins, policies(SERVICE_CONNECT), entra(&["twins/read"]);
    /// Applies a JSON Patch to the digital twin of a device: a change of desired properties.
    PatchDigitalTwin, "patchDigitalTwin", DigitalTwins, policies(SERVICE_CONNECT), entra(&["twins/write"]);
    /// Calls a command of a connected device or of one of its components, and returns its response.
    InvokeCommand, "invokeCommand", DigitalTwins,
        policies(SERVICE_CONNECT), entra(&["directMethods/invoke/action"]), fault(FaultPoint::MethodRequest);

    /// Returns a page of the result of a query on the twins of devices or modules.
    QueryTwins, "queryTwins", Queries, policies(SERVICE_CONNECT), entra(&["twins/read"]);

    /// Returns the first configurations, ordered by id, with the results of their metrics.
    ListConfigurations, "listConfigurations", Configurations,
        policies(REGISTRY_READ), entra(&["configurations/read"]);
    /// Returns a configuration with the results of its metrics.
    GetConfiguration, "getConfiguration", Configurations,
        policies(REGISTRY_READ), entra(&["configurations/read"]);
    /// Creates a configuration, or changes its target condition, priority, labels and metrics.
    PutConfiguration, "putConfiguration", Configurations,
        policies(REGISTRY_WRITE), entra(&["configurations/write"]);
    /// Deletes a configuration. What it has set is removed from the twins.
    DeleteConfiguration, "deleteConfiguration", Configurations,
        policies(REGISTRY_WRITE), entra(&["configurations/delete"]);
    /// Tests a target condition and queries of metrics.
    TestConfigurationQueries, "testConfigurationQueries", Configurations,
        policies(REGISTRY_READ), entra(&["configurations/testQueries/action"]);
    /// Sets desired properties of the modules of an edge device, and creates the modules that do not exist.
    ApplyConfigurationContent, "applyConfigurationContent", Configurations,
        policies(REGISTRY_WRITE), entra(&["configurations/applyToEdgeDevice/action"]);
    /// Creates a job that changes twins, or with the next right, one that calls a method.
    CreateJob, "createJob", Jobs, policies(SERVICE_OR_REGISTRY), entra(&["jobs/write"]);
    // Not a request of its own. A policy that may not call a method may not let a job do it.
    /// Creates a job that calls a method.
    CreateMethodJob, "createMethodJob", Jobs, policies(SERVICE_CONNECT), entra(&["jobs/write"]);
    /// Returns a job.
    GetJob, "getJob", Jobs, policies(SERVICE_OR_REGISTRY), entra(&["jobs/read"]);
    /// Lists jobs, or with the right to query twins, what they did on each device.
    ListJobs, "listJobs", Jobs, policies(SERVICE_OR_REGISTRY), entra(&["jobs/read"]);
    /// Cancels a job.
    CancelJob, "cancelJob", Jobs, policies(SERVICE_OR_REGISTRY), entra(&["jobs/delete"]);

    /// Calls a method of a connected device or module and returns its response. A module may call its own device, and
    /// the devices in the scope of its edge device.
    InvokeMethod, "invokeMethod", Methods,
        policies(SERVICE_CONNECT), entra(&["directMethods/invoke/action"]), identities(Identities::Modules),
        fault(FaultPoint::MethodRequest);
    /// Answers a method call.
    AnswerMethod, "answerMethod", Methods, identities(Identities::All), fault(FaultPoint::MethodResponse);

    /// Appends telemetry of the device or module itself to the event log.
    SendEvent, "sendEvent", Telemetry, identities(Identities::All), fault(FaultPoint::Telemetry);
    // Azure's endpoint for reading events accepts only keys.
    /// Reads the event log.
    ReadEvents, "readEvents", Telemetry, policies(SERVICE_CONNECT);
    /// Returns the consumer groups and partitions of the event log.
    GetEventLog, "getEventLog", Telemetry, policies(SERVICE_CONNECT);

    /// Queues a message for a device or module.
    SendMessage, "sendMessage", CloudToDevice,
        policies(SERVICE_CONNECT), entra(&["cloudToDeviceMessages/send/action"]);
    /// Deletes the queued messages of a device or module.
    PurgeMessages, "purgeMessages", CloudToDevice,
        policies(SERVICE_CONNECT), entra(&["cloudToDeviceMessages/queue/purge/action"]);
    /// Receives a batch of feedback on messages, and locks it.
    ReceiveFeedback, "receiveFeedback", CloudToDevice,
        policies(SERVICE_CONNECT), entra(&["cloudToDeviceMessages/feedback/action"]);
    /// Completes or rejects a batch of feedback.
    CompleteFeedback, "completeFeedback", CloudToDevice,
        policies(SERVICE_CONNECT), entra(&["cloudToDeviceMessages/feedback/action"]);
    /// Abandons a batch of feedback, so that it can be received again.
    AbandonFeedback, "abandonFeedback", CloudToDevice,
        policies(SERVICE_CONNECT), entra(&["cloudToDeviceMessages/feedback/action"]);
    /// Receives a message of the device or module itself, and locks it.
    ReceiveMessage, "receiveMessage", CloudToDevice, identities(Identities::All);
    /// Completes or rejects a message of the device or module itself.
    CompleteMessage, "completeMessage", CloudToDevice, identities(Identities::All);
    /// Abandons a message of the device or module itself, so that it can be received again.
    AbandonMessage, "abandonMessage", CloudToDevice, identities(Identities::All);

    /// Begins an upload of a file and returns a signed URL for it.
    CreateUpload, "createUpload", Files, identities(Identities::Devices);
    /// Reports the outcome of an upload.
    CompleteUpload, "completeUpload", Files, identities(Identities::Devices);
    /// Receives a notification of an uploaded file, and locks it.
    ReceiveFileNotification, "receiveFileNotification", Files,
        policies(SERVICE_CONNECT), entra(&["fileUpload/notifications/action"]);
    /// Completes a notification of an uploaded file.
    CompleteFileNotification, "completeFileNotification", Files,
        policies(SERVICE_CONNECT), entra(&["fileUpload/notifications/action"]);
    /// Abandons a notification of an uploaded file, so that it can be received again.
    AbandonFileNotification, "abandonFileNotification", Files,
        policies(SERVICE_CONNECT), entra(&["fileUpload/notifications/action"]);
    // Azure's hubs do not store files, so there is no data action for the next three.
    /// Lists the files in the hub's own folder.
    ListFiles, "listFiles", Files, policies(SERVICE_CONNECT);
    /// Returns a file of the hub's own folder.
    GetFile, "getFile", Files, policies(SERVICE_CONNECT);
    /// Deletes a file of the hub's own folder.
    DeleteFile, "deleteFile", Files, policies(SERVICE_CONNECT);
    /// Writes the file of a signed URL, at once or as blocks.
    PutBlob, "putBlob", Files, signed_url(&[BlobRight::Write, BlobRight::Create]);
    /// Returns the file of a signed URL or its properties.
    GetBlob, "getBlob", Files, signed_url(&[BlobRight::Read]);
    /// Deletes the file of a signed URL.
    DeleteBlob, "deleteBlob", Files, signed_url(&[BlobRight::Delete]);

    /// Returns the blobs of the container of a signed URL.
    ListBlobs, "listBlobs", Files, signed_url(&[BlobRight::List]);

    /// Begins to import devices and modules from a blob, or to export them to one.
    CreateImportExportJob, "createImportExportJob", ImportExport, policies(REGISTRY_READ_WRITE),
        entra(&["devices/read", "devices/write", "devices/delete", "twins/read", "twins/write"]);
    /// Returns the jobs that import or export, newest first.
    ListImportExportJobs, "listImportExportJobs", ImportExport, policies(REGISTRY_READ), entra(&["devices/read"]);
    /// Returns a job that imports or exports.
    GetImportExportJob, "getImportExportJob", ImportExport, policies(REGISTRY_READ), entra(&["devices/read"]);
    /// Cancels a job that imports or exports.
    CancelImportExportJob, "cancelImportExportJob", ImportExport,
        policies(REGISTRY_READ_WRITE), entra(&["devices/write"]);
    /// Returns a signed URL of the hub's own container for import and export.
    CreateContainerUrl, "createContainerUrl", ImportExport, policies(REGISTRY_READ_WRITE),
        entra(&["devices/read", "devices/write", "devices/delete", "twins/read", "twins/write"]);

    // Azure's resource manager does the rest; no data action covers it.
    /// Returns all shared access policies with their keys.
    ListPolicies, "listPolicies", Policies, policies(ALL_RIGHTS);
    /// Returns a shared access policy with its keys.
    GetPolicy, "getPolicy", Policies, policies(ALL_RIGHTS);
    /// Replaces a key of a shared access policy.
    RegeneratePolicyKey, "regeneratePolicyKey", Policies, policies(ALL_RIGHTS);
    /// Returns all certificate authorities.
    ListAuthorities, "listAuthorities", Authorities, policies(ALL_RIGHTS);
    /// Returns a certificate authority.
    GetAuthority, "getAuthority", Authorities, policies(ALL_RIGHTS);
    /// Adds a certificate authority, which is not verified yet.
    PutAuthority, "putAuthority", Authorities, policies(ALL_RIGHTS);
    /// Deletes a certificate authority.
    DeleteAuthority, "deleteAuthority", Authorities, policies(ALL_RIGHTS);
    /// Returns a new code for the verification of a certificate authority.
    CreateVerificationCode, "createVerificationCode", Authorities, policies(ALL_RIGHTS);
    /// Verifies a certificate authority by a certificate for the verification code.
    VerifyAuthority, "verifyAuthority", Authorities, policies(ALL_RIGHTS);
    /// Returns the active faults.
    ListFaults, "listFaults", Faults, policies(ALL_RIGHTS);
    /// Adds a fault.
    AddFault, "addFault", Faults, policies(ALL_RIGHTS);
    /// Removes a fault.
    RemoveFault, "removeFault", Faults, policies(ALL_RIGHTS);
    /// Removes all faults.
    ClearFaults, "clearFaults", Faults, policies(ALL_RIGHTS);
}

impl Operation {
    /// Returns the name, as in metrics, logs, faults and the description of the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// Returns the group that the operation belongs to.
    #[must_use]
    pub fn group(self) -> OperationGroup {
        self.row().group
    }

    /// Returns the alternative sets of rights. A policy needs all rights of at least one set. Empty if no policy permits
    /// the operation.
    #[must_use]
    pub fn rights(self) -> &'static [&'static [Right]] {
        self.row().rights
    }

    /// Returns the data actions that an Entra principal needs, all of them, without the prefix
    /// `Microsoft.Devices/IotHubs/`. Empty if Entra principals cannot use the operation.
    #[must_use]
    pub fn data_actions(self) -> &'static [&'static str] {
        self.row().data_actions
    }

    /// Returns which devices and modules may use the operation with their own credential.
    #[must_use]
    pub fn identities(self) -> Identities {
        self.row().identities
    }

    /// Returns the alternative rights of a signed URL. Empty if no URL permits the operation.
    #[must_use]
    pub fn url_rights(self) -> &'static [BlobRight] {
        self.row().url_rights
    }

    /// Returns where faults take effect on the operation, besides the request as a whole.
    #[must_use]
    pub fn fault_point(self) -> Option<FaultPoint> {
        self.row().fault_point
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_operation_has_a_name_of_its_own_and_somebody_who_may_use_it() {
        let mut names = HashSet::new();
        for operation in Operation::ALL {
            assert!(names.insert(operation.name()), "{operation:?}");
            let is_usable = !operation.rights().is_empty()
                || operation.identities() != Identities::None
                || !operation.url_rights().is_empty();
            assert!(is_usable, "{operation:?}");
            assert!(operation.description().ends_with('.'), "{operation:?}");
        }
    }

    #[test]
    fn an_entra_principal_may_only_do_what_a_policy_may_do() {
        for operation in Operation::ALL {
            assert!(operation.data_actions().is_empty() || !operation.rights().is_empty(), "{operation:?}");
        }
    }
}
