//! Injected refusals of operations, for tests of back ends.

use ferrohub_core::faults::{FaultPoint, Pattern, RefusedRequest};
use ferrohub_core::{Hub, Operation};
use ferrohub_model::HubError;
use ferrohub_model::fault::FaultRequest;

/// Returns the error of an injected fault, if one applies to an operation about an identity, or about none.
pub(super) fn injected_error(hub: &Hub, operation: Operation, target: Option<&str>) -> Option<HubError> {
    if !hub.has_fault(FaultPoint::Request) {
        return None;
    }
    let name = target.unwrap_or_else(|| operation.name());
    let RefusedRequest { error, retry_after: _ } =
        hub.injected_refusal(name, |fault| matches(fault, operation, target))?;
    Some(error)
}

/// Returns whether the fault names the operation. A fault that names a path is one of HTTPS requests.
fn matches(fault: &FaultRequest, operation: Operation, target: Option<&str>) -> bool {
    fault.operation.as_deref().is_some_and(|name| name.eq_ignore_ascii_case(operation.name()))
        && fault.target.as_deref().is_none_or(|pattern| {
            target.is_none_or(|target| pattern.is_empty() || Pattern::new(pattern).matches(target))
        })
}

#[cfg(test)]
mod tests {
    use ferrohub_model::fault::FaultKind;

    use super::*;

    #[test]
    fn a_fault_names_an_operation_and_perhaps_an_identity() {
        for (operation, target, hit) in [
            (Some("sendMessage"), None, true),
            (Some("SENDMESSAGE"), Some("dev*"), true),
            (Some("sendMessage"), Some("other"), false),
            (Some("invokeMethod"), None, false),
            (None, None, false),
        ] {
            let fault = FaultRequest {
                operation: operation.map(str::to_owned),
                target: target.map(str::to_owned),
                ..FaultRequest::new(FaultKind::RefuseRequest)
            };
            assert_eq!(matches(&fault, Operation::SendMessage, Some("dev1")), hit, "{fault:?}");
        }
    }
}
