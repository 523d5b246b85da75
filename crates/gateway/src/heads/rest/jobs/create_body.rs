//! The body of `PUT /jobs/v2/{id}`, as the clients send it: with explicit nulls (.NET), with an id that is a number or a
//! start that is null (Node), with text for numbers (the Azure command line).

use std::borrow::Cow;

use bytes::Bytes;
use ferrohub_core::jobs::{JobWork, NewJob};
use ferrohub_model::job::JobType;
use ferrohub_model::method::{MethodInvocation, Seconds};
use ferrohub_model::twin::TwinChange;
use ferrohub_model::{ErrorCode, HubError, JobId, Timestamp};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::heads::rest::methods::read_invocation;
use crate::heads::rest::request::from_object;

/// How long a job may run, in seconds, if its creator does not say.
const DEFAULT_MAX_SECONDS: u64 = 3600;
/// The path of the list of jobs has this name where others have the id.
const RESERVED: &str = "query";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    #[serde(default, borrow)]
    job_id: Option<&'a RawValue>,
    #[serde(default, borrow, rename = "type")]
    job_type: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    cloud_to_device_method: Option<MethodInvocation<'a>>,
    #[serde(default, borrow)]
    update_twin: Option<&'a RawValue>,
    #[serde(default)]
    query_condition: Option<String>,
    #[serde(default, borrow)]
    start_time: Option<Cow<'a, str>>,
    #[serde(default)]
    max_execution_time_in_seconds: Option<Seconds>,
}

/// The part of `updateTwin` that is not a change.
#[derive(Deserialize)]
struct TwinEtag {
    #[serde(default)]
    etag: Option<String>,
}

/// Reads the request for the job that the path names.
pub(super) fn read(id: JobId, bytes: &Bytes) -> Result<NewJob, HubError> {
    let body: Body<'_> = from_object(bytes)?;
    check_id(&id, body.job_id)?;
    let job_type = body.job_type.as_deref().ok_or_else(|| missing("type"))?;
    let work = match JobType::from_name(job_type) {
        Some(JobType::DeviceMethod) => {
            let call = body.cloud_to_device_method.ok_or_else(|| missing("cloudToDeviceMethod"))?;
            JobWork::Method(read_invocation(call, bytes)?)
        }
        Some(JobType::UpdateTwin) => {
            JobWork::Twin(read_change(body.update_twin.ok_or_else(|| missing("updateTwin"))?)?)
        }
        None => {
            let names: Vec<_> = JobType::ALL.iter().map(|job_type| job_type.name()).collect();
            let text = format!("The type {job_type:?} is unknown; the types are {}.", names.join(" and "));
            return Err(HubError::new(ErrorCode::GenericBadRequest, text));
        }
    };
    Ok(NewJob {
        id,
        work,
        condition: body.query_condition.ok_or_else(|| missing("queryCondition"))?,
        start: body.start_time.filter(|text| !text.is_empty()).map(|text| start(&text)).transpose()?,
        max_seconds: match body.max_execution_time_in_seconds {
            None => DEFAULT_MAX_SECONDS,
            Some(Seconds::Valid(seconds)) => u64::try_from(seconds).unwrap_or(0),
            Some(Seconds::Invalid) => 0,
        },
    })
}

fn missing(member: &str) -> HubError {
    HubError::new(ErrorCode::ArgumentNull, format!("The job has no {member}."))
}

fn invalid(text: String) -> HubError {
    HubError::new(ErrorCode::ArgumentInvalid, text)
}

/// Checks that the id in the body, if there is one, is that of the path.
fn check_id(id: &JobId, in_body: Option<&RawValue>) -> Result<(), HubError> {
    if id.as_str().eq_ignore_ascii_case(RESERVED) {
        return Err(invalid(format!("A job cannot have the id {id}: its path is that of the list of jobs.")));
    }
    let Some(raw) = in_body.map(RawValue::get) else { return Ok(()) };
    // Node sends an id that is a number as a number.
    let text = serde_json::from_str::<String>(raw).unwrap_or_else(|_| raw.to_owned());
    match text == id.as_str() || text.is_empty() {
        true => Ok(()),
        false => Err(invalid(format!("The path names the job {id}, and the body another one."))),
    }
}

fn read_change(raw: &RawValue) -> Result<TwinChange, HubError> {
    let TwinEtag { etag } = from_object(raw.get().as_bytes())?;
    if let Some(etag) = etag.filter(|etag| !matches!(etag.as_str(), "*" | "\"*\"" | "")) {
        let text = format!("The etag of updateTwin must be \"*\", not {etag:?}: the job is for many twins.");
        return Err(invalid(text));
    }
    from_object(raw.get().as_bytes())
}

fn start(text: &str) -> Result<Timestamp, HubError> {
    Timestamp::parse(text).ok_or_else(|| {
        invalid(format!("startTime must be a time such as 2030-01-01T00:00:00Z, not {text:?}."))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<NewJob, HubError> {
        super::read(JobId::new("j").unwrap(), &Bytes::copy_from_slice(text.as_bytes()))
    }

    #[test]
    fn the_bodies_of_the_clients_are_read() {
        let net = r#"{"jobId":"j","type":"scheduleDeviceMethod","cloudToDeviceMethod":{"methodName":"m","payload":{ "a":1.0 },
            "responseTimeoutInSeconds":30,"connectTimeoutInSeconds":0},"updateTwin":null,"queryCondition":"*",
            "startTime":"2030-01-01T01:00:00+01:00","maxExecutionTimeInSeconds":60}"#;
        let job = read(net).unwrap();
        let JobWork::Method(call) = &job.work else { panic!() };
        assert_eq!(call.payload.as_deref(), Some(&br#"{ "a":1.0 }"#[..]));
        assert_eq!((job.start, job.max_seconds), (Timestamp::parse("2030-01-01T00:00:00Z"), 60));
        let net = r#"{"jobId":"j","type":"scheduleUpdateTwin","cloudToDeviceMethod":null,"updateTwin":{"deviceId":null,
            "etag":"*","version":null,"tags":{"a":1},"properties":{"desired":{"b":2},"reported":{}}},
            "queryCondition":"deviceId = 'd'","startTime":"2030-01-01T00:00:00.1234567Z","maxExecutionTimeInSeconds":1}"#;
        let JobWork::Twin(change) = read(net).unwrap().work else { panic!() };
        assert_eq!(change.tags.as_ref().unwrap().properties().unwrap().len(), 1);
        assert_eq!(change.desired_change().unwrap().properties().unwrap().len(), 1);
        let node = r#"{"jobId":17,"type":"scheduleUpdateTwin","updateTwin":{"etag":"*","tags":{}},"startTime":null,
            "queryCondition":"*"}"#;
        let job = super::read(JobId::new("17").unwrap(), &Bytes::from_static(node.as_bytes())).unwrap();
        assert_eq!((job.start, job.max_seconds), (None, 3600));
        let cli = r#"{"jobId":"j","type":"scheduleUpdateTwin","updateTwin":{"tags":{"a":1},"etag":"*"},"queryCondition":
            "deviceId in ['a']","startTime":"2030-01-01T00:00:00","maxExecutionTimeInSeconds":"300"}"#;
        let job = read(cli).unwrap();
        assert_eq!((job.start, job.max_seconds), (Timestamp::parse("2030-01-01T00:00:00Z"), 300));
    }

    #[test]
    fn each_invalid_body_has_its_error() {
        use ErrorCode::{ArgumentInvalid, ArgumentNull, GenericBadRequest, IotHubFormatError};
        let twin = |rest: &str| {
            format!(
                r#"{{"type":"scheduleUpdateTwin","updateTwin":{{"tags":{{}}}},"queryCondition":"*"{rest}}}"#
            )
        };
        assert!(read(&twin("")).is_ok());
        for (text, code) in [
            ("[]".to_owned(), IotHubFormatError),
            ("{".to_owned(), IotHubFormatError),
            ("{}".to_owned(), ArgumentNull),
            (r#"{"type":"reboot","queryCondition":"*"}"#.to_owned(), GenericBadRequest),
            (r#"{"type":"scheduleUpdateTwin","queryCondition":"*"}"#.to_owned(), ArgumentNull),
            (r#"{"type":"scheduleDeviceMethod","queryCondition":"*"}"#.to_owned(), ArgumentNull),
            (r#"{"type":"scheduleDeviceMethod","cloudToDeviceMethod":{},"queryCondition":"*"}"#.to_owned(), ArgumentNull),
            (r#"{"type":"scheduleUpdateTwin","updateTwin":{"tags":{}}}"#.to_owned(), ArgumentNull),
            (r#"{"type":"scheduleUpdateTwin","updateTwin":[],"queryCondition":"*"}"#.to_owned(), IotHubFormatError),
            (
                r#"{"type":"scheduleUpdateTwin","updateTwin":{"etag":"AA==","tags":{}},"queryCondition":"*"}"#.to_owned(),
                ArgumentInvalid,
            ),
            (twin(r#","jobId":"other""#), ArgumentInvalid),
            (twin(r#","jobId":{}"#), ArgumentInvalid),
            (twin(r#","startTime":"tomorrow""#), ArgumentInvalid),
        ] {
            assert_eq!(read(&text).unwrap_err().code, code, "{text}");
        }
        assert_eq!(
            read(&twin(r#","maxExecutionTimeInSeconds":-1"#)).unwrap().max_seconds,
            0,
            "refused later"
        );
        let reserved = super::read(JobId::new("Query").unwrap(), &Bytes::from(twin("")));
        assert_eq!(reserved.unwrap_err().code, ArgumentInvalid);
    }
}
