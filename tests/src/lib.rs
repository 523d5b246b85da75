//! Acceptance tests: the real `ferrohub` binary with Microsoft's unmodified Python packages.
//!
//! - [`Hub`] starts the binary with its own data directory on its own loopback address. The clients always use
//!   ports 8883 and 443, so tests can only run in parallel on different addresses.
//! - [`Service`] is a back end (`azure-iot-hub`), [`Device`] a device (`azure-iot-device`). Each is a Python
//!   program in `tests/python` that receives its operations as JSON lines. [`Script`] runs a program until it
//!   exits, such as the code of the tutorial.
//! - [`sas`] and [`certificate`] create valid and invalid credentials without the hub's code, so that a bug in
//!   that code cannot hide in the tests.
//!
//! `cargo xtask test` prepares the binary and `target/venv`, and runs all tests. The output of a program and of
//! the hub is printed when its owner is dropped; nextest shows it for failed tests only.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

mod address;
mod amqp_client;
mod amqp_reader;
mod azurite;
pub mod certificate;
mod device;
mod event_reader;
mod events;
mod full_disk;
mod https_device;
mod hub;
mod identity;
mod manual_ack_device;
mod node_client;
mod openapi;
mod paho_device;
mod python;
pub mod raw_amqp;
pub mod raw_connect;
mod raw_http;
pub mod raw_tls;
mod running_program;
pub mod sas;
mod script_process;
mod service;
mod service_credentials;
mod storage;
mod wait;

pub use address::Address;
pub use amqp_client::{AmqpClient, ReceivedItem, Refused};
pub use amqp_reader::{EventsLink, ManagementAnswer, ReceivedEvent, management_request};
pub use azurite::Azurite;
pub use device::{Client, Device, DeviceBuilder, Message, MethodRequest, ReceivedMessage, UploadInfo};
pub use event_reader::{EventReaderClient, EventSender};
pub use events::{Event, Events};
pub use full_disk::SmallDisk;
pub use https_device::HttpsDevice;
pub use hub::{CommandOutput, Hub, HubBuilder, program};
pub use identity::Identity;
pub use manual_ack_device::{Delivery, ManualAckDevice};
pub use node_client::NodeClient;
pub use paho_device::PahoDevice;
pub use python::{RunningScript, Script, target_dir};
pub use raw_http::RawResponse;
pub use running_program::RunningProgram;
pub use script_process::{Failure, Pending};
pub use service::{HttpResponse, Method, MethodResult, PendingMethodResult, Service, ServiceException};
pub use storage::Storage;
pub use wait::eventually;
