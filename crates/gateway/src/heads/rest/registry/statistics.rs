//! `/statistics`: the number of devices and of connected devices.

use ferrohub_core::ServiceCaller;

use crate::heads::rest::RestResult;
use crate::heads::rest::request::RestRequest;
use crate::heads::rest::response::json;

pub(in crate::heads::rest) async fn devices(caller: ServiceCaller, _: RestRequest) -> RestResult {
    json(&caller.get_registry_statistics().await?)
}

pub(in crate::heads::rest) async fn service(caller: ServiceCaller, _: RestRequest) -> RestResult {
    json(&caller.get_service_statistics().await?)
}
