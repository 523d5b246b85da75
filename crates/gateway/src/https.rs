//! The HTTPS head: the REST API of services, and WebSocket for devices that cannot use 8883.

mod devices;
mod error;
mod management;
mod method;
mod modules;
mod request;
mod server;
mod twins;
mod websocket;

pub(crate) use error::inner_error;
pub(crate) use server::{HttpLimits, Server};
