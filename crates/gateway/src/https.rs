//! The HTTPS endpoint: the REST API for services and devices, and WebSocket for devices that cannot use port 8883.

mod blobs;
mod caller;
mod caller_connections;
mod cloud_to_device;
mod connection;
mod device_events;
mod device_messages;
mod devices;
mod error;
mod event_stream;
mod events;
mod faults;
mod files;
mod keys;
mod management;
mod message_headers;
mod method;
mod modules;
mod request;
mod request_body;
mod request_path;
mod server;
mod statistics;
mod transfer_permits;
mod twins;
mod websocket;

pub use blobs::CONTAINER as BLOB_CONTAINER;
pub(crate) use error::error_details;
pub(crate) use server::{HttpLimits, Server};
