//! The catalogue of the blob folder, and the keys that sign its URLs.

use ferrohub_core::files::{Blob, BlobWriteOutcome, Condition, StoredBlob, StoredSigningKey};
use ferrohub_model::Timestamp;
use ferrohub_model::file::BlobName;
use rusqlite::{Connection, OptionalExtension as _, Result, params};

use crate::rows;

pub(crate) fn blob(db: &Connection, name: &BlobName) -> Result<Option<StoredBlob>> {
    db.prepare_cached("SELECT name, bytes, etag, modified, properties, file FROM blob WHERE name = ?")?
        .query_row([name.as_str()], |row| Ok(StoredBlob { blob: rows::blob(row)?, file: row.get(5)? }))
        .optional()
}

pub(crate) fn blobs(
    db: &Connection,
    device: Option<&str>,
    after: Option<&str>,
    top: usize,
) -> Result<Vec<Blob>> {
    // `0` is the character after `/`: the range contains all names that begin with `{device}/`.
    let (from, to) = match device {
        Some(device) => (format!("{device}/"), format!("{device}0")),
        None => (String::new(), char::MAX.to_string()),
    };
    db.prepare_cached(
        "SELECT name, bytes, etag, modified, properties FROM blob \
         WHERE name >= ? AND name < ? AND name > ? ORDER BY name LIMIT ?",
    )?
    .query_map(
        params![from, to, after.unwrap_or_default(), i64::try_from(top).unwrap_or(i64::MAX)],
        rows::blob,
    )?
    .collect()
}

pub(crate) fn put_blob(db: &Connection, new: &StoredBlob, condition: &Condition) -> Result<BlobWriteOutcome> {
    let old = blob(db, &new.blob.name)?;
    if let Err(failed) = condition.check(old.as_ref().map(|old| &old.blob)) {
        return Ok(BlobWriteOutcome::Refused(failed));
    }
    let Blob { name, bytes, etag, modified, properties } = &new.blob;
    db.prepare_cached(
        "INSERT OR REPLACE INTO blob (name, file, bytes, etag, modified, properties) VALUES (?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        name.as_str(),
        new.file,
        i64::try_from(*bytes).unwrap_or(i64::MAX),
        etag,
        modified.unix_millis(),
        serde_json::to_string(properties).unwrap_or_default(),
    ])?;
    Ok(BlobWriteOutcome::Done(old))
}

pub(crate) fn delete_blob(
    db: &Connection,
    name: &BlobName,
    condition: &Condition,
) -> Result<BlobWriteOutcome> {
    let Some(old) = blob(db, name)? else { return Ok(BlobWriteOutcome::Done(None)) };
    if let Err(failed) = condition.check(Some(&old.blob)) {
        return Ok(BlobWriteOutcome::Refused(failed));
    }
    db.prepare_cached("DELETE FROM blob WHERE name = ?")?.execute([name.as_str()])?;
    Ok(BlobWriteOutcome::Done(Some(old)))
}

pub(crate) fn blob_files(
    db: &Connection,
    after: Option<&BlobName>,
    top: usize,
) -> Result<Vec<(String, BlobName)>> {
    let (after, top) = (after.map_or("", BlobName::as_str), i64::try_from(top).unwrap_or(i64::MAX));
    db.prepare_cached("SELECT file, name FROM blob WHERE name > ? ORDER BY name LIMIT ?")?
        .query_map(params![after, top], |row| Ok((row.get(0)?, rows::blob_name(row, 1)?)))?
        .collect()
}

pub(crate) fn signing_keys(db: &Connection) -> Result<Vec<StoredSigningKey>> {
    db.prepare_cached("SELECT key, made FROM blob_key ORDER BY made DESC")?
        .query_map([], rows::signing_key)?
        .collect()
}

pub(crate) fn save_signing_key(
    db: &Connection,
    key: &StoredSigningKey,
    replaces: Option<Timestamp>,
    keep: usize,
) -> Result<bool> {
    let newest: Option<i64> =
        db.prepare_cached("SELECT max(made) FROM blob_key")?.query_row([], |row| row.get(0))?;
    if newest != replaces.map(Timestamp::unix_millis) {
        return Ok(false);
    }
    db.prepare_cached("INSERT OR REPLACE INTO blob_key (made, key) VALUES (?, ?)")?
        .execute(params![Timestamp::unix_millis(key.created), key.key.to_base64()])?;
    db.prepare_cached(
        "DELETE FROM blob_key WHERE made NOT IN (SELECT made FROM blob_key ORDER BY made DESC LIMIT ?)",
    )?
    .execute([i64::try_from(keep).unwrap_or(i64::MAX)])?;
    Ok(true)
}
