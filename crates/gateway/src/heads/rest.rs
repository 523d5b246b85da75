//! The REST API, for services and devices.
//!
//! [`routes`] is the table of the API. [`serve()`] does for every request what they have in common: it authenticates the
//! caller, checks the right and the API version, and renders errors. A handler, in the file of its feature, reads the
//! request, calls one operation and renders its result.

mod authorities;
mod cloud_to_device;
mod configurations;
mod described;
mod digital_twins;
mod error;
mod faults;
mod files;
mod import_export;
mod jobs;
mod message_headers;
mod methods;
mod openapi;
mod paging;
mod policies;
mod queries;
mod registry;
mod request;
mod response;
mod routes;
mod serve;
mod table;
mod telemetry;
mod twins;

pub(crate) use error::{ApiError, ErrorFormat};
pub(crate) use faults::injected_response;
pub(crate) use openapi::routes as description_routes;
pub(crate) use routes::{Found, find};
pub(crate) use serve::{method_not_allowed, serve};

/// Paths below this one contain the name of a file.
pub(crate) const FILES_PATH: &str = "/ferrohub/files";

/// The result of a handler.
type RestResult = Result<axum::response::Response, ferrohub_model::HubError>;
