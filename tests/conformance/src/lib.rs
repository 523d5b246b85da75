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
pub mod changes;
mod event_log;
mod fixture;
pub mod samples;
mod store;
mod suite;

pub use blob_folder::{Chunks, NOW as BLOB_FOLDER_NOW};
pub use fixture::Fixture;

use store::{
    change_groups, configurations, connections, files, import_export, jobs, leases, messages, queries,
    registry, settings, twins,
};

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

suite::suite! { ($)
    /// A part of [`store_suite`].
    change_group_suite of change_groups {
        a_closed_store_returns_closed
        a_device_and_its_modules_change_together_or_not_at_all
        a_refused_group_does_not_affect_the_others
        an_existing_id_cannot_be_created_again
        an_identity_and_its_twin_are_written_together_or_not_at_all
        an_update_needs_the_etag_and_keeps_session_and_activity
        deleting_a_device_also_deletes_its_modules_and_session
        limits_count_devices_and_the_modules_of_each
    }
}

suite::suite! { ($)
    /// A part of [`store_suite`].
    configuration_suite of configurations {
        a_configuration_is_written_only_at_the_expected_revision
        configurations_are_read_back_in_the_order_of_their_ids
        devices_are_read_with_their_modules_and_twins
        the_position_of_a_sweep_is_kept
    }
}

suite::suite! { ($)
    /// A part of [`store_suite`].
    connection_suite of connections {
        all_connected_identities_are_marked_as_disconnected
        sessions_and_activity_are_stored
    }
}

suite::suite! { ($)
    /// A part of [`store_suite`].
    file_suite of files {
        a_device_has_a_limit_of_uploads_and_each_ends_once
        notifications_are_read_in_order_without_the_expired
        notifications_are_counted_and_completed
        a_signing_key_is_added_only_after_the_newest_one_that_its_node_knows
        blobs_are_written_replaced_listed_and_deleted
        only_the_newest_signing_keys_are_kept
    }
}

suite::suite! { ($)
    /// A part of [`store_suite`].
    import_export_suite of import_export {
        all_identities_are_read_in_pages_each_device_before_its_modules
        errors_and_deferred_lines_are_kept_until_the_job_ends
        identities_and_the_progress_of_a_job_are_one_commit
        jobs_are_read_back_and_a_limited_number_is_active
        only_the_present_run_of_a_job_writes
    }
}

suite::suite! { ($)
    /// A part of [`store_suite`].
    job_suite of jobs {
        a_job_is_read_back_as_it_was_created
        a_job_is_taken_when_it_is_due_by_one_holder
        a_row_begins_and_ends_once
        a_twin_and_its_row_change_together_or_not_at_all
        after_a_cancellation_nothing_begins_and_what_has_begun_ends
        an_ended_job_with_running_rows_is_taken_until_they_have_ended
        devices_are_selected_in_pages_and_each_has_one_row
        jobs_are_listed_the_newest_first_and_bounded_by_number_and_size
        old_jobs_are_removed_row_by_row_and_others_stay
        writes_with_a_lost_lease_change_nothing
    }
}

suite::suite! { ($)
    /// A part of [`store_suite`].
    lease_suite of leases {
        a_holder_gets_its_own_lease_again_with_a_larger_fence
        a_lease_has_one_holder_until_it_expires
        a_lease_is_renewed_and_released_only_by_its_holder
    }
}

suite::suite! { ($)
    /// A part of [`store_suite`].
    message_suite of messages {
        a_message_that_is_abandoned_too_often_is_dead_lettered
        a_purge_removes_all_messages_of_one_queue
        a_queue_belongs_to_an_identity_and_has_a_limit
        a_sequence_number_is_never_reused
        expired_messages_are_found_in_the_order_of_their_expiry
        feedback_is_removed_when_it_is_completed_abandoned_too_often_or_expired
        feedback_is_stored_once_and_only_if_the_sender_asked_for_it
        messages_and_feedback_are_deleted_with_their_device
        messages_are_read_back_unchanged_in_the_order_of_their_queue
        messages_that_are_enqueued_together_keep_their_order
        the_oldest_feedback_is_removed_at_the_limit
    }
}

suite::suite! { ($)
    /// A part of [`store_suite`].
    query_suite of queries {
        a_query_sees_devices_or_modules_and_the_live_state
        the_first_continuation_key_stays
        the_pages_of_a_query_have_each_row_once_in_order
    }
}

suite::suite! { ($)
    /// A part of [`store_suite`].
    registry_suite of registry {
        a_stored_identity_is_read_back_unchanged
        device_counts_follow_every_change
        devices_are_filtered_by_prefix_and_connection_state
        devices_are_listed_in_order_without_modules
        the_modules_of_a_device_are_listed_in_order
    }
}

suite::suite! { ($)
    /// A part of [`store_suite`].
    settings_suite of settings {
        policies_and_authorities_are_stored_by_name
    }
}

suite::suite! { ($)
    /// A part of [`store_suite`].
    twin_suite of twins {
        a_changed_twin_is_read_back
        a_twin_is_deleted_with_its_identity
        concurrent_changes_of_one_twin_are_all_applied
    }
}

/// Runs the suite of the port `Store`. Takes the name of a function that opens a store.
#[macro_export]
macro_rules! store_suite {
    ($open:ident) => {
        mod change_groups {
            $crate::change_group_suite!(super::$open);
        }
        mod configurations {
            $crate::configuration_suite!(super::$open);
        }
        mod connections {
            $crate::connection_suite!(super::$open);
        }
        mod files {
            $crate::file_suite!(super::$open);
        }
        mod import_export {
            $crate::import_export_suite!(super::$open);
        }
        mod jobs {
            $crate::job_suite!(super::$open);
        }
        mod leases {
            $crate::lease_suite!(super::$open);
        }
        mod messages {
            $crate::message_suite!(super::$open);
        }
        mod queries {
            $crate::query_suite!(super::$open);
        }
        mod registry {
            $crate::registry_suite!(super::$open);
        }
        mod settings {
            $crate::settings_suite!(super::$open);
        }
        mod twins {
            $crate::twin_suite!(super::$open);
        }
    };
}
