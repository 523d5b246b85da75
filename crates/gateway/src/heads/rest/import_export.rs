//! `/jobs`: jobs that import or export devices and modules.

use ferrohub_core::ServiceCaller;

use super::RestResult;
use super::request::RestRequest;
use super::response::json;

pub(super) async fn create(caller: ServiceCaller, mut request: RestRequest) -> RestResult {
    json(&caller.create_import_export_job(&request.read_json().await?).await?)
}

pub(super) async fn list(caller: ServiceCaller, _: RestRequest) -> RestResult {
    json(&caller.list_import_export_jobs().await?)
}

pub(super) async fn get(caller: ServiceCaller, request: RestRequest) -> RestResult {
    json(&caller.get_import_export_job(&request.parameter("job")?).await?)
}

pub(super) async fn cancel(caller: ServiceCaller, request: RestRequest) -> RestResult {
    json(&caller.cancel_import_export_job(&request.parameter("job")?).await?)
}

pub(super) async fn container_url(caller: ServiceCaller, mut request: RestRequest) -> RestResult {
    json(&caller.create_container_url(&request.read_json().await?)?)
}
