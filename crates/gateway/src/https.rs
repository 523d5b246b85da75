//! The HTTPS head: the REST API of services, and WebSocket for devices that cannot use 8883.

mod devices;
mod error;
mod management;
mod method;
mod request;
mod server;
mod websocket;

pub(crate) use server::{HttpLimits, Server};
