//! The commands, one module each.

pub(crate) mod c2d;
pub(crate) mod ca;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod demo;
pub(crate) mod device;
mod device_client;
pub(crate) mod env;
pub(crate) mod fault;
pub(crate) mod files;
mod identity;
pub(crate) mod invoke;
pub(crate) mod module;
pub(crate) mod monitor;
pub(crate) mod policy;
pub(crate) mod send_event;
pub(crate) mod serve;
pub(crate) mod simulate;
pub(crate) mod twin;
pub(crate) mod upload;
pub(crate) mod wait;

/// Runs an asynchronous command on one thread.
pub(crate) fn block_on<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(future)
}
