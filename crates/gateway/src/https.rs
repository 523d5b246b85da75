//! The HTTPS head: the REST API of services, and WebSocket for devices that cannot use 8883.

mod blobs;
mod caller;
mod cloud_to_device;
mod device_events;
mod devices;
mod error;
mod event_stream;
mod events;
mod faults;
mod files;
mod keys;
mod management;
mod message;
mod messages;
mod method;
mod modules;
mod request;
mod server;
mod statistics;
mod transfers;
mod twins;
mod websocket;

pub use blobs::CONTAINER as BLOB_CONTAINER;
pub(crate) use error::inner_error;
pub(crate) use server::{HttpLimits, Server};
