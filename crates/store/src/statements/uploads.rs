//! Active uploads, and notifications of successful ones.

use ferrohub_core::files::{
    BeginUploadOutcome, EndUploadOutcome, QueuedNotification, StoredNotification, Upload,
};
use ferrohub_model::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Result, params};

use crate::rows;

pub(crate) fn begin_upload(
    db: &Connection,
    upload: &Upload,
    now: Timestamp,
    limit: u32,
) -> Result<BeginUploadOutcome> {
    let device = upload.blob.device();
    let device_exists = db
        .prepare_cached("SELECT 1 FROM identity WHERE device_id = ? AND module_id = ''")?
        .exists([device])?;
    if !device_exists {
        return Ok(BeginUploadOutcome::NotFound);
    }
    let active: u32 = db
        .prepare_cached("SELECT count(*) FROM upload WHERE device_id = ? AND module_id = '' AND expires > ?")?
        .query_row(params![device, now.unix_millis()], |row| row.get(0))?;
    if active >= limit {
        return Ok(BeginUploadOutcome::Full);
    }
    db.prepare_cached("INSERT INTO upload (correlation_id, device_id, blob, expires) VALUES (?, ?, ?, ?)")?
        .execute(params![upload.correlation_id, device, upload.blob.as_str(), upload.expires.unix_millis()])?;
    Ok(BeginUploadOutcome::Begun)
}

pub(crate) fn upload(db: &Connection, correlation_id: &str) -> Result<Option<Upload>> {
    db.prepare_cached("SELECT correlation_id, blob, expires FROM upload WHERE correlation_id = ?")?
        .query_row([correlation_id], rows::upload)
        .optional()
}

pub(crate) fn end_upload(
    db: &Connection,
    correlation_id: &str,
    notification: Option<&QueuedNotification>,
) -> Result<EndUploadOutcome> {
    let ended =
        db.prepare_cached("DELETE FROM upload WHERE correlation_id = ?")?.execute([correlation_id])?;
    if ended == 0 {
        return Ok(EndUploadOutcome::NotFound);
    }
    if let Some(QueuedNotification { notification, expires, limit }) = notification {
        db.prepare_cached(
            "INSERT INTO file_notification (device_id, blob, blob_uri, bytes, last_updated, enqueued, expires) \
             VALUES (?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            notification.device_id,
            notification.blob_name,
            notification.blob_uri,
            i64::try_from(notification.blob_size_in_bytes).unwrap_or(i64::MAX),
            notification.last_updated_time.unix_millis(),
            notification.enqueued_time_utc.unix_millis(),
            expires.unix_millis(),
        ])?;
        db.prepare_cached(
            "DELETE FROM file_notification WHERE sequence <= \
             (SELECT sequence FROM file_notification ORDER BY sequence DESC LIMIT 1 OFFSET ?)",
        )?
        .execute([limit])?;
    }
    Ok(EndUploadOutcome::Ended)
}

pub(crate) fn expire_uploads(
    db: &Connection,
    now: Timestamp,
    remove_before: Timestamp,
    top: usize,
) -> Result<Vec<Upload>> {
    let expired = db
        .prepare_cached(
            "UPDATE upload SET expired = 1 WHERE correlation_id IN \
             (SELECT correlation_id FROM upload WHERE expired = 0 AND expires <= ? ORDER BY expires LIMIT ?) \
             RETURNING correlation_id, blob, expires",
        )?
        .query_map(params![now.unix_millis(), i64::try_from(top).unwrap_or(i64::MAX)], rows::upload)?
        .collect::<Result<Vec<_>>>()?;
    db.prepare_cached("DELETE FROM upload WHERE expired AND expires <= ?")?
        .execute([remove_before.unix_millis()])?;
    Ok(expired)
}

pub(crate) fn file_notifications(
    db: &Connection,
    now: Timestamp,
    after: u64,
    top: usize,
) -> Result<Vec<StoredNotification>> {
    let mut select = db.prepare_cached(
        "SELECT sequence, deliveries, device_id, blob_uri, blob, last_updated, bytes, enqueued \
         FROM file_notification WHERE sequence > ? AND expires > ? ORDER BY sequence LIMIT ?",
    )?;
    let found = select.query_map(
        params![after.cast_signed(), now.unix_millis(), rows::limit(top)],
        rows::file_notification,
    )?;
    found.collect()
}

pub(crate) fn count_file_notification_delivery(db: &Connection, sequence: u64) -> Result<bool> {
    let counted = db
        .prepare_cached("UPDATE file_notification SET deliveries = deliveries + 1 WHERE sequence = ?")?
        .execute([sequence.cast_signed()])?;
    Ok(counted == 1)
}

pub(crate) fn complete_file_notifications(db: &Connection, sequences: &[u64]) -> Result<u64> {
    let mut delete = db.prepare_cached("DELETE FROM file_notification WHERE sequence = ?")?;
    let mut completed = 0;
    for sequence in sequences {
        completed += delete.execute([sequence.cast_signed()])? as u64;
    }
    Ok(completed)
}

pub(crate) fn expire_file_notifications(db: &Connection, now: Timestamp) -> Result<u64> {
    let removed = db
        .prepare_cached("DELETE FROM file_notification WHERE expires <= ?")?
        .execute([now.unix_millis()])?;
    Ok(removed as u64)
}
