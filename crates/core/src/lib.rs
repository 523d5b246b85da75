//! The hub's core logic: authentication, authorization, connections, messages, twins and method calls.
//!
//! This crate contains no sockets, no HTTP and no SQL. Protocol handlers (in the gateway) translate bytes into calls on
//! [`Hub`], and results back into bytes. Adapters implement four ports: [`store::Store`] (persistent state),
//! [`events::EventLog`] (telemetry and hub events), [`bus::Bus`] (access to a device's connection) and
//! [`clock::Clock`].
//!
//! Path of a method call: [`Hub::invoke_method`] → [`bus::Bus::call`] →
//! [`connections::Connections::call`] → the connection's outbox, which its protocol handler drains →
//! the device → [`connections::Connection::answer`] → back to the waiting caller.

pub mod auth;
pub mod blobs;
pub mod bus;
pub mod clock;
pub mod connections;
pub mod events;
pub mod faults;
pub mod health;
mod hub;
pub mod limits;
pub mod messages;
pub mod metrics;
pub mod registry;
pub mod session;
pub mod store;
pub mod twins;

pub use hub::{
    BlobDenied, BlobGrant, ConnectRefusal, ConnectRequest, Connected, Delivery, DeviceCaller, DeviceMessage,
    Hub, HubPorts, HubSettings, LockedNotification, MethodCall, ReadRequest, RefusedRequest, WhichKey,
};
