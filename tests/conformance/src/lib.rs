//! The conformance suites of the hub's ports: what every adapter does, whatever it is made of.
//!
//! A suite is a macro. An adapter runs it in a test file of its own, with a function that opens a new, empty adapter:
//!
//! ```ignore
//! ferrohub_conformance::event_log_suite!(open);
//!
//! async fn open(partitions: u16) -> Fixture<dyn EventLog> {
//!     Fixture::new(Arc::new(MemoryEventLog::new(partitions)))
//! }
//! ```
//!
//! Each test then appears in that file under its own name. What only one adapter promises, such as that its data survive
//! a restart, is tested with that adapter.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "tests: a name is a sentence, and a test ends by panicking"
)]

mod blob_folder;
mod event_log;
mod fixture;
pub mod samples;
mod suite;

pub use blob_folder::{Chunks, NOW as BLOB_FOLDER_NOW};
pub use fixture::Fixture;

suite::suite! { ($)
    /// Runs the suite of the port `EventLog`. Takes the path of a function that opens a log with a number of partitions.
    event_log_suite of event_log {
        a_closed_log_returns_closed
        a_log_that_is_too_large_loses_its_oldest_events_first
        a_read_is_bounded_and_returns_at_least_one_event
        a_reader_that_waits_for_the_next_event_is_notified
        a_retention_step_removes_a_limited_number_of_events
        an_event_is_found_by_its_time
        batches_are_appended_together_or_not_at_all
        concurrent_writers_each_keep_their_order
        events_are_read_back_unchanged_in_the_order_of_their_partition
        retention_removes_old_events_and_keeps_sequence_numbers_and_times
        times_never_decrease_within_a_partition
    }
}

suite::suite! { ($)
    /// Runs the suite of the port `BlobFolder`. Takes the path of a function that opens a folder with these limits, whose
    /// clock shows `BLOB_FOLDER_NOW`.
    blob_folder_suite of blob_folder {
        a_block_list_needs_room_for_its_blob_beside_its_blocks
        a_block_that_is_put_concurrently_counts_once
        a_blob_is_written_read_replaced_and_deleted
        a_condition_is_checked_when_the_blob_is_written
        a_device_has_a_limit_of_its_own
        blobs_are_listed_in_the_order_of_their_names
        blocks_become_a_blob_in_the_order_of_the_list
        interrupted_and_corrupt_uploads_change_nothing
        stale_blocks_are_removed
        the_folder_never_exceeds_its_limits
    }
}
