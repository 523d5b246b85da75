//! `/jobs/v2`: jobs on many devices, for services.
//!
//! What clients send differs in many details; `create_body` and its tests say which.

mod create_body;

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use ferrohub_core::jobs::{JobFilter, JobPage};
use ferrohub_core::{Operation, ServiceCaller};
use ferrohub_model::job::{Job, JobStatus, JobType};
use ferrohub_model::{ErrorCode, HubError, JobId};
use serde::Serialize;
use serde_json::json;

use super::RestResult;
use super::paging::{CONTINUATION, bad_continuation, continuation_token};
use super::request::RestRequest;
use super::response::json;

const ITEM_TYPE: HeaderName = HeaderName::from_static("x-ms-item-type");
/// Types of jobs that clients ask for and this list does not have: those of imports and exports.
const OTHER_TYPES: [&str; 5] = ["unknown", "export", "import", "exportDevices", "importDevices"];

/// What the Azure command line adds to the user agent of the client that it shares with the Python package.
const COMMAND_LINE: [&str; 2] = ["iotplatformcliextension", "azurecli"];

impl RestRequest {
    /// Returns the job that the path names.
    fn job_id(&self) -> Result<JobId, HubError> {
        JobId::new(&self.parameter("jobId")?).map_err(|error| {
            HubError::new(ErrorCode::ArgumentInvalid, format!("The job id is not valid: {error}."))
        })
    }
}

pub(super) async fn create(caller: ServiceCaller, mut request: RestRequest) -> RestResult {
    let id = request.job_id()?;
    let body = request.read_body().await?;
    json(&caller.create_job(create_body::read(id, &body)?).await?)
}

pub(super) async fn get(caller: ServiceCaller, request: RestRequest) -> RestResult {
    let id = request.job_id()?;
    match caller.get_job(&id).await {
        Err(error) if error.code == ErrorCode::JobNotFound && caller.may(Operation::GetImportExportJob) => {
            // The Azure CLI asks here first, and then, because the state is unknown, with `GET /jobs/{id}`.
            let job = caller.get_import_export_job(id.as_str()).await.map_err(|_| error)?;
            json(&json!({ "jobId": job.job_id, "type": job.kind, "status": "unknown" }))
        }
        job => json(&job?),
    }
}

pub(super) async fn cancel(caller: ServiceCaller, request: RestRequest) -> RestResult {
    json(&caller.cancel_job(&request.job_id()?).await?)
}

pub(super) async fn list(caller: ServiceCaller, request: RestRequest) -> RestResult {
    let text = |name: &str| Ok::<_, HubError>(request.query_text(name)?.filter(|text| !text.is_empty()));
    let (type_name, status_name) = (text("jobType")?, text("jobStatus")?);
    let job_type = type_name.as_deref().and_then(JobType::from_name);
    let is_other = |name: &str| OTHER_TYPES.iter().any(|other| other.eq_ignore_ascii_case(name));
    let is_of_other_type = match &type_name {
        Some(name) if job_type.is_none() && !is_other(name) => {
            return Err(unknown("jobType", name, JobType::ALL.iter().map(|job_type| job_type.name())));
        }
        Some(_) => job_type.is_none(),
        None => false,
    };
    let status = status_name.as_deref().map(|name| {
        let names = JobStatus::ALL.iter().map(|status| status.name());
        JobStatus::from_name(name).ok_or_else(|| unknown("jobStatus", name, names))
    });
    let before = match request.continuation()? {
        None => None,
        Some(key) => Some(key.parse().map_err(|_| bad_continuation())?),
    };
    let filter =
        JobFilter { job_type, status: status.transpose()?, top: request.page_size(usize::MAX)?, before };
    let JobPage { jobs, next } = match is_of_other_type {
        true => {
            caller.check(ferrohub_core::Operation::ListJobs)?;
            JobPage { jobs: Vec::new(), next: None }
        }
        false => caller.list_jobs(&filter).await?,
    };
    let next = next.map(|number| continuation_token(&number.to_string()));
    let mut response = match expects_object(request.headers()) {
        true => {
            let token = next.as_ref().and_then(|token| token.to_str().ok());
            json(&QueryResult { item_type: "jobResponse", items: &jobs, continuation_token: token })?
        }
        false => json(&jobs)?,
    };
    let headers = response.headers_mut();
    headers.insert(ITEM_TYPE, HeaderValue::from_static("JobResponse"));
    if let Some(token) = next {
        headers.insert(CONTINUATION, token);
    }
    Ok(response)
}

fn unknown<'a>(parameter: &str, name: &str, names: impl Iterator<Item = &'a str>) -> HubError {
    let names = names.collect::<Vec<_>>().join(", ");
    HubError::new(
        ErrorCode::ArgumentInvalid,
        format!("{parameter} {name:?} is unknown; the names are {names}."),
    )
}

/// The list of jobs as the Python package reads it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct QueryResult<'a> {
    #[serde(rename = "type")]
    item_type: &'static str,
    items: &'a [Job],
    #[serde(skip_serializing_if = "Option::is_none")]
    continuation_token: Option<&'a str>,
}

/// Whether the client reads an object and not an array. That is the package `azure-iot-hub` of Python alone. The Azure
/// command line uses the same generated client and needs the array; it adds its name to the user agent, and other headers to
/// this request.
fn expects_object(headers: &HeaderMap) -> bool {
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    let agent = agent.to_ascii_lowercase();
    agent.contains("iothubgatewayserviceapis/")
        && !COMMAND_LINE.iter().any(|name| agent.contains(name))
        && !headers.contains_key("x-ms-max-item-count")
        && !headers.contains_key(header::CACHE_CONTROL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_python_package_gets_an_object() {
        let python = "python/3.11.2 (Linux-6.1-x86_64) msrest/0.7.1 iothubgatewayserviceapis/2021-04-12";
        let cli =
            "python/3.11.2 msrest/0.7.1 iothubgatewayserviceapis/2021-04-12 IoTPlatformCliExtension/0.25.0";
        for (agent, extra, expected) in [
            (python, None, true),
            (python, Some("x-ms-max-item-count"), false),
            (python, Some("cache-control"), false),
            (cli, None, false),
            ("azure-iothub/1.16.0", None, false),
            ("", None, false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::USER_AGENT, HeaderValue::from_str(agent).unwrap());
            if let Some(name) = extra {
                headers.insert(name, HeaderValue::from_static("1"));
            }
            assert_eq!(expects_object(&headers), expected, "{agent} {extra:?}");
        }
        assert!(!expects_object(&HeaderMap::new()));
    }
}
