//! Device SDK for Azure IoT Hub and Ferrohub.
//!
//! A device connects with MQTT, over TLS or in a WebSocket. It authenticates with a shared access key, a SAS token or
//! an X.509 certificate. It sends *events*, receives *messages*, responds to *method calls* (Azure: direct methods),
//! reads and reports its *twin*, and uploads *files*.
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
//!         println!("rebooting: {}", request.payload_text());
//!         MethodResponse::new(200).payload(&json!({ "Response": "This is the response from the device" }))
//!     });
//!     client.connect().await?;
//!     tokio::signal::ctrl_c().await?;
//!     client.disconnect().await;
//!     Ok(())
//! }
//! ```
//!
//! # Where to read on
//!
//! * [`DeviceClient::builder`]: certificates, modules, gateways, WebSockets, limits and time-outs.
//! * [`DeviceClient::send_event`], and [`OfflinePolicy`] for events without a connection.
//! * [`DeviceClient::messages`]: a stream of messages, which the application completes.
//!   [`DeviceClient::receive_message`] receives them over HTTPS.
//! * [`DeviceClient::on_method`], or [`DeviceClient::method_requests`] for calls as a stream.
//! * [`DeviceClient::get_twin`], [`DeviceClient::patch_reported`], and [`DeviceClient::desired_updates`] for the
//!   changes of the desired properties.
//! * [`DeviceClient::upload_file`], and [`DeviceClient::invoke_method`] for modules: over HTTPS.
//! * [`DeviceClient::status`]: the state of the connection. [`RetryPolicy`]: how the client reconnects.
//! * [`Error`], and its [kind](ErrorKind), by which an application chooses what to do.
//!
//! The client subscribes to methods, messages and the twin when the application first uses them, before
//! [`connect`](DeviceClient::connect) or later. There is no subscription for an unused feature.
//!
//! "Those of any request" in a list of errors of a method that uses HTTPS means: [`ErrorKind::Unauthorized`],
//! [`ErrorKind::Throttled`], [`ErrorKind::Unavailable`], [`ErrorKind::Server`], [`ErrorKind::Connection`],
//! [`ErrorKind::Tls`], [`ErrorKind::Timeout`], [`ErrorKind::Credential`] and [`ErrorKind::Protocol`].
//!
//! # Guarantees
//!
//! * A method call reaches a handler at most once. The response is sent on the connection that delivered the call. If
//!   that connection is lost, the hub has ended the call, and [`MethodRequest::respond`] returns
//!   [`ErrorKind::CallEnded`].
//! * An event that [`send_event`](DeviceClient::send_event) queued is delivered at least once and in order, across
//!   reconnects; otherwise the call returns an error.
//! * A message stays at the hub until the application has completed it. It is delivered at least once.
//! * The desired properties converge to those of the hub, and never go back to an older version, unless those of the hub
//!   did: it was restored from a backup, or the device was created anew.
//! * Tokens are renewed before they expire, if possible while no call is open, and without losing events, calls or
//!   requests in flight.
//! * Every queue is bounded. Excess method calls get a response with status 429; excess events are an error.
//! * No input from the network ends the process, and neither does a handler that panics.
//!
//! # Ending
//!
//! [`disconnect`](DeviceClient::disconnect) closes the connection gracefully within the
//! [shutdown time-out](Builder::shutdown_timeout). Dropping the last clone of the client disconnects in the background.
//!
//! The SDK needs a tokio runtime with time and I/O enabled. TLS is rustls with ring, versions 1.2 and 1.3.
//! The service SDK, `ferrohub_service`, uses the same words; a port in `HostName=` is the MQTT port here and the HTTPS
//! port there.
#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

#[cfg(test)]
mod behaviour;
mod builder;
mod channel;
mod client;
mod cloud_to_device;
mod config;
mod credential;
mod driver;
mod error;
mod feature;
mod files;
mod https;
mod methods;
mod renewal;
mod retry;
mod status;
mod telemetry;
mod transport;
mod twins;

pub use builder::Builder;
pub use client::DeviceClient;
pub use cloud_to_device::{LockedMessage, Message, MessageStream};
pub use credential::{AccessToken, TokenCredential, token_fn};
pub use error::{BoxError, Error, ErrorKind};
pub use ferrohub_model::twin::Properties;
pub use ferrohub_model::{DeviceId, IdentityId, InvalidId, ModuleId, Timestamp};
pub use files::{FileUpload, UploadedFile};
pub use methods::{MethodInvocation, MethodRequest, MethodRequestStream, MethodResponse};
pub use retry::{Jitter, RetryPolicy};
pub use status::{ConnectionStatus, ConnectionStatusWatcher, DisconnectReason};
pub use telemetry::{Event, OfflinePolicy};
pub use transport::Transport;
pub use twins::{DesiredUpdate, DesiredUpdateStream, DeviceTwin, TwinSection};
