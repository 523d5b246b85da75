//! The table of the REST API: the requests for each operation.

use ferrohub_core::Operation as Op;

use super::error::ErrorFormat;
use super::routes::{Handler, Route, Verb};
use super::{authorities, cloud_to_device, faults, files, methods, policies, registry, telemetry, twins};
use Verb::{Delete, Get, Patch, Post, Put};
use cloud_to_device::{device as device_messages, service as service_messages};
use registry::{devices, keys, modules, statistics};

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
        Self { operation, verb, paths, handler, errors: ErrorFormat::Registry, versioned: true }
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

pub(super) static ROUTES: &[Route] = &[
    Route::new(Op::ListDevices, Get, &["/devices"], service!(devices::list)),
    Route::new(Op::GetDevice, Get, &["/devices/{id}"], service!(devices::get)),
    Route::new(Op::PutDevice, Put, &["/devices/{id}"], service!(devices::put)),
    Route::new(Op::DeleteDevice, Delete, &["/devices/{id}"], service!(devices::delete)),
    Route::new(
        Op::RegenerateDeviceKey,
        Post,
        &["/ferrohub/devices/{id}/regenerate-key"],
        service!(keys::regenerate_device_key),
    ),
    Route::new(
        Op::ListModules,
        Get,
        &["/devices/{id}/modules"],
        service_or_device!(modules::list, modules::device),
    ),
    Route::new(Op::GetModule, Get, MODULE, service_or_device!(modules::get, modules::device)),
    Route::new(Op::PutModule, Put, MODULE, service_or_device!(modules::put, modules::device)),
    Route::new(Op::DeleteModule, Delete, MODULE, service_or_device!(modules::delete, modules::device)),
    Route::new(
        Op::RegenerateModuleKey,
        Post,
        &["/ferrohub/devices/{id}/modules/{module}/regenerate-key"],
        service!(keys::regenerate_module_key),
    ),
    Route::new(Op::GetRegistryStatistics, Get, &["/statistics/devices"], service!(statistics::devices)),
    Route::new(Op::GetServiceStatistics, Get, &["/statistics/service"], service!(statistics::service)),
    Route::new(Op::GetTwin, Get, TWIN, service!(twins::get)).nested(),
    Route::new(Op::PatchTwin, Patch, TWIN, service!(twins::patch)).nested(),
    Route::new(Op::PutTwin, Put, TWIN, service!(twins::put)).nested(),
    Route::new(Op::InvokeMethod, Post, METHOD, service_or_device!(methods::invoke, methods::calling_module))
        .nested(),
    Route::new(Op::SendEvent, Post, EVENTS, device!(telemetry::send::send)),
    Route::new(Op::ReadEvents, Get, &["/messages/events"], service!(telemetry::read::read)),
    Route::new(Op::GetEventLog, Get, &["/messages/events/partitions"], service!(telemetry::read::partitions)),
    Route::new(Op::SendMessage, Post, DEVICE_BOUND, service!(service_messages::send)),
    Route::new(
        Op::PurgeMessages,
        Delete,
        &["/devices/{id}/commands", "/devices/{id}/modules/{module}/commands"],
        service!(service_messages::purge),
    ),
    Route::new(Op::ReceiveFeedback, Get, FEEDBACK, service!(service_messages::receive_feedback)),
    Route::new(
        Op::CompleteFeedback,
        Delete,
        &["/messages/serviceBound/feedback/{token}", "/messages/servicebound/feedback/{token}"],
        service!(service_messages::complete_feedback),
    ),
    Route::new(
        Op::AbandonFeedback,
        Post,
        &[
            "/messages/serviceBound/feedback/{token}/abandon",
            "/messages/servicebound/feedback/{token}/abandon",
        ],
        service!(service_messages::abandon_feedback),
    ),
    Route::new(Op::ReceiveMessage, Get, DEVICE_QUEUE, device!(device_messages::receive)),
    Route::new(Op::CompleteMessage, Delete, DEVICE_MESSAGE, device!(device_messages::complete)),
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
    ),
    Route::new(Op::CreateUpload, Post, &["/devices/{id}/files"], device!(files::create_upload)),
    Route::new(
        Op::CompleteUpload,
        Post,
        // Older clients send the correlation id in the path.
        &["/devices/{id}/files/notifications", "/devices/{id}/files/notifications/{correlation}"],
        device!(files::complete_upload),
    ),
    Route::new(Op::ReceiveFileNotification, Get, FILE_NOTIFICATIONS, service!(files::receive_notification)),
    Route::new(
        Op::CompleteFileNotification,
        Delete,
        &[
            "/messages/serviceBound/filenotifications/{token}",
            "/messages/servicebound/filenotifications/{token}",
        ],
        service!(files::complete_notification),
    ),
    Route::new(
        Op::AbandonFileNotification,
        Post,
        &[
            "/messages/serviceBound/filenotifications/{token}/abandon",
            "/messages/servicebound/filenotifications/{token}/abandon",
        ],
        service!(files::abandon_notification),
    ),
    Route::new(Op::ListFiles, Get, &["/ferrohub/files"], service!(files::list)).unversioned(),
    Route::new(Op::GetFile, Get, &["/ferrohub/files/{*name}"], service!(files::read)).unversioned(),
    Route::new(Op::DeleteFile, Delete, &["/ferrohub/files/{*name}"], service!(files::remove)).unversioned(),
    Route::new(Op::ListPolicies, Get, &["/ferrohub/policies"], service!(policies::list)).unversioned(),
    Route::new(Op::GetPolicy, Get, &["/ferrohub/policies/{name}"], service!(policies::get)).unversioned(),
    Route::new(
        Op::RegeneratePolicyKey,
        Post,
        &["/ferrohub/policies/{name}/regenerate-key"],
        service!(policies::regenerate_key),
    )
    .unversioned(),
    Route::new(Op::ListAuthorities, Get, &["/ferrohub/certificate-authorities"], service!(authorities::list))
        .unversioned(),
    Route::new(
        Op::GetAuthority,
        Get,
        &["/ferrohub/certificate-authorities/{name}"],
        service!(authorities::get),
    )
    .unversioned(),
    Route::new(
        Op::PutAuthority,
        Put,
        &["/ferrohub/certificate-authorities/{name}"],
        service!(authorities::put),
    )
    .unversioned(),
    Route::new(
        Op::DeleteAuthority,
        Delete,
        &["/ferrohub/certificate-authorities/{name}"],
        service!(authorities::delete),
    )
    .unversioned(),
    Route::new(
        Op::CreateVerificationCode,
        Post,
        &["/ferrohub/certificate-authorities/{name}/verification-code"],
        service!(authorities::create_verification_code),
    )
    .unversioned(),
    Route::new(
        Op::VerifyAuthority,
        Post,
        &["/ferrohub/certificate-authorities/{name}/verify"],
        service!(authorities::verify),
    )
    .unversioned(),
    Route::new(Op::ListFaults, Get, &["/ferrohub/faults"], service!(faults::list)).unversioned(),
    Route::new(Op::AddFault, Post, &["/ferrohub/faults"], service!(faults::add)).unversioned(),
    Route::new(Op::ClearFaults, Delete, &["/ferrohub/faults"], service!(faults::clear)).unversioned(),
    Route::new(Op::RemoveFault, Delete, &["/ferrohub/faults/{id}"], service!(faults::remove)).unversioned(),
];
