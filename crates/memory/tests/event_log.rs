//! The conformance suite of the event log in memory.
#![allow(missing_docs, reason = "a test's name says what it tests")]

use std::sync::Arc;

use ferrohub_conformance::Fixture;
use ferrohub_core::telemetry::EventLog;
use ferrohub_memory::MemoryEventLog;

ferrohub_conformance::event_log_suite!(open);

async fn open(partitions: u16) -> Fixture<dyn EventLog> {
    Fixture::new(Arc::new(MemoryEventLog::new(partitions)))
}
