//! Messages to devices and modules.

use std::sync::LazyLock;

use ferrohub_core::cloud_to_device::{
    AbandonOutcome, EnqueueOutcome, ExpiredMessage, FeedbackOptions, NewMessage, QueueEntry, StoredMessage,
};
use ferrohub_core::delivery::is_exhausted;
use ferrohub_model::message::FeedbackStatus;
use ferrohub_model::{IdentityId, Timestamp};
use rusqlite::{Connection, OptionalExtension as _, Result, params};

use super::feedback::insert_feedback;
use crate::rows::{self, MESSAGE_COLUMNS, id_columns};

pub(crate) fn enqueue_messages(
    db: &Connection,
    messages: &[NewMessage],
    limit: u32,
) -> Result<Vec<EnqueueOutcome>> {
    messages.iter().map(|message| enqueue_message(db, message, limit)).collect()
}

fn enqueue_message(db: &Connection, message: &NewMessage, limit: u32) -> Result<EnqueueOutcome> {
    let (device, module) = id_columns(&message.id);
    match message_count_of(db, &message.id)? {
        None => return Ok(EnqueueOutcome::NotFound),
        Some(waiting) if waiting >= limit => return Ok(EnqueueOutcome::Full),
        Some(_) => {}
    }
    db.prepare_cached(
        "INSERT INTO message (device_id, module_id, enqueued, expiry, delivery_count, ack, message_id, input, \
         size, properties, body) VALUES (?, ?, ?, ?, 0, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        device,
        module,
        message.enqueued.unix_millis(),
        message.expiry.unix_millis(),
        rows::ack_bits(message.ack),
        message.properties.get(ferrohub_model::message::SystemProperty::MessageId),
        message.input,
        (message.properties.size() + message.body.len()) as u64 as i64,
        message.properties.to_string(),
        &message.body[..],
    ])?;
    Ok(EnqueueOutcome::Done(db.last_insert_rowid().unsigned_abs()))
}

pub(crate) fn queued_messages(db: &Connection, id: &IdentityId) -> Result<Vec<QueueEntry>> {
    db.prepare_cached(
        "SELECT sequence, expiry, size, input IS NOT NULL FROM message WHERE device_id = ? AND module_id = ? \
         ORDER BY sequence",
    )?
    .query_map(<[&str; 2]>::from(id_columns(id)), |row| {
        Ok(QueueEntry {
            sequence: rows::u64_column(row, 0)?,
            expiry: rows::time(row, 1)?,
            size: rows::u64_column(row, 2)? as usize,
            is_input: row.get(3)?,
        })
    })?
    .collect()
}

pub(crate) fn messages(db: &Connection, sequences: &[u64]) -> Result<Vec<StoredMessage>> {
    static SELECT: LazyLock<String> =
        LazyLock::new(|| format!("SELECT {MESSAGE_COLUMNS} FROM message WHERE sequence = ?"));
    let mut select = db.prepare_cached(&SELECT)?;
    let found = sequences
        .iter()
        .map(|sequence| select.query_row([sequence.cast_signed()], rows::message).optional().transpose());
    found.flatten().collect()
}

pub(crate) fn settle_messages(
    db: &Connection,
    sequences: &[u64],
    status: FeedbackStatus,
    options: FeedbackOptions,
) -> Result<u64> {
    let mut settled = 0;
    for sequence in sequences {
        settled += u64::from(settle_message(db, *sequence, status, options)?);
    }
    Ok(settled)
}

fn settle_message(
    db: &Connection,
    sequence: u64,
    status: FeedbackStatus,
    options: FeedbackOptions,
) -> Result<bool> {
    insert_feedback(db, sequence, status, options)?;
    let deleted =
        db.prepare_cached("DELETE FROM message WHERE sequence = ?")?.execute([sequence.cast_signed()])?;
    Ok(deleted == 1)
}

pub(crate) fn abandon_message(
    db: &Connection,
    sequence: u64,
    max_deliveries: u32,
    options: FeedbackOptions,
) -> Result<AbandonOutcome> {
    let count: Option<u32> = db
        .prepare_cached(
            "UPDATE message SET delivery_count = delivery_count + 1 WHERE sequence = ? RETURNING delivery_count",
        )?
        .query_row([sequence.cast_signed()], |row| row.get(0))
        .optional()?;
    Ok(match count {
        None => AbandonOutcome::NotFound,
        Some(count) if !is_exhausted(count, max_deliveries) => AbandonOutcome::Requeued,
        Some(_) => {
            settle_message(db, sequence, FeedbackStatus::DeliveryCountExceeded, options)?;
            AbandonOutcome::DeadLettered
        }
    })
}

pub(crate) fn purge_messages(
    db: &Connection,
    id: &IdentityId,
    options: FeedbackOptions,
) -> Result<Option<u64>> {
    if message_count_of(db, id)?.is_none() {
        return Ok(None);
    }
    let sequences: Vec<u64> = queued_messages(db, id)?.iter().map(|message| message.sequence).collect();
    settle_messages(db, &sequences, FeedbackStatus::Purged, options).map(Some)
}

pub(crate) fn expired_messages(
    db: &Connection,
    now: Timestamp,
    after: (Timestamp, u64),
    top: usize,
) -> Result<Vec<ExpiredMessage>> {
    db.prepare_cached(
        "SELECT sequence, expiry, device_id, module_id FROM message \
         WHERE expiry <= ? AND (expiry, sequence) > (?, ?) ORDER BY expiry, sequence LIMIT ?",
    )?
    .query_map(
        params![
            now.unix_millis(),
            after.0.unix_millis(),
            after.1.cast_signed(),
            i64::try_from(top).unwrap_or(i64::MAX)
        ],
        |row| {
            Ok(ExpiredMessage {
                sequence: rows::u64_column(row, 0)?,
                expiry: rows::time(row, 1)?,
                id: rows::id(row, 2, 3)?,
            })
        },
    )?
    .collect()
}

pub(crate) fn next_expiry(db: &Connection, now: Timestamp) -> Result<Option<Timestamp>> {
    let first = |table: &str| {
        db.prepare_cached(&format!("SELECT min(expiry) FROM {table} WHERE expiry > ?"))?
            .query_row([now.unix_millis()], |row| row.get::<_, Option<i64>>(0))
    };
    let (message, feedback) = (first("message")?, first("feedback")?);
    Ok(message.into_iter().chain(feedback).min().map(Timestamp::from_unix_millis))
}

/// Returns the number of messages of all identities.
pub(crate) fn message_count(db: &Connection) -> Result<i64> {
    db.prepare_cached("SELECT messages FROM registry_size")?.query_row([], |row| row.get(0))
}

/// Returns the number of messages in the queue of an identity; `None` if the identity does not exist.
fn message_count_of(db: &Connection, id: &IdentityId) -> Result<Option<u32>> {
    db.prepare_cached("SELECT messages FROM identity WHERE device_id = ? AND module_id = ?")?
        .query_row(<[&str; 2]>::from(id_columns(id)), |row| row.get(0))
        .optional()
}
