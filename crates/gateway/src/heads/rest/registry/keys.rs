//! `/ferrohub/devices/{id}/regenerate-key`, also for modules. Azure has no such operation: its clients generate new
//! keys themselves and update the identity.

use ferrohub_core::ServiceCaller;
use ferrohub_core::registry::IfMatch;
use ferrohub_model::{HubError, KeyChange};
use serde::Deserialize;

use crate::heads::rest::RestResult;
use crate::heads::rest::request::RestRequest;
use crate::heads::rest::response::json_with_etag;

#[derive(Deserialize)]
struct RegenerateKeyRequest {
    key: KeyChange,
}

async fn read(request: &mut RestRequest) -> Result<(KeyChange, IfMatch), HubError> {
    let if_match = request.if_match()?.unwrap_or(IfMatch::Any);
    let body: RegenerateKeyRequest = request.read_json().await?;
    Ok((body.key, if_match))
}

pub(in crate::heads::rest) async fn regenerate_device_key(
    caller: ServiceCaller,
    mut request: RestRequest,
) -> RestResult {
    let (change, if_match) = read(&mut request).await?;
    let device = caller.regenerate_device_key(&request.device_id()?, change, &if_match).await?;
    json_with_etag(&device, device.etag.as_deref())
}

pub(in crate::heads::rest) async fn regenerate_module_key(
    caller: ServiceCaller,
    mut request: RestRequest,
) -> RestResult {
    let (change, if_match) = read(&mut request).await?;
    let (device, module) = (request.device_id()?, request.module_id()?);
    let module = caller.regenerate_module_key(&device, &module, change, &if_match).await?;
    json_with_etag(&module, module.etag.as_deref())
}
