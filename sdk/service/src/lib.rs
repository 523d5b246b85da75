//! Service SDK for Azure IoT Hub and Ferrohub: for back ends that manage devices, call their methods, send them
//! messages and read their events.
//!
//! # Quick start
//!
//! ```no_run
//! use ferrohub_service::{MethodInvocation, ServiceClient};
//! use serde_json::json;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = ServiceClient::from_connection_string(&std::env::var("IOTHUB_CONNECTION_STRING")?)?;
//! let invocation = MethodInvocation::new("rebootDevice").payload(&json!({ "delaySeconds": 5 }))?;
//! let response = client.invoke_method("myDevice", &invocation).await?;
//! println!("{}: {}", response.status(), response.payload_text());
//! # Ok(())
//! # }
//! ```
//!
//! # Where to read on
//!
//! * [`ServiceClient`]: devices ([`create_device`](ServiceClient::create_device) and others), modules
//!   ([`create_module`](ServiceClient::create_module)), twins ([`get_twin`](ServiceClient::get_twin)), queries on twins
//!   ([`query`](ServiceClient::query)), digital twins ([`get_digital_twin`](ServiceClient::get_digital_twin)) and method
//!   calls ([`invoke_method`](ServiceClient::invoke_method)).
//! * [`ServiceClient::create_job`]: a method call or a change of twins on many devices, at a time; a [`JobHandle`] waits for
//!   its end and reads what it did.
//! * [`ServiceClient::send_message`]: messages to devices, and [`ServiceClient::feedback`] on them.
//! * [`ServiceClient::events`]: a stream of the events of devices.
//! * [`receive_file_notification`](ServiceClient::receive_file_notification): notifications of uploaded files;
//!   [`open_file`](ServiceClient::open_file) reads the files that a Ferrohub stores itself.
//! * [`create_import_export_job`](ServiceClient::create_import_export_job): imports and exports of a whole fleet.
//! * [`ServiceClient::from_token_credential`] with a [`ClientSecretCredential`] or another [`TokenCredential`]:
//!   Microsoft Entra instead of a shared access policy.
//! * [`ServiceClient::builder`]: certificate authorities, addresses and time-outs.
//! * [`ServiceClient::management`]: policies, certificate authorities and fault injection of a Ferrohub.
//! * [`Error`], and its [kind](ErrorKind), by which an application chooses what to do; it also has the code and the
//!   tracking id of the hub.
//!
//! Methods with an argument `identity` or `to` accept a device or module as text, `"device"` or `"device/module"`, as a
//! pair of ids, or as an [`IdentityId`], and check the ids before anything is sent. The methods that create, read,
//! change and delete devices and modules accept ids as text; there only an empty id is refused before anything is sent.
//! Either is [`ErrorKind::InvalidInput`].
//!
//! "Those of any request" in a list of errors means:
//! [`ErrorKind::Unauthorized`], [`ErrorKind::Throttled`], [`ErrorKind::Unavailable`], [`ErrorKind::Server`],
//! [`ErrorKind::Connection`], [`ErrorKind::Tls`], [`ErrorKind::Timeout`], [`ErrorKind::Credential`] and
//! [`ErrorKind::Protocol`]. The client does not repeat requests. An [`EventStream`] reconnects, a [`FeedbackStream`]
//! continues at the next call after an error, and a [`FileStream`] ends with an error.
//!
//! A client needs no closing: dropping the last clone closes its connections. The SDK needs a tokio runtime with time
//! and I/O enabled. TLS is rustls with ring, versions 1.2 and 1.3. The device SDK, `ferrohub_device`, uses the same
//! words; a port in `HostName=` is the HTTPS port here and the MQTT port there.
#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

mod authorities;
mod authorization;
mod builder;
mod client;
mod cloud_to_device;
mod configurations;
mod credential;
mod digital_twins;
mod error;
mod faults;
mod files;
mod http_client;
mod import_export;
mod jobs;
mod management;
mod methods;
mod paging;
mod policies;
mod queries;
mod registry;
mod telemetry;
mod twins;

pub use authorities::CertificateAuthority;
pub use builder::Builder;
pub use client::ServiceClient;
pub use cloud_to_device::{CloudToDeviceMessage, FeedbackStream, LockedFeedback};
pub use credential::{AccessToken, ClientSecretCredential, TokenCredential};
pub use digital_twins::DigitalTwin;
pub use error::{BoxError, Error, ErrorKind};
pub use ferrohub_model::bulk::{
    BulkError, BulkKeyError, BulkKeyRequest, BulkKeyResult, BulkResult, BulkWarning, ImportMode,
    ItemProperties, KeyOwner, NewKeys, RegistryItem, RenewedKey,
};
pub use ferrohub_model::configuration::{
    Configuration, ConfigurationContent, ConfigurationMetrics, ConfigurationQueries,
    ConfigurationQueryErrors, ConfigurationStatus, Settings, TwinConfiguration,
};
pub use ferrohub_model::device::{
    Authentication, AuthenticationType, Capabilities, ConnectionState, Device, Status, SymmetricKeyPair,
    X509Thumbprints,
};
pub use ferrohub_model::digital_twin::{DigitalTwinPatch, InvalidPath, PatchOperation, PatchPath};
pub use ferrohub_model::fault::{Fault, FaultKind, FaultRequest};
pub use ferrohub_model::file::FileNotification;
pub use ferrohub_model::import_export::{
    ContainerUrl, ImportExportJob, ImportExportRequest, JobStatus, JobType, StorageAuthentication,
};
pub use ferrohub_model::job::{
    DeviceJob, DeviceJobError, DeviceJobOutcome, DeviceJobStatistics, DeviceJobStatus, DeviceMethodResponse,
    Job as ScheduledJob, JobStatus as ScheduledJobStatus, JobType as ScheduledJobType,
};
pub use ferrohub_model::message::{
    Ack, Destination, EnqueuedMessage, Event, EventBody, EventLogInfo, FeedbackRecord, FeedbackStatus,
    Partition, PurgeResult,
};
pub use ferrohub_model::module::Module;
pub use ferrohub_model::statistics::{RegistryStatistics, ServiceStatistics};
pub use ferrohub_model::twin::{DesiredChange, Properties, SectionChange, Twin, TwinChange, TwinProperties};
pub use ferrohub_model::{DeviceId, IdentityId, InvalidId, JobId, KeyChange, ModuleId, Timestamp};
pub use files::{FileQuery, FileStream, LockedFileNotification, StoredFile};
pub use import_export::{BlobContainer, RunningJob};
pub use jobs::{JobHandle, JobQuery, NewJob};
pub use management::Management;
pub use methods::{MethodInvocation, MethodResponse};
pub use paging::PageStream;
pub use policies::{Policy, PolicyKey};
pub use queries::{QueryBuilder, QueryPage};
pub use registry::DeviceQuery;
pub use telemetry::{EventPosition, EventReader, EventStart, EventStream};
