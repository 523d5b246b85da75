//! Jobs and their rows.

use std::sync::Arc;

use ferrohub_core::jobs::{
    AddedDevices, ChangedDevices, CreateJobOutcome, DeviceChange, DeviceEnd, DeviceState, FoundJobs, HeldJob,
    JobAction, JobCounts, JobDefinition, JobDevice, JobEnd, JobLease, JobPhase, JobRow, JobsRequest,
    StoredJob, TakeJobs,
};
use ferrohub_core::store::Refusal;
use ferrohub_model::job::JobType;
use ferrohub_model::{DeviceId, IdentityId, JobId, Timestamp};
use rusqlite::types::Value as SqlValue;
use rusqlite::{Connection, OptionalExtension as _, Result, Row, params, params_from_iter};

use crate::rows::{self, id_columns};

/// The columns of a job without its large parts, in the order in which [`job_head`] reads them.
pub(crate) const JOB_COLUMNS: [&str; 14] = [
    "number",
    "id",
    "type",
    "phase",
    "created",
    "start",
    "deadline",
    "ended",
    "failure",
    "pending",
    "waiting",
    "running",
    "completed",
    "failed",
];

/// The columns of a row, in the order in which [`job_row`] reads them.
pub(crate) const ROW_COLUMNS: [&str; 8] =
    ["device_id", "module_id", "state", "updated", "status", "payload", "error", "description"];

/// Reads a job from a row that has [`JOB_COLUMNS`] at the start. The condition and the action are empty.
pub(crate) fn job_head(row: &Row<'_>) -> Result<StoredJob> {
    let id: String = row.get(1)?;
    let job_type = match row.get::<_, i64>(2)? {
        0 => JobType::UpdateTwin,
        1 => JobType::DeviceMethod,
        other => return Err(rows::conversion_error(2, format!("unknown type of job {other}"))),
    };
    let phase_number: i64 = row.get(3)?;
    let phase = JobPhase::ALL.into_iter().find(|phase| *phase as i64 == phase_number);
    let count = |column: usize| rows::u64_column(row, column);
    Ok(StoredJob {
        number: rows::u64_column(row, 0)?,
        definition: Arc::new(JobDefinition {
            id: JobId::new(&id).map_err(|error| rows::conversion_error(1, error))?,
            action: JobAction { job_type, body: String::new() },
            condition: String::new(),
            created: rows::time(row, 4)?,
            start: rows::time(row, 5)?,
            deadline: rows::time(row, 6)?,
        }),
        phase: phase.ok_or_else(|| rows::conversion_error(3, format!("unknown phase {phase_number}")))?,
        ended: row.get::<_, Option<i64>>(7)?.map(Timestamp::from_unix_millis),
        failure: row.get(8)?,
        counts: JobCounts {
            pending: count(9)?,
            waiting: count(10)?,
            running: count(11)?,
            completed: count(12)?,
            failed: count(13)?,
        },
    })
}

/// Reads a row of a job from columns that begin with this one.
pub(crate) fn job_row(row: &Row<'_>, first: usize) -> Result<JobRow> {
    let state = device_state(row, first + 2)?;
    let status: Option<i32> = row.get(first + 4)?;
    let error: Option<String> = row.get(first + 6)?;
    let end = match (state, status, error) {
        (_, _, Some(code)) => Some(DeviceEnd::Failed {
            code,
            description: row.get::<_, Option<String>>(first + 7)?.unwrap_or_default(),
        }),
        (_, Some(status), None) => Some(DeviceEnd::Answered {
            status,
            payload: row.get::<_, Option<String>>(first + 5)?.unwrap_or_default(),
        }),
        (DeviceState::Completed, None, None) => Some(DeviceEnd::Changed),
        _ => None,
    };
    Ok(JobRow { id: rows::id(row, first, first + 1)?, state, updated: rows::time(row, first + 3)?, end })
}

fn device_state(row: &Row<'_>, column: usize) -> Result<DeviceState> {
    let number: i64 = row.get(column)?;
    let state = DeviceState::ALL.into_iter().find(|state| *state as i64 == number);
    state.ok_or_else(|| rows::conversion_error(column, format!("unknown state {number}")))
}

/// Reads a whole job: [`JOB_COLUMNS`], condition and action.
fn job_with_text(row: &Row<'_>) -> Result<StoredJob> {
    let mut job = job_head(row)?;
    let definition = Arc::make_mut(&mut job.definition);
    definition.condition = row.get(JOB_COLUMNS.len())?;
    definition.action.body = row.get(JOB_COLUMNS.len() + 1)?;
    Ok(job)
}

fn select_jobs(rest: &str) -> String {
    let columns = JOB_COLUMNS.map(|column| format!("j.{column}")).join(", ");
    format!(
        "SELECT {columns}, t.condition, t.action FROM job AS j JOIN job_text AS t ON t.number = j.number {rest}"
    )
}

pub(crate) fn create_job(db: &Connection, job: &JobDefinition, limit: u64) -> Result<CreateJobOutcome> {
    if db.prepare_cached("SELECT 1 FROM job WHERE id = ?")?.exists([job.id.as_str()])? {
        return Ok(CreateJobOutcome::Exists);
    }
    let active: i64 = db
        .prepare_cached("SELECT count(*) FROM job WHERE (phase < 3 OR running > 0) AND phase < 3")?
        .query_row([], |row| row.get(0))?;
    if active.unsigned_abs() >= limit {
        return Ok(CreateJobOutcome::Full);
    }
    let job_type = match job.action.job_type {
        JobType::UpdateTwin => 0,
        JobType::DeviceMethod => 1,
    };
    db.prepare_cached(
        "INSERT INTO job (id, type, phase, created, start, deadline) VALUES (?, ?, 0, ?, ?, ?)",
    )?
    .execute(params![
        job.id.as_str(),
        job_type,
        job.created.unix_millis(),
        job.start.unix_millis(),
        job.deadline.unix_millis()
    ])?;
    let number = db.last_insert_rowid();
    db.prepare_cached("INSERT INTO job_text (number, condition, action) VALUES (?, ?, ?)")?
        .execute(params![number, job.condition, job.action.body])?;
    Ok(CreateJobOutcome::Created(StoredJob {
        number: number.unsigned_abs(),
        definition: Arc::new(job.clone()),
        phase: JobPhase::Waiting,
        ended: None,
        failure: None,
        counts: JobCounts::default(),
    }))
}

pub(crate) fn job(db: &Connection, id: &JobId) -> Result<Option<StoredJob>> {
    db.prepare_cached(&select_jobs("WHERE j.id = ?"))?.query_row([id.as_str()], job_with_text).optional()
}

fn job_by_number(db: &Connection, number: u64) -> Result<StoredJob> {
    db.prepare_cached(&select_jobs("WHERE j.number = ?"))?.query_row([rows::signed(number)], job_with_text)
}

pub(crate) fn jobs(db: &Connection, request: &JobsRequest) -> Result<FoundJobs> {
    let mut conditions = vec!["TRUE".to_owned()];
    let mut parameters: Vec<SqlValue> = Vec::new();
    if let Some(before) = request.before {
        conditions.push("j.number < ?".to_owned());
        parameters.push(rows::signed(before).into());
    }
    if let Some(job_type) = request.job_type {
        conditions.push("j.type = ?".to_owned());
        parameters.push(i64::from(job_type == JobType::DeviceMethod).into());
    }
    if let Some((is_due, now)) = request.due {
        conditions.push("(j.phase <> 0 OR (j.start <= ?) = ?)".to_owned());
        parameters.push(now.unix_millis().into());
        parameters.push(i64::from(is_due).into());
    }
    let phases: Vec<_> = request.phases.iter().map(|phase| (*phase as i64).to_string()).collect();
    conditions.push(format!("j.phase IN ({})", phases.join(", ")));
    let top = i64::try_from(request.top).unwrap_or(i64::MAX);
    let sql = select_jobs(&format!("WHERE {} ORDER BY j.number DESC LIMIT {top}", conditions.join(" AND ")));
    let mut statement = db.prepare_cached(&sql)?;
    let mut found = FoundJobs::default();
    let mut bytes = 0;
    let mut rows = statement.query(params_from_iter(parameters))?;
    while let Some(row) = rows.next()? {
        let job = job_with_text(row)?;
        bytes += job.definition.condition.len() + job.definition.action.body.len();
        if bytes > request.bytes && !found.jobs.is_empty() {
            found.is_cut = true;
            break;
        }
        found.jobs.push(job);
    }
    Ok(found)
}

pub(crate) fn cancel_job(db: &Connection, id: &JobId, now: Timestamp) -> Result<Option<(StoredJob, bool)>> {
    let cancelled = db
        .prepare_cached("UPDATE job SET phase = 5, ended = ? WHERE id = ? AND phase < 3")?
        .execute(params![now.unix_millis(), id.as_str()])?;
    Ok(job(db, id)?.map(|job| (job, cancelled == 1)))
}

/// Cancels all jobs that have not ended.
pub(crate) fn cancel_all_jobs(db: &Connection, now: Timestamp) -> Result<()> {
    db.execute("UPDATE job SET phase = 5, ended = ? WHERE phase < 3", [now.unix_millis()]).map(drop)
}

/// When a job is due, and when it may be taken by `?1`.
const DUE: &str = "iif(phase = 0, start, 0)";

pub(crate) fn take_jobs(db: &Connection, request: &TakeJobs) -> Result<Vec<HeldJob>> {
    let TakeJobs { holder, held, now, expiry } = request;
    let due: Vec<i64> = db
        .prepare_cached(&format!(
            "SELECT number FROM job WHERE (phase < 3 OR running > 0) AND {DUE} <= ?2 \
             AND (holder IN ('', ?1) OR lease_expiry <= ?2) ORDER BY number"
        ))?
        .query_map(params![holder, now.unix_millis()], |row| row.get(0))?
        .collect::<Result<_>>()?;
    let mut taken = Vec::new();
    for number in due.into_iter().filter(|number| !held.contains(&number.unsigned_abs())) {
        let fence = db
            .prepare_cached(
                "UPDATE job SET holder = ?, fence = fence + 1, lease_expiry = ? WHERE number = ? RETURNING fence",
            )?
            .query_row(params![holder, expiry.unix_millis(), number], |row| rows::u64_column(row, 0))?;
        let number = number.unsigned_abs();
        taken.push(HeldJob { job: job_by_number(db, number)?, lease: JobLease { number, fence } });
    }
    Ok(taken)
}

pub(crate) fn renew_jobs(db: &Connection, leases: &[JobLease], expiry: Timestamp) -> Result<Vec<JobLease>> {
    let mut renew =
        db.prepare_cached("UPDATE job SET lease_expiry = ? WHERE number = ? AND fence = ? AND holder <> ''")?;
    let mut lost = Vec::new();
    for lease in leases {
        let (number, fence) = (rows::signed(lease.number), rows::signed(lease.fence));
        if renew.execute(params![expiry.unix_millis(), number, fence])? == 0 {
            lost.push(*lease);
        }
    }
    Ok(lost)
}

pub(crate) fn release_jobs(db: &Connection, leases: &[JobLease]) -> Result<()> {
    let mut release = db.prepare_cached("UPDATE job SET holder = '' WHERE number = ? AND fence = ?")?;
    for lease in leases {
        release.execute([rows::signed(lease.number), rows::signed(lease.fence)])?;
    }
    Ok(())
}

pub(crate) fn next_job(db: &Connection, holder: &str, held: &[u64]) -> Result<Option<Timestamp>> {
    let times = db
        .prepare_cached(&format!(
            "SELECT number, iif(holder IN ('', ?), {DUE}, max({DUE}, lease_expiry)) FROM job \
             WHERE phase < 3 OR running > 0"
        ))?
        .query_map([holder], |row| Ok((rows::u64_column(row, 0)?, rows::time(row, 1)?)))?
        .collect::<Result<Vec<_>>>()?;
    let others = times.into_iter().filter(|(number, _)| !held.contains(number));
    Ok(others.map(|(_, time)| time).min())
}

/// Returns the phase of a job, if the lease is not lost.
fn leased_phase(db: &Connection, lease: JobLease) -> Result<Option<i64>> {
    db.prepare_cached("SELECT phase FROM job WHERE number = ? AND fence = ? AND holder <> ''")?
        .query_row([rows::signed(lease.number), rows::signed(lease.fence)], |row| row.get(0))
        .optional()
}

pub(crate) fn add_job_devices(
    db: &Connection,
    lease: JobLease,
    ids: &[IdentityId],
    is_last: bool,
    now: Timestamp,
) -> Result<AddedDevices> {
    if leased_phase(db, lease)?.is_none_or(|phase| phase > JobPhase::Selecting as i64) {
        return Ok(AddedDevices::NotSelecting);
    }
    let number = rows::signed(lease.number);
    let mut insert = db.prepare_cached(
        "INSERT INTO job_device (job, device_id, module_id, generation_id, state, updated) \
         SELECT ?1, device_id, module_id, generation_id, 0, ?2 FROM identity \
         WHERE device_id = ?3 AND module_id = ?4 ON CONFLICT DO NOTHING",
    )?;
    for id in ids {
        let (device, module) = id_columns(id);
        insert.execute(params![number, now.unix_millis(), device, module])?;
    }
    let phase = if is_last { JobPhase::Running } else { JobPhase::Selecting };
    db.prepare_cached("UPDATE job SET phase = ? WHERE number = ?")?.execute([phase as i64, number])?;
    Ok(AddedDevices::Added)
}

pub(crate) fn last_job_device(db: &Connection, number: u64) -> Result<Option<IdentityId>> {
    db.prepare_cached(
        "SELECT device_id, module_id FROM job_device WHERE job = ? \
         ORDER BY device_id DESC, module_id DESC LIMIT 1",
    )?
    .query_row([rows::signed(number)], |row| rows::id(row, 0, 1))
    .optional()
}

/// The columns of an open row, from a join with `identity`.
const OPEN_ROW: &str =
    "d.device_id, d.module_id, d.generation_id, d.state, i.generation_id IS d.generation_id";

fn open_row(row: &Row<'_>, first: usize) -> Result<JobDevice> {
    Ok(JobDevice {
        id: rows::id(row, first, first + 1)?,
        generation_id: row.get(first + 2)?,
        state: device_state(row, first + 3)?,
        exists: row.get(first + 4)?,
    })
}

pub(crate) fn open_job_devices(
    db: &Connection,
    number: u64,
    after: Option<&IdentityId>,
    top: usize,
) -> Result<Vec<JobDevice>> {
    let (device, module) = after.map_or(("", ""), id_columns);
    let top = i64::try_from(top).unwrap_or(i64::MAX);
    db.prepare_cached(&format!(
        "SELECT {OPEN_ROW} FROM job_device AS d LEFT JOIN identity AS i USING (device_id, module_id) \
         WHERE d.job = ? AND d.state < 2 AND (d.device_id, d.module_id) > (?, ?) \
         ORDER BY d.device_id, d.module_id LIMIT ?"
    ))?
    .query_map(params![rows::signed(number), device, module, top], |row| open_row(row, 0))?
    .collect()
}

pub(crate) fn open_jobs_of(db: &Connection, devices: &[DeviceId]) -> Result<Vec<(u64, JobDevice)>> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT d.job, {OPEN_ROW} FROM job_device AS d JOIN job AS j ON j.number = d.job \
         LEFT JOIN identity AS i ON i.device_id = d.device_id AND i.module_id = d.module_id \
         WHERE d.device_id = ? AND d.state < 2 AND j.phase = 2 ORDER BY d.job, d.module_id"
    ))?;
    let mut found = Vec::new();
    for device in devices {
        let rows = statement
            .query_map([device.as_str()], |row| Ok((rows::u64_column(row, 0)?, open_row(row, 1)?)))?;
        for row in rows {
            found.push(row?);
        }
    }
    Ok(found)
}

/// Ends a row if it is in one of the states `from`. Returns whether it was.
fn end_row(
    db: &Connection,
    number: i64,
    id: &IdentityId,
    end: &DeviceEnd,
    includes_open: bool,
    now: Timestamp,
) -> Result<bool> {
    let (state, status, payload, error, description) = match end {
        DeviceEnd::Changed => (DeviceState::Completed, None, None, None, None),
        DeviceEnd::Answered { status, payload } => {
            (DeviceState::Completed, Some(*status), Some(payload), None, None)
        }
        DeviceEnd::Failed { code, description } => {
            (DeviceState::Failed, None, None, Some(code), Some(description))
        }
    };
    let (device, module) = id_columns(id);
    let changed = db
        .prepare_cached(
            "UPDATE job_device SET state = ?, updated = ?, status = ?, payload = ?, error = ?, description = ? \
             WHERE job = ? AND device_id = ? AND module_id = ? AND (state = 2 OR state < 2 AND ?)",
        )?
        .execute(params![
            state as i64,
            now.unix_millis(),
            status,
            payload,
            error,
            description,
            number,
            device,
            module,
            includes_open
        ])?;
    Ok(changed == 1)
}

fn change_row(
    db: &Connection,
    number: i64,
    change: &DeviceChange,
    runs: bool,
    now: Timestamp,
) -> Result<bool> {
    let (from, to) = match change {
        DeviceChange::End(id, end) => return end_row(db, number, id, end, runs, now),
        DeviceChange::Begin(_) if !runs => return Ok(false),
        DeviceChange::Begin(_) => ([0, 1], DeviceState::Running),
        DeviceChange::Wait(_) => ([0, 0], DeviceState::Waiting),
        DeviceChange::GiveBack(_) => ([2, 2], DeviceState::Waiting),
    };
    let (device, module) = id_columns(change.id());
    let changed = db
        .prepare_cached(
            "UPDATE job_device SET state = ?, updated = ? \
             WHERE job = ? AND device_id = ? AND module_id = ? AND state IN (?, ?)",
        )?
        .execute(params![to as i64, now.unix_millis(), number, device, module, from[0], from[1]])?;
    Ok(changed == 1)
}

pub(crate) fn change_job_devices(
    db: &Connection,
    lease: JobLease,
    changes: &[DeviceChange],
    now: Timestamp,
) -> Result<Option<ChangedDevices>> {
    let Some(phase) = leased_phase(db, lease)? else { return Ok(None) };
    let (number, runs) = (rows::signed(lease.number), phase == JobPhase::Running as i64);
    let made =
        changes.iter().map(|change| change_row(db, number, change, runs, now)).collect::<Result<Vec<_>>>()?;
    let StoredJob { phase, counts, .. } = head_by_number(db, number)?;
    Ok(Some(ChangedDevices { made, phase, counts }))
}

fn head_by_number(db: &Connection, number: i64) -> Result<StoredJob> {
    db.prepare_cached(&format!("SELECT {} FROM job WHERE number = ?", JOB_COLUMNS.join(", ")))?
        .query_row([number], job_head)
}

pub(crate) fn end_interrupted_devices(
    db: &Connection,
    lease: JobLease,
    end: &DeviceEnd,
    now: Timestamp,
) -> Result<Option<u64>> {
    if leased_phase(db, lease)?.is_none() {
        return Ok(None);
    }
    let number = rows::signed(lease.number);
    // No more than a node works on at the same time.
    let running = db
        .prepare_cached("SELECT device_id, module_id FROM job_device WHERE job = ? AND state = 2")?
        .query_map([number], |row| rows::id(row, 0, 1))?
        .collect::<Result<Vec<_>>>()?;
    for id in &running {
        end_row(db, number, id, end, false, now)?;
    }
    Ok(Some(running.len() as u64))
}

/// Ends the row of a job for an identity as done.
pub(super) fn end_job_device(
    db: &Connection,
    id: &IdentityId,
    lease: JobLease,
    now: Timestamp,
) -> Result<std::result::Result<(), Refusal>> {
    let (device, module) = id_columns(id);
    let (number, fence) = (rows::signed(lease.number), rows::signed(lease.fence));
    let generation: Option<Option<String>> = db
        .prepare_cached(
            "SELECT iif(i.generation_id IS d.generation_id, d.generation_id, NULL) \
             FROM job AS j JOIN job_device AS d ON d.job = j.number \
             LEFT JOIN identity AS i ON i.device_id = d.device_id AND i.module_id = d.module_id \
             WHERE j.number = ? AND j.fence = ? AND j.holder <> '' AND j.phase = 2 \
             AND d.device_id = ? AND d.module_id = ? AND d.state < 2",
        )?
        .query_row(params![number, fence, device, module], |row| row.get(0))
        .optional()?;
    match generation {
        None => Ok(Err(Refusal::JobDeviceNotOpen)),
        Some(None) => Ok(Err(Refusal::NotFound)),
        Some(Some(_)) => {
            end_row(db, number, id, &DeviceEnd::Changed, true, now)?;
            Ok(Ok(()))
        }
    }
}

pub(crate) fn end_job(
    db: &Connection,
    lease: JobLease,
    end: &JobEnd,
    now: Timestamp,
) -> Result<Option<StoredJob>> {
    if leased_phase(db, lease)?.is_none() {
        return Ok(None);
    }
    let (number, now) = (rows::signed(lease.number), now.unix_millis());
    match end {
        JobEnd::Completed => db
            .prepare_cached(
                "UPDATE job SET phase = 3, ended = ?1 WHERE number = ?2 AND phase = 2 AND running = 0 \
                 AND (pending + waiting = 0 OR deadline <= ?1)",
            )?
            .execute(params![now, number])?,
        JobEnd::Failed(reason) => db
            .prepare_cached(
                "UPDATE job SET phase = 4, ended = ?, failure = ? WHERE number = ? AND phase < 3",
            )?
            .execute(params![now, reason, number])?,
    };
    job_by_number(db, lease.number).map(Some)
}

pub(crate) fn remove_old_jobs(db: &Connection, ended_before: Timestamp, rows: usize) -> Result<u64> {
    let old: Option<i64> = db
        .prepare_cached(
            "SELECT number FROM job WHERE ended IS NOT NULL AND ended < ? AND running = 0 ORDER BY ended LIMIT 1",
        )?
        .query_row([ended_before.unix_millis()], |row| row.get(0))
        .optional()?;
    let Some(number) = old else { return Ok(0) };
    let removed = db
        .prepare_cached(
            "DELETE FROM job_device WHERE job = ?1 AND (device_id, module_id) IN \
             (SELECT device_id, module_id FROM job_device WHERE job = ?1 LIMIT ?2)",
        )?
        .execute([number, i64::try_from(rows).unwrap_or(i64::MAX)])?;
    if removed == rows {
        return Ok(removed as u64);
    }
    db.prepare_cached("DELETE FROM job WHERE number = ?")?.execute([number])?;
    Ok(removed as u64 + 1)
}
