//! Listeners, TLS and the protocol endpoints. Translates MQTT, AMQP and HTTPS into calls on the hub; `core` has the rules.
//!
//! [`Gateway::bind`] opens the listeners, [`Gateway::serve`] runs them until the hub stops. Start reading
//! at `transport/tcp.rs` (accepting connections), then `heads/mqtt.rs` (devices), `https.rs` and
//! `heads/amqp.rs` (services).

#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

mod admin;
mod admission;
pub mod entra;
mod error_details;
mod gateway;
mod heads;
mod health;
mod http;
mod https;
mod in_memory;
mod metrics;
mod system_metrics;
mod transport;

pub use gateway::{AdminOptions, BindError, Gateway, GatewayLimits, ListenAddresses, ServeOptions};
pub use heads::amqp::AmqpLimits;
pub use heads::blob::CONTAINER as BLOB_CONTAINER;
pub use heads::mqtt::MqttLimits;
pub use in_memory::InMemoryGateway;
pub use metrics::GatewayMetrics;
pub use system_metrics::SystemMetrics;
pub use transport::tls;
