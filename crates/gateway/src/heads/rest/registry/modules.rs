//! `/devices/{id}/modules`: module identities, for services and for the device itself.

use ferrohub_core::Caller;
use ferrohub_core::registry::IfMatch;
use ferrohub_model::IdentityId;
use ferrohub_model::module::Module;

use crate::heads::rest::RestResult;
use crate::heads::rest::request::RestRequest;
use crate::heads::rest::response::{json, json_with_etag, no_content};

/// Returns the device that the path names: it manages its own modules.
pub(in crate::heads::rest) fn device(request: &RestRequest) -> Option<IdentityId> {
    request.device_id().ok().map(IdentityId::from)
}

pub(in crate::heads::rest) async fn list(caller: Caller, request: RestRequest) -> RestResult {
    json(&match caller {
        Caller::Service(service) => service.list_modules(&request.device_id()?).await?,
        Caller::Device(device) => device.list_own_modules().await?,
    })
}

pub(in crate::heads::rest) async fn get(caller: Caller, request: RestRequest) -> RestResult {
    let (device, module) = (request.device_id()?, request.module_id()?);
    let module = match caller {
        Caller::Service(service) => service.get_module(&device, &module).await?,
        Caller::Device(device) => device.get_own_module(&module).await?,
    };
    json_with_etag(&module, module.etag.as_deref())
}

pub(in crate::heads::rest) async fn put(caller: Caller, mut request: RestRequest) -> RestResult {
    let (device, module) = (request.device_id()?, request.module_id()?);
    let if_match = request.if_match()?;
    let body: Module = request.read_json().await?;
    let module = match caller {
        Caller::Service(service) => service.put_module(&device, &module, &body, if_match.as_ref()).await?,
        Caller::Device(device) => device.put_own_module(&module, &body, if_match.as_ref()).await?,
    };
    json_with_etag(&module, module.etag.as_deref())
}

pub(in crate::heads::rest) async fn delete(caller: Caller, request: RestRequest) -> RestResult {
    let (device, module) = (request.device_id()?, request.module_id()?);
    // Every SDK sends If-Match; without it any version is deleted.
    let if_match = request.if_match()?.unwrap_or(IfMatch::Any);
    match caller {
        Caller::Service(service) => service.delete_module(&device, &module, &if_match).await?,
        Caller::Device(device) => device.delete_own_module(&module, &if_match).await?,
    }
    Ok(no_content())
}
