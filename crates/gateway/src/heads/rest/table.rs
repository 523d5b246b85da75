//! The table of the REST API: the requests for each operation.

use ferrohub_core::Operation as Op;
use ferrohub_model::message::FEEDBACK_CONTENT_TYPE;

use super::described::Described;
use super::error::ErrorFormat;
use super::routes::{Handler, Route, Verb};
use super::{
    authorities, cloud_to_device, configurations, faults, files, import_export, jobs, methods, policies,
    queries, registry, telemetry, twins,
};
use Verb::{Delete, Get, Patch, Post, Put};
use cloud_to_device::{device as device_messages, service as service_messages};
use registry::{bulk, devices, keys, modules, statistics};

/// Wraps a handler for services.
macro_rules! service {
    ($handler:path) => {
        Handler::Service(|caller, request| Box::pin($handler(caller, request)))
    };
}

/// Wraps a handler for the device or module that the path names.
macro_rules! device {
    ($handler:path) => {
        Handler::Device(|caller, request| Box::pin($handler(caller, request)))
    };
}

/// Wraps a handler for services and for the device or module that `$claimed` finds in the request.
macro_rules! service_or_device {
    ($handler:path, $claimed:path) => {
        Handler::ServiceOrDevice {
            serve: |caller, request| Box::pin($handler(caller, request)),
            claimed: |request| $claimed(request),
        }
    };
}

impl Route {
    const fn new(operation: Op, verb: Verb, paths: &'static [&'static str], handler: Handler) -> Self {
        let (errors, described) = (ErrorFormat::Registry, Described::NOTHING);
        Self { operation, verb, paths, handler, errors, versioned: true, described }
    }

    /// Errors are in the nested format, as of twins and methods.
    const fn nested(self) -> Self {
        Self { errors: ErrorFormat::Nested, ..self }
    }

    /// Azure has no such request, so it has no `api-version`.
    const fn unversioned(self) -> Self {
        Self { versioned: false, ..self }
    }
}

const TWIN: &[&str] = &["/twins/{id}", "/twins/{id}/modules/{module}"];
const METHOD: &[&str] = &["/twins/{id}/methods", "/twins/{id}/modules/{module}/methods"];
const MODULE: &[&str] = &["/devices/{id}/modules/{module}"];
const CONFIGURATION: &[&str] = &["/configurations/{configuration}"];
const EVENTS: &[&str] = &["/devices/{id}/messages/events", "/devices/{id}/modules/{module}/messages/events"];

// Clients and Azure's documentation differ in the capitalisation of the queues' names.
const DEVICE_BOUND: &[&str] = &["/messages/deviceBound", "/messages/devicebound"];
const DEVICE_QUEUE: &[&str] = &[
    "/devices/{id}/messages/deviceBound",
    "/devices/{id}/messages/devicebound",
    "/devices/{id}/modules/{module}/messages/deviceBound",
    "/devices/{id}/modules/{module}/messages/devicebound",
];
const DEVICE_MESSAGE: &[&str] = &[
    "/devices/{id}/messages/deviceBound/{token}",
    "/devices/{id}/messages/devicebound/{token}",
    "/devices/{id}/modules/{module}/messages/deviceBound/{token}",
    "/devices/{id}/modules/{module}/messages/devicebound/{token}",
];
const FEEDBACK: &[&str] = &["/messages/serviceBound/feedback", "/messages/servicebound/feedback"];
const FILE_NOTIFICATIONS: &[&str] =
    &["/messages/serviceBound/filenotifications", "/messages/servicebound/filenotifications"];

/// Media types of bodies that are any bytes.
const BYTES: &[(&str, &str)] = &[("application/octet-stream", "Bytes")];
const ANY_TYPE: (&str, &str) = ("*/*", "Bytes");

/// Headers of the properties of a message.
const PROPERTIES: &[&str] = &[
    "iothub-messageid",
    "iothub-correlationid",
    "iothub-userid",
    "iothub-contenttype",
    "iothub-contentencoding",
    "iothub-creationtimeutc",
];
const DESTINATION: &[&str] = &[
    "iothub-to",
    "iothub-ack",
    "iothub-expiry",
    "iothub-messageid",
    "iothub-correlationid",
    "iothub-userid",
    "iothub-contenttype",
    "iothub-contentencoding",
];
/// Headers of a message, or of a batch of feedback, that is locked for its receiver.
const LOCKED: &[&str] = &["ETag", "iothub-sequencenumber", "iothub-enqueuedtime", "iothub-deliverycount"];

pub(super) static ROUTES: &[Route] = &[
    Route::new(Op::ListDevices, Get, &["/devices"], service!(devices::list))
        .takes(&["top", "prefix", "connected", "x-ms-max-item-count", "x-ms-continuation"])
        .returns("Devices")
        .with(&["ferrohub-total-count", "x-ms-continuation"]),
    Route::new(Op::GetDevice, Get, &["/devices/{id}"], service!(devices::get))
        .returns("Device")
        .with(&["ETag"])
        .fails(&[404]),
    Route::new(Op::PutDevice, Put, &["/devices/{id}"], service!(devices::put))
        .takes(&["If-Match"])
        .body("DeviceRequest")
        .returns("Device")
        .with(&["ETag"])
        .fails(&[404, 409, 412, 413]),
    Route::new(Op::DeleteDevice, Delete, &["/devices/{id}"], service!(devices::delete))
        .takes(&["If-Match"])
        .returns_nothing()
        .fails(&[404, 412]),
    Route::new(Op::ChangeIdentities, Post, &["/devices"], service!(bulk::change))
        .body("BulkRequest")
        .returns("BulkResult")
        .returns_also(&[400])
        .fails(&[413]),
    Route::new(Op::RegenerateKeys, Post, &["/devices/keys/regenerate"], service!(bulk::regenerate_keys))
        .body("BulkKeyRequest")
        .returns("BulkKeyResult")
        .returns_also(&[207, 400])
        .fails(&[413]),
    Route::new(
        Op::RegenerateDeviceKey,
        Post,
        &["/ferrohub/devices/{id}/regenerate-key"],
        service!(keys::regenerate_device_key),
    )
    .takes(&["If-Match"])
    .body("KeyChangeRequest")
    .returns("Device")
    .with(&["ETag"])
    .fails(&[404, 412]),
    Route::new(
        Op::ListModules,
        Get,
        &["/devices/{id}/modules"],
        service_or_device!(modules::list, modules::device),
    )
    .returns("Modules")
    .fails(&[404]),
    Route::new(Op::GetModule, Get, MODULE, service_or_device!(modules::get, modules::device))
        .returns("Module")
        .with(&["ETag"])
        .fails(&[404]),
    Route::new(Op::PutModule, Put, MODULE, service_or_device!(modules::put, modules::device))
        .takes(&["If-Match"])
        .body("ModuleRequest")
        .returns("Module")
        .with(&["ETag"])
        .fails(&[404, 409, 412, 413]),
    Route::new(Op::DeleteModule, Delete, MODULE, service_or_device!(modules::delete, modules::device))
        .takes(&["If-Match"])
        .returns_nothing()
        .fails(&[404, 412]),
    Route::new(
        Op::RegenerateModuleKey,
        Post,
        &["/ferrohub/devices/{id}/modules/{module}/regenerate-key"],
        service!(keys::regenerate_module_key),
    )
    .takes(&["If-Match"])
    .body("KeyChangeRequest")
    .returns("Module")
    .with(&["ETag"])
    .fails(&[404, 412]),
    Route::new(Op::GetRegistryStatistics, Get, &["/statistics/devices"], service!(statistics::devices))
        .returns("RegistryStatistics"),
    Route::new(Op::GetServiceStatistics, Get, &["/statistics/service"], service!(statistics::service))
        .returns("ServiceStatistics"),
    Route::new(Op::GetTwin, Get, TWIN, service!(twins::get))
        .nested()
        .returns("Twin")
        .with(&["ETag"])
        .fails(&[404]),
    Route::new(Op::PatchTwin, Patch, TWIN, service!(twins::patch))
        .nested()
        .takes(&["If-Match"])
        .body("TwinChange")
        .returns("Twin")
        .with(&["ETag"])
        .fails(&[404, 412]),
    Route::new(Op::PutTwin, Put, TWIN, service!(twins::put))
        .nested()
        .takes(&["If-Match"])
        .body("TwinChange")
        .returns("Twin")
        .with(&["ETag"])
        .fails(&[404, 412]),
    Route::new(Op::QueryTwins, Post, &["/devices/query"], service!(queries::query))
        .takes(&["x-ms-max-item-count", "x-ms-continuation"])
        .body("QueryRequest")
        .returns("QueryRows")
        .with(&["x-ms-item-type", "x-ms-continuation"])
        .fails(&[429]),
    Route::new(Op::ListConfigurations, Get, &["/configurations"], service!(configurations::list))
        .takes(&["top"])
        .returns("Configurations"),
    Route::new(Op::GetConfiguration, Get, CONFIGURATION, service!(configurations::get))
        .returns("Configuration")
        .with(&["ETag"])
        .fails(&[404]),
    Route::new(Op::PutConfiguration, Put, CONFIGURATION, service!(configurations::put))
        .takes(&["If-Match"])
        .body("ConfigurationRequest")
        .returns("Configuration")
        .with(&["ETag"])
        .fails(&[404, 409, 412, 413]),
    Route::new(Op::DeleteConfiguration, Delete, CONFIGURATION, service!(configurations::delete))
        .takes(&["If-Match"])
        .returns_nothing()
        .fails(&[404, 412]),
    Route::new(
        Op::TestConfigurationQueries,
        Post,
        &["/configurations/testQueries"],
        service!(configurations::test_queries),
    )
    .body("ConfigurationQueries")
    .returns("ConfigurationQueryErrors"),
    Route::new(
        Op::ApplyConfigurationContent,
        Post,
        &["/devices/{id}/applyConfigurationContent"],
        service!(configurations::apply_content),
    )
    .body("ConfigurationContentRequest")
    .returns_nothing()
    .fails(&[404, 409, 413]),
    Route::new(Op::CreateJob, Put, &["/jobs/v2/{jobId}"], service!(jobs::create))
        .body("JobRequest")
        .returns("Job")
        .fails(&[409, 413, 429]),
    Route::new(Op::GetJob, Get, &["/jobs/v2/{jobId}"], service!(jobs::get))
        .returns("JobOrOtherJob")
        .fails(&[404]),
    Route::new(Op::CancelJob, Post, &["/jobs/v2/{jobId}/cancel"], service!(jobs::cancel))
        .returns("Job")
        .fails(&[404]),
    Route::new(Op::ListJobs, Get, &["/jobs/v2/query"], service!(jobs::list))
        .takes(&["jobType", "jobStatus", "x-ms-max-item-count", "x-ms-continuation"])
        .returns("Jobs")
        .with(&["x-ms-item-type", "x-ms-continuation"]),
    Route::new(Op::InvokeMethod, Post, METHOD, service_or_device!(methods::invoke, methods::calling_module))
        .nested()
        .takes(&["x-ms-edge-moduleId"])
        .body("MethodInvocation")
        .returns("MethodResult")
        .fails(&[403, 404, 413, 502, 504]),
    Route::new(Op::SendEvent, Post, EVENTS, device!(telemetry::send::send))
        .takes(PROPERTIES)
        .body_of(&[ANY_TYPE, (telemetry::send::BATCH_CONTENT_TYPE, "EventBatch")])
        .returns_nothing()
        .fails(&[413]),
    Route::new(Op::ReadEvents, Get, &["/messages/events"], service!(telemetry::read::read))
        .takes(&["consumerGroup", "position", "partition", "max", "wait", "Last-Event-ID"])
        .returns_one_of(&[("application/x-ndjson", "EventLines"), ("text/event-stream", "EventStream")])
        .with(&["ferrohub-position"])
        .fails(&[404, 409, 429]),
    Route::new(Op::GetEventLog, Get, &["/messages/events/partitions"], service!(telemetry::read::partitions))
        .returns("EventLog"),
    Route::new(Op::SendMessage, Post, DEVICE_BOUND, service!(service_messages::send))
        .takes(DESTINATION)
        .body_of(&[ANY_TYPE])
        .returns("EnqueuedMessage")
        .fails(&[403, 404, 413]),
    Route::new(
        Op::PurgeMessages,
        Delete,
        &["/devices/{id}/commands", "/devices/{id}/modules/{module}/commands"],
        service!(service_messages::purge),
    )
    .returns("PurgeResult")
    .fails(&[404]),
    Route::new(Op::ReceiveFeedback, Get, FEEDBACK, service!(service_messages::receive_feedback))
        .returns_one_of(&[(FEEDBACK_CONTENT_TYPE, "FeedbackRecords")])
        .returns_nothing()
        .with(LOCKED),
    Route::new(
        Op::CompleteFeedback,
        Delete,
        &["/messages/serviceBound/feedback/{token}", "/messages/servicebound/feedback/{token}"],
        service!(service_messages::complete_feedback),
    )
    .takes(&["reject"])
    .returns_nothing()
    .fails(&[412]),
    Route::new(
        Op::AbandonFeedback,
        Post,
        &[
            "/messages/serviceBound/feedback/{token}/abandon",
            "/messages/servicebound/feedback/{token}/abandon",
        ],
        service!(service_messages::abandon_feedback),
    )
    .returns_nothing()
    .fails(&[412]),
    Route::new(Op::ReceiveMessage, Get, DEVICE_QUEUE, device!(device_messages::receive))
        .returns_one_of(&[ANY_TYPE])
        .returns_nothing()
        .with(LOCKED),
    Route::new(Op::CompleteMessage, Delete, DEVICE_MESSAGE, device!(device_messages::complete))
        .takes(&["reject"])
        .returns_nothing()
        .fails(&[412]),
    Route::new(
        Op::AbandonMessage,
        Post,
        &[
            "/devices/{id}/messages/deviceBound/{token}/abandon",
            "/devices/{id}/messages/devicebound/{token}/abandon",
            "/devices/{id}/modules/{module}/messages/deviceBound/{token}/abandon",
            "/devices/{id}/modules/{module}/messages/devicebound/{token}/abandon",
        ],
        device!(device_messages::abandon),
    )
    .returns_nothing()
    .fails(&[412]),
    Route::new(Op::CreateUpload, Post, &["/devices/{id}/files"], device!(files::create_upload))
        .body("FileUploadRequest")
        .returns("FileUpload")
        .fails(&[403]),
    Route::new(
        Op::CompleteUpload,
        Post,
        // Older clients send the correlation id in the path.
        &["/devices/{id}/files/notifications", "/devices/{id}/files/notifications/{correlation}"],
        device!(files::complete_upload),
    )
    .body("FileUploadOutcome")
    .returns_nothing(),
    Route::new(Op::ReceiveFileNotification, Get, FILE_NOTIFICATIONS, service!(files::receive_notification))
        .returns("FileNotification")
        .returns_nothing()
        .with(&["ETag"]),
    Route::new(
        Op::CompleteFileNotification,
        Delete,
        &[
            "/messages/serviceBound/filenotifications/{token}",
            "/messages/servicebound/filenotifications/{token}",
        ],
        service!(files::complete_notification),
    )
    .returns_nothing()
    .fails(&[412]),
    Route::new(
        Op::AbandonFileNotification,
        Post,
        &[
            "/messages/serviceBound/filenotifications/{token}/abandon",
            "/messages/servicebound/filenotifications/{token}/abandon",
        ],
        service!(files::abandon_notification),
    )
    .returns_nothing()
    .fails(&[412]),
    Route::new(Op::ListFiles, Get, &["/ferrohub/files"], service!(files::list))
        .unversioned()
        .takes(&["deviceId", "after", "top"])
        .returns("Files"),
    Route::new(Op::GetFile, Get, &["/ferrohub/files/{*file}"], service!(files::read))
        .unversioned()
        .returns_one_of(BYTES)
        .fails(&[404]),
    Route::new(Op::DeleteFile, Delete, &["/ferrohub/files/{*file}"], service!(files::remove))
        .unversioned()
        .returns_nothing()
        .fails(&[404]),
    Route::new(Op::CreateImportExportJob, Post, &["/jobs/create"], service!(import_export::create))
        .body("ImportExportRequest")
        .returns("ImportExportJob")
        .fails(&[403]),
    Route::new(Op::ListImportExportJobs, Get, &["/jobs"], service!(import_export::list))
        .returns("ImportExportJobs"),
    Route::new(Op::GetImportExportJob, Get, &["/jobs/{job}"], service!(import_export::get))
        .returns("ImportExportJob")
        .fails(&[404]),
    Route::new(Op::CancelImportExportJob, Delete, &["/jobs/{job}"], service!(import_export::cancel))
        .returns("ImportExportJob")
        .fails(&[404]),
    Route::new(
        Op::CreateContainerUrl,
        Post,
        &["/ferrohub/import-export/container-url"],
        service!(import_export::container_url),
    )
    .unversioned()
    .body("ContainerUrlRequest")
    .returns("ContainerUrl"),
    Route::new(Op::ListPolicies, Get, &["/ferrohub/policies"], service!(policies::list))
        .unversioned()
        .returns("Policies"),
    Route::new(Op::GetPolicy, Get, &["/ferrohub/policies/{policy}"], service!(policies::get))
        .unversioned()
        .returns("Policy")
        .fails(&[404]),
    Route::new(
        Op::RegeneratePolicyKey,
        Post,
        &["/ferrohub/policies/{policy}/regenerate-key"],
        service!(policies::regenerate_key),
    )
    .unversioned()
    .body("PolicyKeyRequest")
    .returns("Policy")
    .fails(&[404, 409]),
    Route::new(Op::ListAuthorities, Get, &["/ferrohub/certificate-authorities"], service!(authorities::list))
        .unversioned()
        .returns("Authorities"),
    Route::new(
        Op::GetAuthority,
        Get,
        &["/ferrohub/certificate-authorities/{authority}"],
        service!(authorities::get),
    )
    .unversioned()
    .returns("Authority")
    .fails(&[404]),
    Route::new(
        Op::PutAuthority,
        Put,
        &["/ferrohub/certificate-authorities/{authority}"],
        service!(authorities::put),
    )
    .unversioned()
    .body("CertificateRequest")
    .returns("Authority")
    .fails(&[409]),
    Route::new(
        Op::DeleteAuthority,
        Delete,
        &["/ferrohub/certificate-authorities/{authority}"],
        service!(authorities::delete),
    )
    .unversioned()
    .returns_nothing()
    .fails(&[404, 409]),
    Route::new(
        Op::CreateVerificationCode,
        Post,
        &["/ferrohub/certificate-authorities/{authority}/verification-code"],
        service!(authorities::create_verification_code),
    )
    .unversioned()
    .returns("VerificationCode")
    .fails(&[404, 409]),
    Route::new(
        Op::VerifyAuthority,
        Post,
        &["/ferrohub/certificate-authorities/{authority}/verify"],
        service!(authorities::verify),
    )
    .unversioned()
    .body("CertificateRequest")
    .returns("Authority")
    .fails(&[404, 409]),
    Route::new(Op::ListFaults, Get, &["/ferrohub/faults"], service!(faults::list))
        .unversioned()
        .returns("Faults")
        .fails(&[404]),
    Route::new(Op::AddFault, Post, &["/ferrohub/faults"], service!(faults::add))
        .unversioned()
        .body("FaultRequest")
        .returns("Fault")
        .fails(&[404, 409, 429]),
    Route::new(Op::ClearFaults, Delete, &["/ferrohub/faults"], service!(faults::clear))
        .unversioned()
        .returns_nothing()
        .fails(&[404]),
    Route::new(Op::RemoveFault, Delete, &["/ferrohub/faults/{fault}"], service!(faults::remove))
        .unversioned()
        .returns_nothing()
        .fails(&[404]),
];
