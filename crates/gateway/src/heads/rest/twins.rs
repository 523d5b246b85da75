//! `/twins`: twins of devices and modules, for services.

use ferrohub_core::ServiceCaller;
use ferrohub_core::registry::IfMatch;

use super::RestResult;
use super::request::RestRequest;
use super::response::json_with_etag;

pub(super) async fn get(caller: ServiceCaller, request: RestRequest) -> RestResult {
    let twin = caller.get_twin(&request.identity()?).await?;
    json_with_etag(&twin, twin.etag.as_deref())
}

pub(super) async fn patch(caller: ServiceCaller, mut request: RestRequest) -> RestResult {
    let (id, if_match) = (request.identity()?, request.if_match()?.unwrap_or(IfMatch::Any));
    let twin = caller.patch_twin(&id, request.read_json().await?, if_match).await?;
    json_with_etag(&twin, twin.etag.as_deref())
}

pub(super) async fn put(caller: ServiceCaller, mut request: RestRequest) -> RestResult {
    let (id, if_match) = (request.identity()?, request.if_match()?.unwrap_or(IfMatch::Any));
    let twin = caller.put_twin(&id, request.read_json().await?, if_match).await?;
    json_with_etag(&twin, twin.etag.as_deref())
}
