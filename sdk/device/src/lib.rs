//! Device SDK for Azure IoT Hub and Ferrohub.
//!
//! A device connects with MQTT – over TLS, or in a WebSocket – and proves itself with a shared access key, a SAS token
//! or an X.509 certificate. Back ends then call *direct methods* on it by name, and get its answers.
//!
//! # Quick start
//!
//! ```no_run
//! use ferrohub_device::{DeviceClient, MethodRequest, MethodResponse};
//! use serde_json::json;
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let client = DeviceClient::from_connection_string(&std::env::var("IOTHUB_DEVICE_CONNECTION_STRING")?)?;
//!     client.on_method("rebootDevice", |request: MethodRequest| async move {
//!         println!("rebooting, because of {}", request.payload());
//!         MethodResponse::new(200).payload(&json!({ "Response": "This is the response from the device" }))
//!     });
//!     client.connect().await?;
//!     tokio::signal::ctrl_c().await?;
//!     client.disconnect().await;
//!     Ok(())
//! }
//! ```
//!
//! # Where to go on
//!
//! * [`DeviceClient::builder`]: certificates, modules, gateways, WebSockets, limits and time-outs.
//! * [`DeviceClient::on_method`], or [`DeviceClient::method_requests`] for calls as a stream.
//! * [`DeviceClient::status`]: what the connection is doing. [`ReconnectPolicy`]: how it comes back.
//! * [`Error`]: a [kind](ErrorKind) to act on.
//!
//! # What it promises
//!
//! * A call reaches a handler at most once. An answer goes out on the connection that brought the call: when that is
//!   lost, the hub has ended the call, and [`ErrorKind::CallEnded`] says so.
//! * Tokens are renewed before they run out, between calls rather than through one.
//! * Every queue is bounded. Too many calls at once are refused with a status, not collected.
//! * What arrives from the network never ends the process, nor does a handler that panics.
//!
//! It runs on a tokio runtime with time and I/O enabled. TLS is rustls with ring, versions 1.2 and 1.3.
#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

#[cfg(test)]
mod behaviour;
mod builder;
mod client;
mod config;
mod credential;
mod driver;
mod endpoint;
mod error;
mod event;
mod feature;
mod feed;
mod https;
mod message;
mod method;
mod outbox;
mod reconnect;
mod renewal;
mod status;
mod transport;
mod twin;
mod upload;

pub use builder::Builder;
pub use client::DeviceClient;
pub use error::{BoxError, Error, ErrorKind};
pub use event::Event;
pub use message::{Message, Messages};
pub use method::{MethodCall, MethodTarget};
pub use method::{MethodRequest, MethodRequests, MethodResponse};
pub use outbox::OfflinePolicy;
pub use reconnect::{Jitter, ReconnectPolicy};
pub use status::{DisconnectReason, Status, StatusWatch};
pub use transport::Transport;
pub use twin::{DesiredUpdate, DesiredUpdates, Twin, TwinSection};
pub use upload::{FileUpload, UploadedFile};
