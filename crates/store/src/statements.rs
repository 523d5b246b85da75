//! The SQL statements: one function for each operation of the port.
//!
//! Functions that write run inside a transaction of the [`Writer`](crate::writer::Writer).

mod blobs;
mod changes;
mod configurations;
mod events;
mod feedback;
mod identities;
mod import_export;
pub(crate) mod jobs;
mod leases;
mod messages;
mod settings;
mod twins;
mod uploads;

pub(crate) use blobs::*;
pub(crate) use changes::apply;
pub(crate) use configurations::*;
pub(crate) use events::*;
pub(crate) use feedback::*;
pub(crate) use identities::*;
pub(crate) use import_export::*;
pub(crate) use leases::*;
pub(crate) use messages::*;
pub(crate) use settings::*;
pub(crate) use twins::*;
pub(crate) use uploads::*;
