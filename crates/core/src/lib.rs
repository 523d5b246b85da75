//! The rules of the hub: who may do what, and what happens then. No sockets, no HTTP, no SQL.
//!
//! * [`operations`]: the table of all operations, and the rights that permit each.
//! * [`ServiceCaller`], [`DeviceCaller`], [`ConnectedDevice`], [`BlobCaller`]: who asks. A protocol head proves it once, with
//!   [`Hub::authenticate_service`] and the like. Operations are methods of these, and check their right themselves.
//! * A module per feature with its rules and operations: [`registry`], [`methods`], [`twins`], [`digital_twins`], [`queries`],
//!   [`jobs`], [`configurations`], [`telemetry`], [`cloud_to_device`], [`files`], [`import_export`], [`policies`],
//!   [`faults`], [`connections`].
//! * [`node`]: what this process holds, the connections and the calls in flight.
//! * The ports, which adapters implement: [`store::Store`] (persistent state), [`telemetry::EventLog`] (telemetry and hub
//!   events), [`files::BlobStore`] (uploaded files), [`import_export::ExternalContainers`] (blobs of other storage), [`bus::Bus`] (access to a device's connection), [`clock::Clock`].
//! * [`delivery`]: the peek-lock of queues, which hands out messages, feedback and file notifications.
//! * [`background`]: supervised tasks, and leases for work that must happen once in a hub.
//! * [`Hub`]: assembles these, starts and stops.
//!
//! Path of a method call: [`ServiceCaller::invoke_method`] → [`bus::Bus::call`] → [`node::Connections::call`] → the
//! connection's outbox, which its protocol head drains → the device → [`ConnectedDevice::answer_method`] → back to the
//! waiting caller.
//!
//! # Words
//!
//! Most names are those of Azure IoT Hub's documentation.
//!
//! - **device**: a client with an id and credentials of its own, such as a sensor or a gateway.
//! - **module**: a part of a device that has its own id, credentials, connection and twin.
//! - **identity**: the hub's record of a device or module: id, keys or certificates, status.
//! - **generation id**: distinguishes identities that had the same id one after the other.
//! - **service**: a back-end application that calls the hub's HTTPS API.
//! - **shared access policy**: a named pair of keys with rights, mostly for services.
//! - **SAS token**: shared access signature: a token that expires, signed with a key of an identity or a policy.
//! - **twin**: a JSON document about a device or module: tags, desired and reported properties.
//! - **desired properties, reported properties**: the part of a twin that services write, and the part that the device
//!   writes.
//! - **direct method**: a request of a service to a connected device; the service waits for the response.
//! - **telemetry**: messages from a device, which services read from the event log.
//! - **hub event**: a report of the hub about a device or module, such as its creation or connect.
//! - **event log**: the persistent log of all telemetry and hub events. Reading removes nothing from it.
//! - **partition**: a part of the event log with its own sequence numbers. All events of a device are in the same one.
//! - **consumer group**: a name under which services read the event log; it limits the number of readers.
//! - **cloud-to-device message**: a message that a service queues for a device until the device acknowledges it.
//! - **fault**: an error that the hub causes on purpose, such as a lost connection or response, so that a test can
//!   check how clients react. Azure IoT Hub has no faults.

pub mod auth;
pub mod authorities;
pub mod background;
pub mod bus;
mod callers;
pub mod clock;
pub mod close_reason;
pub mod cloud_to_device;
pub mod configurations;
pub mod connections;
pub mod delivery;
pub mod digital_twins;
pub mod faults;
pub mod files;
mod hub;
pub mod import_export;
pub mod jobs;
pub mod limits;
pub mod log_limit;
pub mod methods;
pub mod metrics;
pub mod node;
pub mod operations;
pub mod panics;
pub mod policies;
pub mod queries;
mod readiness;
pub mod registry;
pub mod request_peer;
pub mod session;
pub mod store;
mod store_error;
pub mod telemetry;
pub mod twins;
pub mod uncancelled;

pub use callers::{
    BlobCaller, BlobDenied, Caller, ConnectedDevice, Credentials, DeviceCaller, ServiceCaller,
};
pub use hub::{Hub, HubPorts, HubSettings};
pub use operations::Operation;
