//! The commands. Those of a feature are in the module of that feature; the others are named as on the command line.

pub(crate) mod authorities;
pub(crate) mod backup;
pub(crate) mod cloud_to_device;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod configurations;
pub(crate) mod demo;
mod device_client;
pub(crate) mod digital_twins;
pub(crate) mod env;
pub(crate) mod faults;
pub(crate) mod files;
pub(crate) mod jobs;
pub(crate) mod methods;
pub(crate) mod monitor;
pub(crate) mod policies;
pub(crate) mod queries;
pub(crate) mod registry;
pub(crate) mod serve;
pub(crate) mod simulate;
pub(crate) mod telemetry;
pub(crate) mod twins;
pub(crate) mod wait;

/// Runs an asynchronous command on one thread.
pub(crate) fn block_on<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(future)
}
