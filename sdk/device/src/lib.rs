//! Device SDK for Azure IoT Hub and Ferrohub.
//!
//! A device connects with MQTT – over TLS, or in a WebSocket – and proves itself with a shared access key, a SAS token
//! or an X.509 certificate. It sends *events*, receives *messages*, answers *direct methods*, follows and reports to its
//! *twin*, and uploads *files*.
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
//!         println!("rebooting, because of {}", request.payload_text());
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
//! * [`DeviceClient::send_event`], and [`OfflinePolicy`] for what happens without a connection.
//! * [`DeviceClient::messages`]: a stream, with completion by the application.
//! * [`DeviceClient::on_method`], or [`DeviceClient::method_requests`] for calls as a stream.
//! * [`DeviceClient::get_twin`], [`DeviceClient::patch_reported`], and [`DeviceClient::desired_updates`] for what is wanted of
//!   the device as it changes.
//! * [`DeviceClient::upload_file`], and [`DeviceClient::invoke_method`] for modules: over HTTPS.
//! * [`DeviceClient::status`]: what the connection is doing. [`ReconnectPolicy`]: how it comes back.
//! * [`Error`]: a [kind](ErrorKind) to act on.
//!
//! What is not used costs nothing: the hub is told of methods, messages and twin only when the application first asks
//! for them, before [`connect`](DeviceClient::connect) or later.
//!
//! # What it promises
//!
//! * A call reaches a handler at most once. An answer goes out on the connection that brought the call: when that is
//!   lost, the hub has ended the call, and [`ErrorKind::CallEnded`] says so.
//! * An event that `send_event` took arrives at least once, and in order, over any number of lost connections; or the
//!   caller is told that it may not have.
//! * A message is the hub's until the application has completed it. It comes at least once.
//! * Desired properties end up as they are at the hub, whatever was missed, and never go back in time.
//! * Tokens are renewed before they run out, between calls rather than through one, and without the loss of anything
//!   that is under way.
//! * Every queue is bounded. Too many calls at once are refused with a status, not collected; too many events are an
//!   error at once.
//! * What arrives from the network never ends the process, nor does a handler that panics.
//!
//! It runs on a tokio runtime with time and I/O enabled. TLS is rustls with ring, versions 1.2 and 1.3.
#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

#[cfg(test)]
mod behaviour;
mod builder;
mod channel;
mod client;
mod config;
mod credential;
mod driver;
mod error;
mod event;
mod event_queue;
mod feature;
mod host_port;
mod https;
mod message;
mod method;
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
pub use event_queue::OfflinePolicy;
pub use message::{LockedMessage, Message, MessageStream};
pub use method::{MethodInvocation, MethodTarget};
pub use method::{MethodRequest, MethodRequestStream, MethodResponse};
pub use reconnect::{Jitter, ReconnectPolicy};
pub use status::{DisconnectReason, Status, StatusWatch};
pub use transport::Transport;
pub use twin::{DesiredUpdate, DesiredUpdateStream, DeviceTwin, TwinSection};
pub use upload::{FileUpload, UploadedFile};
