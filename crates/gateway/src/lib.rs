//! Listeners, TLS and the protocol endpoints. Translates MQTT and HTTPS into calls on the hub; `core` has the rules.
//!
//! [`Gateway::bind`] opens the listeners, [`Gateway::serve`] runs them until the hub stops. Start reading
//! at `listener.rs` (accepting connections), then `mqtt.rs` (devices) and `https.rs` (services).

#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

mod accept_errors;
mod admin;
mod admission;
pub mod entra;
mod gateway;
mod health;
mod https;
mod in_memory;
mod listener;
mod metrics;
mod mqtt;
mod peer;
mod system_metrics;
pub mod tls;
mod write_timeout;

pub use gateway::{AdminOptions, BindError, Gateway, GatewayLimits, ListenAddresses, ServeOptions};
pub use https::BLOB_CONTAINER;
pub use in_memory::InMemoryGateway;
pub use metrics::GatewayMetrics;
pub use mqtt::MqttLimits;
pub use system_metrics::SystemMetrics;
