//! One module per command.

pub(crate) mod config;
pub(crate) mod env;
pub(crate) mod serve;
