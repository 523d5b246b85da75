//! Telemetry of devices and modules; the event log, for services.

mod event_json;
mod event_stream;
pub(super) mod read;
pub(super) mod send;
