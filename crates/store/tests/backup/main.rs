//! Backups: what one contains, what a restore refuses, and what is different after it.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test ends by panicking")]

#[path = "../common.rs"]
mod common;
mod comparison;
mod fixture;
mod fixtures_of_all_versions;
mod generations;
mod hostile_archives;
mod interrupted;
mod under_load;
