//! The types that Ferrohub, devices and services exchange.
//!
//! Ids, shared access keys and tokens, connection strings, error codes, MQTT topics and the JSON of the REST API. The
//! crate has no I/O, no async and no clock: the current time is always an argument. The hub and both SDKs use this
//! crate, so that each fact about the protocol is written only once.
//!
//! Start with [`identity`] (devices and modules), [`sas`] (authentication) and [`error`] (error codes).

pub mod blob_sas;
pub mod bulk;
pub mod configuration;
pub mod connection_string;
pub mod device;
pub mod digital_twin;
pub mod error;
pub mod error_kind;
pub mod error_response;
pub mod event_hub;
pub mod fault;
pub mod file;
mod guid;
pub mod host_port;
pub mod identity;
pub mod import_export;
pub mod job;
pub mod json;
pub mod key;
pub mod message;
pub mod method;
pub mod module;
pub mod mqtt_username;
mod names;
pub mod pem;
pub mod percent;
pub mod random;
pub mod rights;
pub mod sas;
pub mod statistics;
pub mod storage_account;
pub mod timestamp;
pub mod topic;
pub mod twin;

pub use connection_string::{ConnectionStringError, DeviceConnectionString, ServiceConnectionString};
pub use error::{ErrorCode, HubError};
pub use error_kind::ErrorKind;
pub use error_response::ErrorResponse;
pub use guid::Guid;
pub use host_port::{HostPort, InvalidHostPort};
pub use identity::{DeviceId, IdentityId, InvalidId, JobId, ModuleId};
pub use key::{InvalidKey, KeyChange, KeyFingerprint, SharedAccessKey};
pub use rights::{Right, Rights};
pub use timestamp::Timestamp;
