//! Acceptance tests: the real `ferrohub` binary against Microsoft's own Python packages, unmodified.
//!
//! - [`Hub`] starts the binary with its own data directory on its own loopback address, because the
//!   clients hard-wire ports 8883 and 443; so tests run side by side.
//! - [`Service`] is a back end (`azure-iot-hub`), [`Device`] a device (`azure-iot-device`), each a
//!   Python program under `tests/python` that takes orders as JSON lines. [`Script`] runs a program to
//!   its end, such as the tutorial's own code.
//! - [`sas`] and [`certificate`] make credentials of every kind, good and bad, without the hub's code:
//!   the referee must not share the player's mistakes.
//!
//! `cargo xtask test` prepares what is needed (the binary, `target/venv`) and runs everything. What a
//! program and the hub wrote is printed when its owner is dropped; nextest shows it for failures only.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

mod address;
mod azurite;
pub mod certificate;
mod device;
mod events;
mod https_device;
mod hub;
mod identity;
mod manual_ack_device;
mod paho_device;
mod python;
pub mod raw_connect;
pub mod raw_tls;
pub mod sas;
mod script_process;
mod service;
mod storage;
mod wait;

pub use address::Address;
pub use azurite::Azurite;
pub use device::{Client, Device, DeviceBuilder, Message, MethodRequest, ReceivedMessage, UploadInfo};
pub use events::{Event, Events};
pub use https_device::HttpsDevice;
pub use hub::{CommandOutput, Hub, HubBuilder, program};
pub use identity::Identity;
pub use manual_ack_device::{Delivery, ManualAckDevice};
pub use paho_device::PahoDevice;
pub use python::{RunningScript, Script};
pub use script_process::{Failure, Pending};
pub use service::{HttpResponse, Method, MethodResult, PendingMethodResult, Service, ServiceException};
pub use storage::Storage;
pub use wait::eventually;
