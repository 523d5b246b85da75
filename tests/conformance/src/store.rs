//! What every store does, one file for each part of the port. Each test gets a new store.

pub(crate) mod change_groups;
pub(crate) mod configurations;
pub(crate) mod connections;
pub(crate) mod files;
pub(crate) mod import_export;
pub(crate) mod jobs;
pub(crate) mod leases;
pub(crate) mod messages;
pub(crate) mod queries;
pub(crate) mod registry;
pub(crate) mod settings;
pub(crate) mod twins;

use ferrohub_core::store::Store;

use crate::Fixture;

/// Opens a store.
pub trait OpenStore: AsyncFn() -> Fixture<dyn Store> {}

impl<F: AsyncFn() -> Fixture<dyn Store>> OpenStore for F {}
