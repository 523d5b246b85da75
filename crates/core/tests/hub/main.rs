//! Whole operations of a hub over memory adapters, in virtual time: hours pass in milliseconds.
//!
//! Each file is about one feature. `test_hub.rs` starts the hub and lets time pass.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test ends by panicking")]

mod bulk;
mod configurations;
mod connection_events;
mod deletion;
mod feedback;
mod file_notifications;
mod import_export;
mod jobs;
mod messages;
mod method_calls;
mod operations;
mod presence;
mod queries;
mod retention;
mod sessions;
mod test_hub;
mod tokens;
mod uploads;
mod waiting_services;
