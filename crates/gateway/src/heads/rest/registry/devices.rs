//! `/devices`: device identities.

use axum::http::HeaderName;
use ferrohub_core::ServiceCaller;
use ferrohub_core::registry::{DeviceFilter, IfMatch};
use ferrohub_model::device::Device;
use ferrohub_model::{DeviceId, ErrorCode, HubError};

use crate::heads::rest::RestResult;
use crate::heads::rest::paging::{CONTINUATION, bad_continuation, continuation_token};
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
    let filter = DeviceFilter { prefix: request.query_text("prefix")?, connected: connected(&request)? };
    let after = request.continuation()?.as_deref().map(DeviceId::new).transpose();
    let after = after.map_err(|_| bad_continuation())?;
    let size = request.page_size(MAX_TOP)?;
    let page =
        caller.list_devices(&filter, after.as_ref(), size.unwrap_or_else(|| request.top(MAX_TOP))).await?;
    let mut response = json(&page.devices)?;
    response.headers_mut().insert(TOTAL_COUNT, page.total.into());
    if let Some(next) = page.next
        && (size.is_some() || after.is_some())
    {
        response.headers_mut().insert(CONTINUATION, continuation_token(next.as_str()));
    }
    Ok(response)
}

/// Returns the query parameter `connected`.
fn connected(request: &RestRequest) -> Result<Option<bool>, HubError> {
    match request.query("connected") {
        None => Ok(None),
        Some("true") => Ok(Some(true)),
        Some("false") => Ok(Some(false)),
        Some(_) => Err(HubError::new(
            ErrorCode::ArgumentInvalid,
            "The query parameter connected must be true or false.",
        )),
    }
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
