//! The MQTT endpoint: translates packets of a device into calls on the hub, and back.
//!
//! One task per connection drives the socket, the sans-I/O protocol state machine, and the hub's side of
//! the connection. An idle connection holds no buffer: input is read into a buffer that all connections of
//! a thread share, and output is freed once it is written.
//!
//! In this module, `machine` is the protocol state machine ([`ferrohub_mqtt::server::Connection`]), and `connection` is
//! the device's connection to the hub ([`ferrohub_core::node::Connection`]). The socket is `stream`.

mod cloud_to_device;
mod connect;
mod connection_handler;
mod driver;
mod invalid_topic;
mod telemetry;
mod twins;
mod violation;
mod work;

pub use driver::MqttLimits;
pub(crate) use driver::serve;
