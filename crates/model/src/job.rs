//! The JSON of jobs: work on many devices or modules, at a time.
//!
//! Members without a value are left out, never `null`: the Java client reads what a member contains as soon as it is there.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::names::{from_name, serde_by_name};
use crate::timestamp::Timestamp;

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JobType {
    /// Changes twins.
    UpdateTwin,
    /// Calls a method.
    DeviceMethod,
}

impl JobType {
    /// All types.
    pub const ALL: &[Self] = &[Self::UpdateTwin, Self::DeviceMethod];

    /// Returns the name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::UpdateTwin => "scheduleUpdateTwin",
            Self::DeviceMethod => "scheduleDeviceMethod",
        }
    }

    /// Returns the type with a name in any case. Older documents have other names, which clients still send.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        if is("scheduleTwinUpdate") {
            return Some(Self::UpdateTwin);
        }
        if is("scheduleDirectMethod") || is("scheduleDirectRequest") {
            return Some(Self::DeviceMethod);
        }
        from_name(name)
    }
}

serde_by_name!(JobType, JobType::ALL);

/// The state of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JobStatus {
    /// The job is one of another API: an import or export.
    Unknown,
    /// Accepted. Only of imports and exports.
    Enqueued,
    /// Its start time is in the future.
    Scheduled,
    /// It is due and has not begun: the hub selects its devices.
    Queued,
    /// Its work is done.
    Running,
    /// It has ended. Its work may have failed on some devices, or on all.
    Completed,
    /// It could not run.
    Failed,
    /// It was cancelled.
    Cancelled,
}

impl JobStatus {
    /// All states.
    pub const ALL: &[Self] = &[
        Self::Unknown,
        Self::Enqueued,
        Self::Scheduled,
        Self::Queued,
        Self::Running,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
    ];

    /// Returns the name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Enqueued => "enqueued",
            Self::Scheduled => "scheduled",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Returns the state with a name in any case. The Node client also has `finished`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        if name.eq_ignore_ascii_case("finished") {
            return Some(Self::Completed);
        }
        if name.eq_ignore_ascii_case("canceled") {
            return Some(Self::Cancelled);
        }
        from_name(name)
    }

    /// Returns whether a job in this state does not change any more.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

serde_by_name!(JobStatus, JobStatus::ALL);

/// How many devices of a job are in which state. `device_count` is the sum of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeviceJobStatistics {
    /// All devices of the job.
    pub device_count: u64,
    /// Devices on which the work failed.
    pub failed_count: u64,
    /// Devices on which the work is done.
    pub succeeded_count: u64,
    /// Devices on which the work is being done.
    pub running_count: u64,
    /// Devices on which the work has not begun. In a cancelled job, it never will.
    pub pending_count: u64,
}

/// A job. Azure calls it `JobResponse`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// The name of the job.
    pub job_id: String,
    /// Which devices or modules it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query_condition: Option<String>,
    /// When it was created.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "Timestamp::serialize_fixed_width"
    )]
    pub created_time: Option<Timestamp>,
    /// When it starts.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "Timestamp::serialize_fixed_width"
    )]
    pub start_time: Option<Timestamp>,
    /// When it ended.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "Timestamp::serialize_fixed_width"
    )]
    pub end_time: Option<Timestamp>,
    /// How long after its start it ends at the latest, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_execution_time_in_seconds: Option<u64>,
    /// What it does: one of [`JobType`], or the type of an import or export.
    #[serde(rename = "type")]
    pub job_type: String,
    /// The method call, if it is a job of that type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud_to_device_method: Option<Box<RawValue>>,
    /// The change of the twins, if it is a job of that type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update_twin: Option<Box<RawValue>>,
    /// Its state.
    pub status: JobStatus,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_reason: Option<String>,
    /// The state, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_message: Option<String>,
    /// The numbers of its devices by state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_job_statistics: Option<DeviceJobStatistics>,
}

/// The state of a job on one device or module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeviceJobStatus {
    /// Not begun.
    Pending,
    /// The job waits until the device is connected.
    Scheduled,
    /// The device has the call, or the twin is being changed.
    Running,
    /// Done: the device answered, with any status, or the twin is changed.
    Completed,
    /// Failed; the row has an error.
    Failed,
    /// The job was cancelled before the work began.
    Canceled,
}

impl DeviceJobStatus {
    /// All states.
    pub const ALL: &[Self] =
        &[Self::Pending, Self::Scheduled, Self::Running, Self::Completed, Self::Failed, Self::Canceled];

    /// Returns the name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Scheduled => "scheduled",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
        }
    }
}

serde_by_name!(DeviceJobStatus, DeviceJobStatus::ALL);

/// What a job did on one device or module: a row of `devices.jobs`. Azure calls it `DeviceJob`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceJob {
    /// The device.
    pub device_id: String,
    /// The module, if the job is for modules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module_id: Option<String>,
    /// The job.
    pub job_id: String,
    /// What the job does.
    pub job_type: JobType,
    /// The state.
    pub status: DeviceJobStatus,
    /// When the job starts.
    #[serde(serialize_with = "fixed_width")]
    pub start_time_utc: Timestamp,
    /// When the job ends at the latest.
    #[serde(serialize_with = "fixed_width")]
    pub end_time_utc: Timestamp,
    /// When the job was created.
    #[serde(serialize_with = "fixed_width")]
    pub created_date_time_utc: Timestamp,
    /// When the state last changed.
    #[serde(serialize_with = "fixed_width")]
    pub last_updated_date_time_utc: Timestamp,
    /// The answer of the device; empty if there is none.
    #[serde(default)]
    pub outcome: DeviceJobOutcome,
    /// Why the work failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<DeviceJobError>,
}

/// The outcome of a job on one device.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceJobOutcome {
    /// The answer of the device to the method call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_method_response: Option<DeviceMethodResponse>,
}

/// The answer of a device to the method call of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeviceMethodResponse {
    /// The status that the device returned.
    pub status: i32,
    /// The payload; `null` if the device sent none.
    #[serde(default)]
    pub payload: Value,
}

/// Why a job failed on one device.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceJobError {
    /// The name of the error.
    pub code: String,
    /// The reason, for people.
    pub description: String,
}

impl fmt::Debug for DeviceJobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.description)
    }
}

fn fixed_width<S: serde::Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&time.to_fixed_width())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn types_and_states_have_all_names_that_clients_send() {
        for (name, job_type) in [
            ("scheduleUpdateTwin", JobType::UpdateTwin),
            ("ScheduleDeviceMethod", JobType::DeviceMethod),
            ("scheduleTwinUpdate", JobType::UpdateTwin),
            ("scheduleDirectMethod", JobType::DeviceMethod),
            ("scheduleDirectRequest", JobType::DeviceMethod),
        ] {
            assert_eq!(JobType::from_name(name), Some(job_type), "{name}");
        }
        assert_eq!(JobType::from_name("export"), None);
        assert_eq!(JobStatus::from_name("Finished"), Some(JobStatus::Completed));
        assert_eq!(JobStatus::from_name("Running"), Some(JobStatus::Running));
        assert_eq!(JobStatus::from_name("odd"), None);
    }

    #[test]
    fn a_job_and_a_row_have_no_null_and_times_of_one_width() {
        let time = Some(Timestamp::from_unix_seconds(0));
        let job = Job {
            job_id: "j".to_owned(),
            query_condition: Some("*".to_owned()),
            created_time: time,
            start_time: time,
            end_time: None,
            max_execution_time_in_seconds: Some(60),
            job_type: JobType::UpdateTwin.name().to_owned(),
            cloud_to_device_method: None,
            update_twin: RawValue::from_string(r#"{"etag":"*"}"#.to_owned()).ok(),
            status: JobStatus::Running,
            failure_reason: None,
            status_message: None,
            device_job_statistics: Some(DeviceJobStatistics::default()),
        };
        let text = serde_json::to_string(&job).unwrap();
        assert_eq!(
            text,
            "{\"jobId\":\"j\",\"queryCondition\":\"*\",\"createdTime\":\"1970-01-01T00:00:00.0000000Z\",\
             \"startTime\":\"1970-01-01T00:00:00.0000000Z\",\"maxExecutionTimeInSeconds\":60,\
             \"type\":\"scheduleUpdateTwin\",\"updateTwin\":{\"etag\":\"*\"},\"status\":\"running\",\
             \"deviceJobStatistics\":{\"deviceCount\":0,\"failedCount\":0,\"succeededCount\":0,\"runningCount\":0,\
             \"pendingCount\":0}}"
        );
        assert_eq!(serde_json::to_string(&serde_json::from_str::<Job>(&text).unwrap()).unwrap(), text);
        let row = json!({
            "deviceId": "d", "jobId": "j", "jobType": "scheduleDeviceMethod", "status": "canceled",
            "startTimeUtc": "2024-01-01T00:00:00.0000000Z", "endTimeUtc": "2024-01-01T00:01:00.0000000Z",
            "createdDateTimeUtc": "2024-01-01T00:00:00.1000000Z",
            "lastUpdatedDateTimeUtc": "2024-01-01T00:00:00.1000000Z", "outcome": {},
        });
        let read: DeviceJob = serde_json::from_value(row.clone()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), row);
    }
}
