//! The hub's rules: who may connect, who may call whom, and how every call ends.
//!
//! This crate knows no socket, no HTTP status line and no SQL. Protocol heads translate bytes into
//! calls on [`Hub`] and its answers back; adapters stand behind four ports: [`store::Store`] (what
//! survives a restart), [`events::EventLog`] (what devices send), [`bus::Bus`] (who holds a device's connection) and
//! [`clock::Clock`].
//!
//! How a method call travels: [`Hub::invoke_method`] → [`bus::Bus::call`] →
//! [`connections::Connections::call`] → the connection's outbox, which its protocol head drains →
//! the device → [`connections::Connection::answer`] → back to the waiting caller.

pub mod auth;
pub mod blobs;
pub mod bus;
pub mod clock;
pub mod connections;
pub mod events;
pub mod faults;
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
