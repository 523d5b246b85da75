//! Feedback on messages.

use std::sync::LazyLock;

use ferrohub_core::cloud_to_device::{FeedbackOptions, StoredFeedback};
use ferrohub_model::Timestamp;
use ferrohub_model::message::{Ack, FeedbackStatus};
use rusqlite::{Connection, Result, params};

use crate::rows::{self, FEEDBACK_COLUMNS};

/// Stores feedback on a message that is about to be settled, if its sender asked for it.
pub(super) fn insert_feedback(
    db: &Connection,
    sequence: u64,
    status: FeedbackStatus,
    options: FeedbackOptions,
) -> Result<()> {
    let wanted_by = match status {
        FeedbackStatus::Success => Ack::Positive,
        _ => Ack::Negative,
    };
    let inserted = db
        .prepare_cached(
            "INSERT INTO feedback (device_id, module_id, generation_id, message_id, status, enqueued, expiry, \
             delivery_count) SELECT device_id, module_id, generation_id, message_id, ?, ?, ?, 0 \
             FROM message JOIN identity USING (device_id, module_id) WHERE sequence = ? AND ack & ? <> 0",
        )?
        .execute(params![
            rows::feedback_status_number(status),
            options.now.unix_millis(),
            options.expiry.unix_millis(),
            sequence.cast_signed(),
            rows::ack_bits(wanted_by),
        ])?;
    if inserted > 0 {
        // Sequence numbers are unique, so the newest `limit` numbers cover at most `limit` records.
        db.prepare_cached("DELETE FROM feedback WHERE sequence <= ?")?
            .execute([db.last_insert_rowid().saturating_sub(options.limit.cast_signed())])?;
    }
    Ok(())
}

pub(crate) fn feedback(db: &Connection, after: u64, top: usize) -> Result<Vec<StoredFeedback>> {
    static SELECT: LazyLock<String> = LazyLock::new(|| {
        format!("SELECT {FEEDBACK_COLUMNS} FROM feedback WHERE sequence > ? ORDER BY sequence LIMIT ?")
    });
    let mut select = db.prepare_cached(&SELECT)?;
    let found = select.query_map(params![after.cast_signed(), rows::limit(top)], rows::feedback)?;
    found.collect()
}

pub(crate) fn complete_feedback(db: &Connection, sequences: &[u64]) -> Result<()> {
    let mut delete = db.prepare_cached("DELETE FROM feedback WHERE sequence = ?")?;
    for sequence in sequences {
        delete.execute([sequence.cast_signed()])?;
    }
    Ok(())
}

pub(crate) fn abandon_feedback(db: &Connection, sequences: &[u64], max_deliveries: u32) -> Result<()> {
    let mut count =
        db.prepare_cached("UPDATE feedback SET delivery_count = delivery_count + 1 WHERE sequence = ?")?;
    let mut delete = db.prepare_cached("DELETE FROM feedback WHERE sequence = ? AND delivery_count >= ?")?;
    for sequence in sequences {
        count.execute([sequence.cast_signed()])?;
        delete.execute(params![sequence.cast_signed(), max_deliveries])?;
    }
    Ok(())
}

pub(crate) fn expire_feedback(db: &Connection, now: Timestamp) -> Result<u64> {
    let expired =
        db.prepare_cached("DELETE FROM feedback WHERE expiry <= ?")?.execute([now.unix_millis()])?;
    Ok(expired as u64)
}
