//! Import and export jobs.

use std::sync::LazyLock;

use ferrohub_core::import_export::{DeferredLine, Job, JobRecord, JobRun, NewJobOutcome};
use ferrohub_core::registry::Identity;
use ferrohub_core::twins::TwinDocument;
use ferrohub_model::import_export::JobStatus;
use ferrohub_model::{IdentityId, Timestamp};
use rusqlite::{Connection, OptionalExtension as _, Result, params};

use crate::rows::{self, IDENTITY_COLUMNS, TWIN_VALUES, id_columns};

const COLUMNS: &str = "id, status, created, ended, run, request, progress, failure";

pub(crate) fn create_job(db: &Connection, job: &Job, limit: u32) -> Result<NewJobOutcome> {
    let active: u32 = db
        .prepare_cached("SELECT count(*) FROM import_export_job WHERE ended IS NULL")?
        .query_row([], |row| row.get(0))?;
    if active >= limit {
        return Ok(NewJobOutcome::Full);
    }
    db.prepare_cached(&format!("INSERT INTO import_export_job ({COLUMNS}) VALUES (?,?,?,?,?,?,?,?)"))?
        .execute(params![
            job.id,
            job.status.name(),
            job.created.unix_millis(),
            job.ended.map(Timestamp::unix_millis),
            rows::signed(job.run),
            serde_json::to_string(&job.request).unwrap_or_default(),
            serde_json::to_string(&job.progress).unwrap_or_default(),
            job.failure,
        ])?;
    Ok(NewJobOutcome::Created)
}

pub(crate) fn job(db: &Connection, id: &str) -> Result<Option<Job>> {
    db.prepare_cached(&format!("SELECT {COLUMNS} FROM import_export_job WHERE id = ?"))?
        .query_row([id], rows::job)
        .optional()
}

pub(crate) fn jobs(db: &Connection, top: usize) -> Result<Vec<Job>> {
    db.prepare_cached(&format!("SELECT {COLUMNS} FROM import_export_job ORDER BY sequence DESC LIMIT ?"))?
        .query_map([rows::limit(top)], rows::job)?
        .collect()
}

pub(crate) fn next_job(db: &Connection) -> Result<Option<Job>> {
    db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM import_export_job WHERE ended IS NULL ORDER BY sequence LIMIT 1"
    ))?
    .query_row([], rows::job)
    .optional()
}

pub(crate) fn begin_run(db: &Connection, id: &str) -> Result<Option<Job>> {
    db.prepare_cached(&format!(
        "UPDATE import_export_job SET status = ?, run = run + 1 WHERE id = ? AND ended IS NULL RETURNING {COLUMNS}"
    ))?
    .query_row([JobStatus::Running.name(), id], rows::job)
    .optional()
}

/// Returns the row of a job, if this run is its present one.
fn row_of_run(db: &Connection, run: &JobRun) -> Result<Option<i64>> {
    db.prepare_cached("SELECT sequence FROM import_export_job WHERE id = ? AND run = ? AND ended IS NULL")?
        .query_row(params![run.job, rows::signed(run.run)], |row| row.get(0))
        .optional()
}

pub(crate) fn is_current_run(db: &Connection, run: &JobRun) -> Result<bool> {
    Ok(row_of_run(db, run)?.is_some())
}

pub(crate) fn record_run(db: &Connection, run: &JobRun, record: &JobRecord) -> Result<bool> {
    let Some(job) = row_of_run(db, run)? else { return Ok(false) };
    db.prepare_cached("UPDATE import_export_job SET progress = ? WHERE sequence = ?")?
        .execute(params![serde_json::to_string(&record.progress).unwrap_or_default(), job])?;
    if !record.errors.is_empty() {
        let first: i64 = db
            .prepare_cached("SELECT coalesce(max(number) + 1, 0) FROM import_export_error WHERE job = ?")?
            .query_row([job], |row| row.get(0))?;
        let mut insert =
            db.prepare_cached("INSERT INTO import_export_error (job, number, line) VALUES (?, ?, ?)")?;
        for (number, line) in (first..).zip(&record.errors) {
            insert.execute(params![job, number, line])?;
        }
    }
    let mut insert = db.prepare_cached(
        "INSERT OR REPLACE INTO import_export_deferred (job, number, line) VALUES (?, ?, ?)",
    )?;
    for line in &record.deferred {
        insert.execute(params![job, rows::signed(line.number), line.text])?;
    }
    let mut delete = db.prepare_cached("DELETE FROM import_export_deferred WHERE job = ? AND number = ?")?;
    for number in &record.resolved {
        delete.execute(params![job, rows::signed(*number)])?;
    }
    Ok(true)
}

pub(crate) fn end_run(db: &Connection, run: &JobRun, failure: Option<&str>, now: Timestamp) -> Result<bool> {
    let Some(job) = row_of_run(db, run)? else { return Ok(false) };
    let status = if failure.is_some() { JobStatus::Failed } else { JobStatus::Completed };
    end(db, job, status, failure, now)?;
    Ok(true)
}

pub(crate) fn cancel_job(db: &Connection, id: &str, now: Timestamp) -> Result<Option<Job>> {
    let active: Option<i64> = db
        .prepare_cached("SELECT sequence FROM import_export_job WHERE id = ? AND ended IS NULL")?
        .query_row([id], |row| row.get(0))
        .optional()?;
    if let Some(active) = active {
        end(db, active, JobStatus::Cancelled, None, now)?;
    }
    job(db, id)
}

/// Cancels all jobs that have not ended.
pub(crate) fn cancel_all_import_export_jobs(db: &Connection, now: Timestamp) -> Result<()> {
    let active: Vec<i64> = db
        .prepare("SELECT sequence FROM import_export_job WHERE ended IS NULL")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_>>()?;
    active.into_iter().try_for_each(|job| end(db, job, JobStatus::Cancelled, None, now))
}

fn end(db: &Connection, job: i64, status: JobStatus, failure: Option<&str>, now: Timestamp) -> Result<()> {
    db.prepare_cached("UPDATE import_export_job SET status = ?, failure = ?, ended = ? WHERE sequence = ?")?
        .execute(params![status.name(), failure, now.unix_millis(), job])?;
    db.prepare_cached("DELETE FROM import_export_error WHERE job = ?")?.execute([job])?;
    db.prepare_cached("DELETE FROM import_export_deferred WHERE job = ?")?.execute([job])?;
    Ok(())
}

pub(crate) fn job_errors(db: &Connection, id: &str, skip: u64, top: usize) -> Result<Vec<String>> {
    db.prepare_cached(
        "SELECT line FROM import_export_error WHERE number >= ?2 AND \
         job = (SELECT sequence FROM import_export_job WHERE id = ?1) ORDER BY number LIMIT ?3",
    )?
    .query_map(params![id, rows::signed(skip), rows::limit(top)], |row| row.get(0))?
    .collect()
}

pub(crate) fn deferred_lines(db: &Connection, id: &str, after: u64, top: usize) -> Result<Vec<DeferredLine>> {
    db.prepare_cached(
        "SELECT number, line FROM import_export_deferred WHERE number > ?2 AND \
         job = (SELECT sequence FROM import_export_job WHERE id = ?1) ORDER BY number LIMIT ?3",
    )?
    .query_map(params![id, rows::signed(after), rows::limit(top)], |row| {
        Ok(DeferredLine { number: rows::u64_column(row, 0)?, text: row.get(1)? })
    })?
    .collect()
}

pub(crate) fn expire_jobs(db: &Connection, before: Timestamp) -> Result<u64> {
    let deleted = db
        .prepare_cached("DELETE FROM import_export_job WHERE ended <= ?")?
        .execute([before.unix_millis()])?;
    Ok(deleted as u64)
}

pub(crate) fn identities_with_twins(
    db: &Connection,
    after: Option<&IdentityId>,
    top: usize,
) -> Result<Vec<(Identity, TwinDocument)>> {
    // The module id of a device is empty, so it comes before those of its modules.
    static SELECT: LazyLock<String> = LazyLock::new(|| {
        format!(
            "SELECT {IDENTITY_COLUMNS}, {TWIN_VALUES} FROM identity LEFT JOIN twin USING (device_id, module_id) \
             WHERE (device_id, module_id) > (?, ?) ORDER BY device_id, module_id LIMIT ?"
        )
    });
    let (device, module) = after.map_or(("", ""), id_columns);
    let read = |row: &rusqlite::Row<'_>| Ok((rows::identity(row)?.0, rows::twin(row)?.unwrap_or_default()));
    db.prepare_cached(&SELECT)?.query_map(params![device, module, rows::limit(top)], read)?.collect()
}
