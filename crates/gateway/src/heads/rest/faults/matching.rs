//! Faults of requests: which requests a fault matches, and its response.
//!
//! A fault names an operation, or an HTTP method and a pattern of paths. The hub does not know about either: this file
//! matches them.

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use ferrohub_core::Hub;
use ferrohub_core::faults::{Pattern, RefusedRequest};
use ferrohub_model::fault::{FaultKind, FaultRequest};
use ferrohub_model::{ErrorCode, HubError, percent};

use crate::heads::rest::error::{ApiError, ErrorFormat};
use crate::heads::rest::routes::Route;
use crate::heads::rest::table::ROUTES;

/// Requests below this path are exempt, so that faults can always be managed.
const EXEMPT: &str = "/ferrohub/";

/// Returns the response of an injected fault, if one applies.
pub(crate) fn injected_response(hub: &Hub, verb: &str, path: &str) -> Option<Response> {
    if path.starts_with(EXEMPT) {
        return None;
    }
    let path = percent::decode(path)?;
    let RefusedRequest { error, retry_after } =
        hub.injected_refusal(&path, |fault| matches(fault, verb, &path))?;
    let format = if path.starts_with("/twins/") { ErrorFormat::Nested } else { ErrorFormat::Registry };
    let mut response = ApiError::new(error, format).into_response();
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    Some(response)
}

/// Returns whether the fault applies to a request. The pattern is compiled each time: faults are for tests.
fn matches(fault: &FaultRequest, verb: &str, path: &str) -> bool {
    fault.method.as_deref().is_none_or(|only| only.eq_ignore_ascii_case(verb))
        && fault.path.as_deref().is_some_and(|pattern| Pattern::new(pattern).matches(path))
}

/// Checks which requests a new fault names, and sets the HTTP method and the path that `operation` and `target` stand for.
pub(super) fn resolve_operation(request: &mut FaultRequest) -> Result<(), HubError> {
    let invalid = |text: String| Err(HubError::new(ErrorCode::ArgumentInvalid, text));
    if request.kind != FaultKind::RefuseRequest {
        return Ok(());
    }
    let Some(name) = request.operation.as_deref() else {
        let path = request.path.as_deref().unwrap_or_default();
        if !path.starts_with('/') {
            return invalid(
                "refuseRequest requires an operation, or a path that begins with a slash".to_owned(),
            );
        }
        return Pattern::check_length(path);
    };
    if request.method.is_some() || request.path.is_some() {
        return invalid("give either operation, or method and path".to_owned());
    }
    let mut known = ROUTES.iter().filter(|route| !is_exempt(route));
    let Some(route) = known.clone().find(|route| route.operation.name().eq_ignore_ascii_case(name)) else {
        let known: Vec<&str> = known.by_ref().map(|route| route.operation.name()).collect();
        return invalid(format!("there is no operation {name:?}; the operations are {}", known.join(", ")));
    };
    let path = path_pattern(route, request.target.as_deref().unwrap_or("*"));
    request.method = Some(route.verb.name().to_owned());
    Pattern::check_length(&path)?;
    request.path = Some(path);
    Ok(())
}

fn is_exempt(route: &Route) -> bool {
    route.paths.iter().all(|path| path.starts_with(EXEMPT))
}

/// Returns the pattern of the paths of a route for a target: a device, or a device and a module.
fn path_pattern(route: &Route, target: &str) -> String {
    let (device, module) = target.split_once('/').map_or((target, "*"), |(device, module)| (device, module));
    let names_module = target.contains('/');
    let has_module = |path: &&&str| path.contains("{module}");
    let path = route.paths.iter().find(|path| has_module(path) == names_module).or(route.paths.first());
    let segment = |segment: &str| match segment {
        "{id}" => device.to_owned(),
        "{module}" => module.to_owned(),
        parameter if parameter.starts_with('{') => "*".to_owned(),
        fixed => fixed.to_owned(),
    };
    path.copied().unwrap_or_default().split('/').map(segment).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_stands_for_a_method_and_a_path() {
        for (operation, target, expected) in [
            ("invokeMethod", Some("dev*"), Some(("POST", "/twins/dev*/methods"))),
            ("invokeMethod", Some("dev/m"), Some(("POST", "/twins/dev/modules/m/methods"))),
            ("GETTWIN", None, Some(("GET", "/twins/*"))),
            ("listDevices", None, Some(("GET", "/devices"))),
            ("getTwin", None, Some(("GET", "/twins/*"))),
            ("getModule", Some("dev/m"), Some(("GET", "/devices/dev/modules/m"))),
            ("completeMessage", Some("dev"), Some(("DELETE", "/devices/dev/messages/deviceBound/*"))),
            ("listPolicies", None, None),
            ("getEverything", None, None),
        ] {
            let mut request = FaultRequest {
                operation: Some(operation.to_owned()),
                target: target.map(str::to_owned),
                ..FaultRequest::new(FaultKind::RefuseRequest)
            };
            let named = resolve_operation(&mut request);
            let found =
                named.is_ok().then(|| (request.method.as_deref().unwrap(), request.path.as_deref().unwrap()));
            assert_eq!(found, expected, "{operation}");
        }
    }
}
