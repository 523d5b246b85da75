//! Service SDK for Azure IoT Hub and Ferrohub: what a back end needs to manage devices and call them.
//!
//! # Quick start
//!
//! ```no_run
//! use ferrohub_service::{DirectMethod, ServiceClient};
//! use serde_json::json;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = ServiceClient::from_connection_string(&std::env::var("IOTHUB_CONNECTION_STRING")?)?;
//! let method = DirectMethod::new("rebootDevice").payload(&json!({ "delaySeconds": 5 }))?;
//! let response = client.invoke_method("myDevice", &method).await?;
//! println!("{}: {}", response.status, response.payload);
//! # Ok(())
//! # }
//! ```
//!
//! # Where to go on
//!
//! * [`ServiceClient`]: devices ([`create_device`](ServiceClient::create_device) and its siblings), modules
//!   ([`create_module`](ServiceClient::create_module)), twins ([`get_twin`](ServiceClient::get_twin)) and method calls.
//! * [`ServiceClient::send_message`]: messages to devices, and what became of them
//!   ([`receive_feedback`](ServiceClient::receive_feedback)).
//! * [`ServiceClient::from_token_credential`] with a [`ClientSecretCredential`], or a [`TokenCredential`] of your own:
//!   Microsoft Entra instead of a shared access policy.
//! * [`ServiceClient::builder`]: certificate authorities, ports, time-outs.
//! * [`Error`]: a [kind](ErrorKind) to act on, the hub's code and tracking id, and whether a retry makes sense.
//! * [`ServiceClient::events`]: what devices send, as it comes.
//! * [`receive_file_notification`](ServiceClient::receive_file_notification): files that devices uploaded;
//!   [`open_file`](ServiceClient::open_file) reads those that a Ferrohub keeps itself.
//! * [`ServiceClient::management`]: a Ferrohub's own policies, certificate authorities and faults for tests.
//!
//! It runs on a tokio runtime with time and I/O enabled. TLS is rustls with ring, versions 1.2 and 1.3; certificates are
//! checked against what the machine trusts (`SSL_CERT_FILE` is honoured) and what the builder adds.
#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

mod authorization;
mod builder;
mod client;
mod cloud_to_device;
mod credential;
mod error;
mod events;
mod faults;
mod feedback;
mod file_notifications;
mod http_client;
mod management;
mod method;
mod modules;
mod registry;
mod statistics;
mod twin;
mod uri;

pub use builder::Builder;
pub use client::ServiceClient;
pub use cloud_to_device::{Ack, CloudToDeviceMessage, MessageTo};
pub use credential::{AccessToken, ClientSecretCredential, TokenCredential};
pub use error::{BoxError, Error, ErrorKind};
pub use events::{EventPosition, EventReader, EventStart, EventStream};
pub use feedback::{FeedbackBatch, FeedbackStream};
pub use ferrohub_model::KeyChange;
pub use ferrohub_model::Timestamp;
pub use ferrohub_model::device::{
    Authentication, AuthenticationType, Capabilities, ConnectionState, Device, Status, SymmetricKeyPair,
    X509Thumbprints,
};
pub use ferrohub_model::fault::{Fault, FaultKind, FaultRequest};
pub use ferrohub_model::file::FileNotification;
pub use ferrohub_model::message::{
    EnqueuedMessage, Event, EventBody, EventLogInfo, FeedbackRecord, FeedbackStatus, Partition, PurgeResult,
};
pub use ferrohub_model::module::Module;
pub use ferrohub_model::statistics::{RegistryStatistics, ServiceStatistics};
pub use ferrohub_model::twin::{DesiredChange, Properties, Twin, TwinChange, TwinProperties};
pub use file_notifications::{FileContent, FileQuery, ReceivedFileNotification, StoredFile};
pub use management::{CertificateAuthority, Key, Management, Policy};
pub use method::{DirectMethod, DirectMethodResponse};
pub use registry::DeviceList;
pub use twin::TwinOf;
