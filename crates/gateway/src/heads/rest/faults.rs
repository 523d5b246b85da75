//! `/ferrohub/faults`: manages injected faults.

use ferrohub_core::ServiceCaller;
use ferrohub_model::fault::FaultRequest;

use super::RestResult;
use super::fault_matching::resolve_operation;
use super::request::RestRequest;
use super::response::{json, no_content};

pub(super) async fn list(caller: ServiceCaller, _: RestRequest) -> RestResult {
    json(&caller.list_faults()?)
}

pub(super) async fn add(caller: ServiceCaller, mut request: RestRequest) -> RestResult {
    // Whether faults are enabled is checked before the body is read: then the answer does not depend on it.
    caller.list_faults()?;
    let mut fault: FaultRequest = request.read_json().await?;
    resolve_operation(&mut fault)?;
    json(&caller.add_fault(fault)?)
}

pub(super) async fn remove(caller: ServiceCaller, request: RestRequest) -> RestResult {
    caller.remove_fault(&request.parameter("fault")?)?;
    Ok(no_content())
}

pub(super) async fn clear(caller: ServiceCaller, _: RestRequest) -> RestResult {
    caller.clear_faults()?;
    Ok(no_content())
}
