//! The operation: creates a job.

use bytes::Bytes;
use ferrohub_model::job::{Job, JobType};
use ferrohub_model::twin::TwinChange;
use ferrohub_model::{ErrorCode, HubError, JobId, Timestamp};
use ferrohub_query::plan::{Collection, Filter};
use ferrohub_query::{Dialect, Limits};
use serde::Serialize;
use serde_json::value::RawValue;
use tracing::info;

use super::present;
use super::store::{CreateJobOutcome, JobAction, JobDefinition};
use crate::callers::ServiceCaller;
use crate::hub::Hub;
use crate::methods::MethodCall;
use crate::operations::Operation;
use crate::store::store_failed;
use crate::twins::{TwinDocument, UpdateMode};

/// How long a job may run: a year.
const MAX_SECONDS: u64 = 365 * 24 * 3600;
/// How far ahead a job may start: ten years.
const MAX_AHEAD_MILLIS: i64 = 10 * 365 * 24 * 3600 * 1000;

/// A request for a job.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// Its name.
    pub id: JobId,
    /// What it does.
    pub work: JobWork,
    /// The condition of its devices or modules.
    pub condition: String,
    /// When it starts. `None`, or a time in the past, is now.
    pub start: Option<Timestamp>,
    /// How long after its start it ends at the latest, in seconds.
    pub max_seconds: u64,
}

/// What a job does on each of its devices or modules.
#[derive(Debug, Clone)]
pub enum JobWork {
    /// Calls a method.
    Method(MethodCall),
    /// Merges a change into the twin.
    Twin(TwinChange),
}

/// The method call of a job as clients read it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MethodBody<'a> {
    method_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a RawValue>,
    response_timeout_in_seconds: u32,
    connect_timeout_in_seconds: u32,
}

/// The change of a twin as clients read it.
#[derive(Serialize)]
struct TwinBody<'a> {
    etag: &'static str,
    #[serde(flatten)]
    change: &'a TwinChange,
}

impl ServiceCaller {
    /// Creates a job. It starts at its start time.
    ///
    /// # Errors
    ///
    /// `ArgumentInvalid` for a condition or an argument that is not valid, `JobAlreadyExists`, and
    /// `ThrottlingMaxActiveJobCountExceeded` if the hub has its maximum number of active jobs.
    pub async fn create_job(&self, job: NewJob) -> Result<Job, HubError> {
        let hub = self.permit(Operation::CreateJob)?;
        // A job calls a method only for a service that may call it.
        if matches!(job.work, JobWork::Method(_)) {
            self.permit(Operation::CreateMethodJob)?;
        }
        hub.create_job(job).await
    }
}

impl Hub {
    async fn create_job(&self, job: NewJob) -> Result<Job, HubError> {
        let now = self.clock.now();
        let definition = self.define(job, now)?;
        let (id, job_type) = (definition.id.clone(), definition.action.job_type.name());
        let limit = self.limits.jobs.active;
        match self.store.create_job(&definition, limit).await.map_err(store_failed)? {
            CreateJobOutcome::Created(job) => {
                self.metrics.jobs.count_job("created");
                let (start, deadline) = (job.definition.start, job.definition.deadline);
                info!(job = %id, job_type, %start, %deadline, "job created");
                self.jobs.changed();
                Ok(present::job(&job, now))
            }
            CreateJobOutcome::Exists => {
                let text = format!(
                    "A job {id} exists. Choose another id; a hub keeps the ids of jobs for some time."
                );
                Err(HubError::new(ErrorCode::JobAlreadyExists, text))
            }
            CreateJobOutcome::Full => {
                let text = format!(
                    "The hub has the maximum number of active jobs, {limit} (jobs.max_active). Wait until one has \
                     ended, or cancel one."
                );
                Err(HubError::new(ErrorCode::ThrottlingMaxActiveJobCountExceeded, text))
            }
        }
    }

    fn define(&self, job: NewJob, now: Timestamp) -> Result<JobDefinition, HubError> {
        let NewJob { id, work, condition, start, max_seconds } = job;
        parse_condition(&condition)?;
        if !(1..=MAX_SECONDS).contains(&max_seconds) {
            return Err(invalid(format!("maxExecutionTimeInSeconds must be within [1; {MAX_SECONDS}].")));
        }
        let start = start.unwrap_or(now).max(now);
        if start > now.plus_millis(MAX_AHEAD_MILLIS) {
            return Err(invalid("startTime must be at most ten years ahead.".to_owned()));
        }
        let millis = i64::try_from(max_seconds).unwrap_or(0).saturating_mul(1000);
        let action = match &work {
            JobWork::Method(call) => self.method_action(call)?,
            JobWork::Twin(change) => self.twin_action(change, now)?,
        };
        Ok(JobDefinition { id, action, condition, created: now, start, deadline: start.plus_millis(millis) })
    }

    fn method_action(&self, call: &MethodCall) -> Result<JobAction, HubError> {
        let limit = self.limits.method_payload_bytes;
        if call.payload.as_ref().is_some_and(|payload| payload.len() > limit) {
            let text = format!("The payload must have at most {limit} bytes (limits.method_payload_bytes).");
            return Err(HubError::new(ErrorCode::MessageTooLarge, text));
        }
        let payload = call.payload.as_deref().map(serde_json::from_slice::<&RawValue>).transpose();
        let body = MethodBody {
            method_name: call.name.as_str(),
            payload: payload.map_err(|_| invalid("The payload is not JSON.".to_owned()))?,
            response_timeout_in_seconds: call.response_timeout,
            connect_timeout_in_seconds: call.connect_timeout,
        };
        action(JobType::DeviceMethod, &body)
    }

    fn twin_action(&self, change: &TwinChange, now: Timestamp) -> Result<JobAction, HubError> {
        if change.tags.is_none() && change.desired_change().is_none() {
            let text = "updateTwin must have tags or desired properties.";
            return Err(HubError::new(ErrorCode::ArgumentNull, text));
        }
        // What no twin could have is refused at once. A twin may still become too large by the change.
        TwinDocument::default().with_change(UpdateMode::Merge, change, now, &self.limits.twins)?;
        action(JobType::UpdateTwin, &TwinBody { etag: "*", change })
    }
}

fn action(job_type: JobType, body: &impl Serialize) -> Result<JobAction, HubError> {
    let body = serde_json::to_string(body)
        .map_err(|_| HubError::new(ErrorCode::ServerError, "The job cannot be serialised."))?;
    Ok(JobAction { job_type, body })
}

fn invalid(text: String) -> HubError {
    HubError::new(ErrorCode::ArgumentInvalid, text)
}

/// Parses the condition of a job.
pub(super) fn parse_condition(text: &str) -> Result<Filter, HubError> {
    let filter = Filter::parse(text, Dialect::Twins, &Limits::JOB_CONDITION)
        .map_err(|error| invalid(format!("The queryCondition is not valid. {error}")))?;
    if filter.collection == Collection::Jobs {
        let text = "The queryCondition is not valid. A job is for devices or modules, not for devices.jobs.";
        return Err(invalid(text.to_owned()));
    }
    Ok(filter)
}

/// Returns the payload as bytes of its own.
pub(super) fn payload_bytes(payload: &RawValue) -> Bytes {
    Bytes::copy_from_slice(payload.get().as_bytes())
}
