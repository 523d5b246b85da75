//! Jobs and their rows as clients read them.

use ferrohub_model::job::{
    DeviceJob, DeviceJobError, DeviceJobOutcome, DeviceJobStatistics, DeviceJobStatus, DeviceMethodResponse,
    Job, JobStatus, JobType,
};
use ferrohub_model::{ErrorCode, Timestamp};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::store::{DeviceEnd, DeviceState, JobPhase, JobRow, StoredJob};

/// The error of a row whose work was not begun before the deadline. The text is Azure's.
pub const NOT_BEGUN: &str = "The job did not start within specified period: either device did not come online or invalid endTime specified.";

/// Returns the state of a job.
pub(super) fn status(job: &StoredJob, now: Timestamp) -> JobStatus {
    match job.phase {
        JobPhase::Waiting if job.definition.start > now => JobStatus::Scheduled,
        JobPhase::Waiting | JobPhase::Selecting => JobStatus::Queued,
        JobPhase::Running => JobStatus::Running,
        JobPhase::Completed => JobStatus::Completed,
        JobPhase::Failed => JobStatus::Failed,
        JobPhase::Cancelled => JobStatus::Cancelled,
    }
}

/// Returns the numbers of the devices by state.
pub(super) fn statistics(job: &StoredJob) -> DeviceJobStatistics {
    let counts = &job.counts;
    // The work of these rows can no longer begin.
    let (expired, pending) = match job.phase {
        JobPhase::Completed | JobPhase::Failed => (counts.open(), 0),
        _ => (0, counts.open()),
    };
    let failed_count = counts.failed + expired;
    DeviceJobStatistics {
        device_count: failed_count + counts.completed + counts.running + pending,
        failed_count,
        succeeded_count: counts.completed,
        running_count: counts.running,
        pending_count: pending,
    }
}

/// Returns a job as clients read it.
pub(super) fn job(job: &StoredJob, now: Timestamp) -> Job {
    let definition = &job.definition;
    let body = RawValue::from_string(definition.action.body.clone()).ok();
    let (cloud_to_device_method, update_twin) = match definition.action.job_type {
        JobType::DeviceMethod => (body, None),
        JobType::UpdateTwin => (None, body),
    };
    let seconds = (definition.deadline.unix_millis() - definition.start.unix_millis()) / 1000;
    Job {
        job_id: definition.id.as_str().to_owned(),
        query_condition: Some(definition.condition.clone()),
        created_time: Some(definition.created),
        start_time: Some(definition.start),
        end_time: job.ended,
        max_execution_time_in_seconds: Some(u64::try_from(seconds).unwrap_or(0)),
        job_type: definition.action.job_type.name().to_owned(),
        cloud_to_device_method,
        update_twin,
        status: status(job, now),
        failure_reason: job.failure.clone(),
        status_message: None,
        device_job_statistics: Some(statistics(job)),
    }
}

/// Returns a row of `devices.jobs`: the row of a job, and the state of the job where the row has none of its own. Only the
/// definition, the phase and the end of the job are used.
#[must_use]
pub fn row_document(job: &StoredJob, row: &JobRow) -> Map<String, Value> {
    let definition = &job.definition;
    let status = match (row.state, job.phase) {
        (DeviceState::Completed, _) => DeviceJobStatus::Completed,
        (DeviceState::Failed, _) => DeviceJobStatus::Failed,
        (DeviceState::Running, _) => DeviceJobStatus::Running,
        (_, JobPhase::Completed | JobPhase::Failed) => DeviceJobStatus::Failed,
        (_, JobPhase::Cancelled) => DeviceJobStatus::Canceled,
        (DeviceState::Waiting, _) => DeviceJobStatus::Scheduled,
        (DeviceState::Pending, _) => DeviceJobStatus::Pending,
    };
    let by_job = row.state.is_open().then_some(job.ended).flatten();
    let (outcome, error) = match &row.end {
        Some(DeviceEnd::Answered { status, payload }) => {
            let payload = serde_json::from_str(payload).unwrap_or_default();
            let response = DeviceMethodResponse { status: *status, payload };
            (DeviceJobOutcome { device_method_response: Some(response) }, None)
        }
        Some(DeviceEnd::Failed { code, description }) => {
            let error = DeviceJobError { code: code.clone(), description: description.clone() };
            (DeviceJobOutcome::default(), Some(error))
        }
        Some(DeviceEnd::Changed) => (DeviceJobOutcome::default(), None),
        None if status == DeviceJobStatus::Failed => (DeviceJobOutcome::default(), Some(not_begun(job))),
        None => (DeviceJobOutcome::default(), None),
    };
    let document = DeviceJob {
        device_id: row.id.device_str().to_owned(),
        module_id: row.id.module_str().map(str::to_owned),
        job_id: definition.id.as_str().to_owned(),
        job_type: definition.action.job_type,
        status,
        start_time_utc: definition.start,
        end_time_utc: definition.deadline,
        created_date_time_utc: definition.created,
        last_updated_date_time_utc: by_job.unwrap_or(row.updated),
        outcome,
        error,
    };
    match serde_json::to_value(document) {
        Ok(Value::Object(document)) => document,
        _ => Map::new(),
    }
}

fn not_begun(job: &StoredJob) -> DeviceJobError {
    let description = job.failure.as_deref().unwrap_or(NOT_BEGUN);
    DeviceJobError {
        code: ErrorCode::JobRunPreconditionFailed.name().to_owned(),
        description: description.to_owned(),
    }
}
