//! The words of the hub: everything that two parties say to each other, as types.
//!
//! Ids, shared access keys and tokens, connection strings, the error table, and the JSON that crosses
//! the wire. No I/O, no async, no clock: where time matters it is an argument. The hub and both SDKs
//! build on this crate, so that each fact about the protocol is written once.
//!
//! Start reading at [`identity`] (who a message is from or for), [`sas`] (how it is proven) and
//! [`error`] (what the hub answers when it refuses).

pub mod blob_sas;
pub mod connection_string;
pub mod device;
pub mod error;
pub mod error_kind;
pub mod error_response;
pub mod fault;
pub mod file;
pub mod host_port;
pub mod identity;
pub mod key;
pub mod message;
pub mod method;
pub mod module;
pub mod mqtt_username;
pub mod percent;
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
pub use host_port::{HostPort, InvalidHostPort};
pub use identity::{DeviceId, IdentityId, InvalidId, ModuleId};
pub use key::{InvalidKey, KeyChange, KeyFingerprint, SharedAccessKey};
pub use rights::{Right, Rights};
pub use timestamp::Timestamp;
