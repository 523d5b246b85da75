//! `/devices`: device identities.

use axum::http::HeaderName;
use ferrohub_core::ServiceCaller;
use ferrohub_core::registry::IfMatch;
use ferrohub_model::device::Device;

use crate::heads::rest::RestResult;
use crate::heads::rest::request::RestRequest;
use crate::heads::rest::response::{json, json_with_etag, no_content};

/// Maximum number of devices in one list, as in Azure.
const MAX_TOP: usize = 1000;
/// Number of registered devices, in the response to a list. Azure has no such header: a list that is cut off looks like a
/// complete one.
const TOTAL_COUNT: HeaderName = HeaderName::from_static("ferrohub-total-count");

pub(in crate::heads::rest) async fn get(caller: ServiceCaller, request: RestRequest) -> RestResult {
    let device = caller.get_device(&request.device_id()?).await?;
    json_with_etag(&device, device.etag.as_deref())
}

pub(in crate::heads::rest) async fn list(caller: ServiceCaller, request: RestRequest) -> RestResult {
    let (devices, total) = caller.list_devices(request.top(MAX_TOP)).await?;
    let mut response = json(&devices)?;
    response.headers_mut().insert(TOTAL_COUNT, total.into());
    Ok(response)
}

pub(in crate::heads::rest) async fn put(caller: ServiceCaller, mut request: RestRequest) -> RestResult {
    let (id, if_match) = (request.device_id()?, request.if_match()?);
    let device: Device = request.read_json().await?;
    let device = caller.put_device(&id, &device, if_match.as_ref()).await?;
    json_with_etag(&device, device.etag.as_deref())
}

pub(in crate::heads::rest) async fn delete(caller: ServiceCaller, request: RestRequest) -> RestResult {
    // Every SDK sends If-Match; without it any version is deleted.
    let if_match = request.if_match()?.unwrap_or(IfMatch::Any);
    caller.delete_device(&request.device_id()?, &if_match).await?;
    Ok(no_content())
}
