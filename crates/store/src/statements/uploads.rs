//! Active uploads, and notifications of successful ones.

use ferrohub_core::files::{
    BeginUploadOutcome, EndUploadOutcome, NotificationLock, QueuedNotification, SettleNotificationOutcome,
    Upload,
};
use ferrohub_model::Timestamp;
use ferrohub_model::file::FileNotification;
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

pub(crate) fn lock_next_file_notification(
    db: &Connection,
    now: Timestamp,
    lock: &NotificationLock,
) -> Result<Option<FileNotification>> {
    expire_file_notifications(db, now, lock.max_deliveries)?;
    let next: Option<i64> = db
        .prepare_cached(
            "SELECT sequence FROM file_notification WHERE locked_until <= ? ORDER BY sequence LIMIT 1",
        )?
        .query_row([now.unix_millis()], |row| row.get(0))
        .optional()?;
    let Some(sequence) = next else { return Ok(None) };
    db.prepare_cached(
        "UPDATE file_notification SET lock_token = ?, locked_until = ?, deliveries = deliveries + 1 \
         WHERE sequence = ? RETURNING device_id, blob_uri, blob, last_updated, bytes, enqueued",
    )?
    .query_row(params![lock.token, lock.until.unix_millis(), sequence], rows::file_notification)
    .optional()
}

pub(crate) fn complete_file_notification(
    db: &Connection,
    token: &str,
    now: Timestamp,
) -> Result<SettleNotificationOutcome> {
    let removed = db
        .prepare_cached("DELETE FROM file_notification WHERE lock_token = ? AND locked_until > ?")?
        .execute(params![token, now.unix_millis()])?;
    Ok(if removed == 1 { SettleNotificationOutcome::Settled } else { SettleNotificationOutcome::LockLost })
}

pub(crate) fn abandon_file_notification(
    db: &Connection,
    token: &str,
    now: Timestamp,
) -> Result<SettleNotificationOutcome> {
    let abandoned = db
        .prepare_cached(
            "UPDATE file_notification SET lock_token = NULL, locked_until = 0 \
             WHERE lock_token = ? AND locked_until > ?",
        )?
        .execute(params![token, now.unix_millis()])?;
    Ok(if abandoned == 1 { SettleNotificationOutcome::Settled } else { SettleNotificationOutcome::LockLost })
}

pub(crate) fn expire_file_notifications(db: &Connection, now: Timestamp, max_deliveries: u32) -> Result<u64> {
    let now = now.unix_millis();
    let removed = db
        .prepare_cached(
            "DELETE FROM file_notification WHERE expires <= ?1 OR (deliveries >= ?2 AND locked_until <= ?1)",
        )?
        .execute(params![now, max_deliveries])?;
    Ok(removed as u64)
}
