//! Jobs: a method call, or a change of the twin, on many devices or modules.

use std::fmt;
use std::time::Duration;

use ferrohub_model::job::{DeviceJob, Job, JobStatus, JobType};
use ferrohub_model::method::MethodInvocationBody;
use ferrohub_model::twin::TwinChange;
use ferrohub_model::{Timestamp, percent};
use http::{HeaderValue, Method};
use serde::Serialize;
use tokio::time::sleep;

use crate::paging::{CONTINUATION, MAX_ITEM_COUNT, PageStream};
use crate::{Error, MethodInvocation, ServiceClient};

/// How often [`JobHandle::wait`] asks at first. Each time it waits longer.
const FIRST_POLL: Duration = Duration::from_millis(200);
/// How often [`JobHandle::wait`] asks in the end: Azure limits the requests about jobs.
const LAST_POLL: Duration = Duration::from_secs(5);

/// A job to create; for [`ServiceClient::create_job`].
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[must_use]
pub struct NewJob {
    job_id: String,
    #[serde(rename = "type")]
    job_type: JobType,
    #[serde(skip_serializing_if = "Option::is_none")]
    cloud_to_device_method: Option<MethodInvocationBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    update_twin: Option<TwinUpdate>,
    query_condition: String,
    start_time: Timestamp,
    max_execution_time_in_seconds: u64,
}

/// A change of a twin, with the etag that Azure demands.
#[derive(Clone, Serialize)]
struct TwinUpdate {
    etag: &'static str,
    #[serde(flatten)]
    change: TwinChange,
}

impl NewJob {
    /// A job that calls a method. A device that is not connected is called when it connects before the job ends.
    ///
    /// `id` has the characters of a device id. `condition` selects the devices: as after `WHERE` in a query, such as
    /// `tags.building = 7`, or `*` for all devices, or `FROM devices.modules WHERE moduleId = 'm'` for modules.
    pub fn invoke_method(
        id: impl Into<String>,
        condition: impl Into<String>,
        invocation: &MethodInvocation,
    ) -> Self {
        let mut job = Self::new(id.into(), JobType::DeviceMethod, condition.into());
        job.cloud_to_device_method = Some(invocation.body().clone());
        job
    }

    /// A job that merges a change into each twin, as [`ServiceClient::update_twin`] does. `id` and `condition` are those of
    /// [`NewJob::invoke_method`].
    pub fn update_twin(id: impl Into<String>, condition: impl Into<String>, change: TwinChange) -> Self {
        let mut job = Self::new(id.into(), JobType::UpdateTwin, condition.into());
        job.update_twin = Some(TwinUpdate { etag: "*", change });
        job
    }

    fn new(job_id: String, job_type: JobType, query_condition: String) -> Self {
        Self {
            job_id,
            job_type,
            cloud_to_device_method: None,
            update_twin: None,
            query_condition,
            start_time: Timestamp::from(std::time::SystemTime::now()),
            max_execution_time_in_seconds: 3600,
        }
    }

    /// Sets when the job starts. Without it, and if the time is past, the job starts at once.
    pub fn start(mut self, time: Timestamp) -> Self {
        self.start_time = time;
        self
    }

    /// Sets how long after its start the job ends at the latest, in whole seconds, rounded up. The default is an hour.
    pub fn max_duration(mut self, duration: Duration) -> Self {
        self.max_execution_time_in_seconds =
            duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0));
        self
    }
}

/// Payloads may be large, and secret.
impl fmt::Debug for NewJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewJob")
            .field("job_id", &self.job_id)
            .field("job_type", &self.job_type)
            .field("query_condition", &self.query_condition)
            .finish_non_exhaustive()
    }
}

/// A job of the hub. Cheap to clone. Dropping it does not affect the job.
#[derive(Debug, Clone)]
pub struct JobHandle {
    client: ServiceClient,
    id: String,
}

impl ServiceClient {
    /// Creates a job. It goes on whether this program does or not.
    ///
    /// ```no_run
    /// # use ferrohub_service::{DeviceJob, Error, MethodInvocation, NewJob, ServiceClient};
    /// # async fn example(client: ServiceClient) -> Result<(), Error> {
    /// let reboot = MethodInvocation::new("rebootDevice");
    /// let job = client.create_job(&NewJob::invoke_method("reboot-7", "tags.building = 7", &reboot)).await?;
    /// let ended = job.wait().await?;
    /// println!("{}: {:?}", ended.status.name(), ended.device_job_statistics);
    /// let mut devices = job.devices();
    /// while let Some(device) = devices.next().await {
    ///     let DeviceJob { device_id, status, error, .. } = device?;
    ///     println!("{device_id}: {} {error:?}", status.name());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::BadRequest`](crate::ErrorKind::BadRequest) for a condition or a change that is not valid;
    /// [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) if the id is taken;
    /// [`ErrorKind::Throttled`](crate::ErrorKind::Throttled) if the hub has its maximum number of active jobs; and those of
    /// any request.
    pub async fn create_job(&self, job: &NewJob) -> Result<JobHandle, Error> {
        let handle = self.job(&job.job_id)?;
        let _: Job = self.request(Method::PUT, &handle.path(), "").json(job)?.send_json().await?;
        Ok(handle)
    }

    /// Returns the handle of a job that was created before. Nothing is sent.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for an empty id.
    pub fn job(&self, id: impl Into<String>) -> Result<JobHandle, Error> {
        let id = id.into();
        match id.is_empty() {
            true => Err(Error::invalid_input("the id of the job is empty")),
            false => Ok(JobHandle { client: self.clone(), id }),
        }
    }

    /// Begins a list of jobs.
    pub fn jobs(&self) -> JobQuery<'_> {
        JobQuery { client: self, job_type: None, status: None, page_size: None }
    }
}

impl JobHandle {
    /// Returns the id of the job.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    fn path(&self) -> String {
        format!("/jobs/v2/{}", percent::encode(&self.id))
    }

    /// Returns the job as it is now.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound), and those of any request.
    pub async fn get(&self) -> Result<Job, Error> {
        self.client.request(Method::GET, &self.path(), "").send_json().await
    }

    /// Cancels the job, and returns it. Calls that devices have already go on; nothing else begins. A job that has ended
    /// stays as it is.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound), and those of any request.
    pub async fn cancel(&self) -> Result<Job, Error> {
        self.client.request(Method::POST, &format!("{}/cancel", self.path()), "").send_json().await
    }

    /// Waits until the job has ended, and returns it. That is not an error, even if it failed or was cancelled.
    ///
    /// # Errors
    /// As [`JobHandle::get`]. An error that may pass, such as that of a hub that is started again, does not end the wait.
    pub async fn wait(&self) -> Result<Job, Error> {
        self.wait_with(|_| {}).await
    }

    /// Like [`JobHandle::wait`], and calls `progress` with the job each time the hub was asked.
    ///
    /// # Errors
    /// As [`JobHandle::wait`].
    pub async fn wait_with(&self, mut progress: impl FnMut(&Job)) -> Result<Job, Error> {
        let mut delay = FIRST_POLL;
        loop {
            match self.get().await {
                Ok(job) => {
                    progress(&job);
                    if job.status.is_final() {
                        return Ok(job);
                    }
                }
                Err(error) if error.is_retryable() => {
                    tracing::debug!(job = self.id, %error, "cannot read the job; asking again");
                }
                Err(error) => return Err(error),
            }
            sleep(delay).await;
            delay = (delay * 2).min(LAST_POLL);
        }
    }

    /// Returns what the job did on each device as a stream, read page by page. Nothing is sent before the first is asked
    /// for.
    #[must_use]
    pub fn devices(&self) -> PageStream<DeviceJob> {
        // A quote in an id would end the text.
        let id = self.id.replace('\\', "\\\\").replace('\'', "\\'");
        self.client.query(format!("SELECT * FROM devices.jobs WHERE devices.jobs.jobId = '{id}'")).rows()
    }
}

/// A list of jobs, before it is sent; from [`ServiceClient::jobs`].
#[derive(Debug, Clone)]
#[must_use]
pub struct JobQuery<'a> {
    client: &'a ServiceClient,
    job_type: Option<JobType>,
    status: Option<JobStatus>,
    page_size: Option<u32>,
}

impl JobQuery<'_> {
    /// Only jobs of this type.
    pub fn job_type(mut self, job_type: JobType) -> Self {
        self.job_type = Some(job_type);
        self
    }

    /// Only jobs in this state.
    pub fn status(mut self, status: JobStatus) -> Self {
        self.status = Some(status);
        self
    }

    /// Sets the number of jobs that are read with one request, from 1 to 1000. The default of the hub is 100.
    pub fn page_size(mut self, jobs: u32) -> Self {
        self.page_size = Some(jobs.max(1));
        self
    }

    /// Returns the jobs as a stream; a Ferrohub returns the newest first. Nothing is sent before the first is asked for.
    pub fn rows(self) -> PageStream<Job> {
        let Self { client, job_type, status, page_size } = self;
        let mut query = String::new();
        if let Some(job_type) = job_type {
            query.push_str(&format!("jobType={}&", job_type.name()));
        }
        if let Some(status) = status {
            query.push_str(&format!("jobStatus={}&", status.name()));
        }
        let client = client.clone();
        PageStream::new(move |token| {
            let (client, query) = (client.clone(), query.clone());
            Box::pin(async move {
                let mut request = client.request(Method::GET, "/jobs/v2/query", &query);
                if let Some(jobs) = page_size {
                    request = request.header(MAX_ITEM_COUNT, HeaderValue::from(jobs));
                }
                if let Some(token) = token {
                    request = request.header(CONTINUATION, token);
                }
                request.send().await
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_job_has_the_json_that_azure_demands() {
        let invocation = MethodInvocation::new("m").payload(&json!({ "a": 1 })).unwrap();
        let start = Timestamp::from_unix_seconds(0);
        let job = NewJob::invoke_method("j", "*", &invocation).start(start);
        assert_eq!(
            serde_json::to_value(job.max_duration(Duration::from_millis(1500))).unwrap(),
            json!({ "jobId": "j", "type": "scheduleDeviceMethod", "queryCondition": "*",
                "cloudToDeviceMethod": { "methodName": "m", "payload": { "a": 1 } },
                "startTime": "1970-01-01T00:00:00Z", "maxExecutionTimeInSeconds": 2 })
        );
        let change = serde_json::from_value(json!({ "tags": { "a": null } })).unwrap();
        let job = NewJob::update_twin("j", "tags.a = 1", change).start(start);
        assert_eq!(
            serde_json::to_value(job).unwrap(),
            json!({ "jobId": "j", "type": "scheduleUpdateTwin", "queryCondition": "tags.a = 1",
                "updateTwin": { "etag": "*", "tags": { "a": null } },
                "startTime": "1970-01-01T00:00:00Z", "maxExecutionTimeInSeconds": 3600 })
        );
    }
}
