//! Tests of the blob store in a real folder: the conformance suite, and what it leaves on the disk.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test ends by panicking")]

mod conformance;
mod disk;
mod fixture;
