//! `/ferrohub/faults`: manages injected faults, and applies them to HTTPS requests.

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get};
use ferrohub_core::auth::Operation;
use ferrohub_core::faults::RefusedRequest;
use ferrohub_model::fault::{FaultKind, FaultRequest};
use ferrohub_model::{ErrorCode, HubError, percent};

use super::error::{ApiError, ErrorFormat, registry_error};
use super::request::{authorization, json, no_content, read_json};
use super::request_path::Path;
use super::server::Api;

/// The operations that a fault can name: name, HTTP method, and path with a placeholder for the id.
const OPERATIONS: [(&str, &str, &str); 12] = [
    ("listDevices", "GET", "/devices"),
    ("getDevice", "GET", "/devices/{id}"),
    ("putDevice", "PUT", "/devices/{id}"),
    ("deleteDevice", "DELETE", "/devices/{id}"),
    ("listModules", "GET", "/devices/{id}/modules"),
    ("getTwin", "GET", "/twins/{id}"),
    ("patchTwin", "PATCH", "/twins/{id}"),
    ("putTwin", "PUT", "/twins/{id}"),
    ("invokeMethod", "POST", "/twins/{id}/methods"),
    ("sendEvent", "POST", "/devices/{id}/messages/events"),
    ("createUpload", "POST", "/devices/{id}/files"),
    ("completeUpload", "POST", "/devices/{id}/files/notifications"),
];

pub(super) fn routes() -> Router<Api> {
    Router::new().route("/faults", get(list).post(add).delete(clear)).route("/faults/{id}", delete(remove))
}

/// Returns the response of an injected fault, if one applies. Requests below `/ferrohub/` are exempt, so that faults
/// can always be managed.
pub(super) fn injected_response(api: &Api, verb: &str, path: &str) -> Option<Response> {
    if path.starts_with("/ferrohub/") {
        return None;
    }
    let path = percent::decode(path)?;
    let RefusedRequest { error, retry_after } = api.hub.injected_refusal(verb, &path)?;
    let format = if path.starts_with("/twins/") { ErrorFormat::Nested } else { ErrorFormat::Registry };
    let mut response = ApiError::new(error, format).into_response();
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    Some(response)
}

async fn authorize_management(api: &Api, headers: &HeaderMap) -> Result<(), ApiError> {
    api.hub.authorize(authorization(headers), Operation::ManageHub).await.map_err(registry_error)?;
    if api.hub.faults_are_enabled() {
        return Ok(());
    }
    let text = "Fault injection is off. It is for tests: set enabled = true in the section [faults] of the \
                configuration, or FERROHUB_FAULTS_ENABLED=true, and restart the hub.";
    Err(registry_error(HubError::new(ErrorCode::GenericNotFound, text)))
}

async fn list(State(api): State<Api>, headers: HeaderMap) -> Result<Response, ApiError> {
    authorize_management(&api, &headers).await?;
    json(&api.hub.faults()).map_err(registry_error)
}

async fn add(State(api): State<Api>, headers: HeaderMap, body: Body) -> Result<Response, ApiError> {
    authorize_management(&api, &headers).await?;
    let mut request: FaultRequest = read_json(body, &api.limits).await.map_err(registry_error)?;
    resolve_operation(&mut request).map_err(registry_error)?;
    json(&api.hub.add_fault(request).map_err(registry_error)?).map_err(registry_error)
}

async fn remove(
    State(api): State<Api>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    authorize_management(&api, &headers).await?;
    api.hub.remove_fault(&id).map_err(registry_error)?;
    Ok(no_content())
}

async fn clear(State(api): State<Api>, headers: HeaderMap) -> Result<Response, ApiError> {
    authorize_management(&api, &headers).await?;
    api.hub.clear_faults();
    Ok(no_content())
}

/// Sets the HTTP method and the path that `operation` and `target` stand for.
fn resolve_operation(request: &mut FaultRequest) -> Result<(), HubError> {
    let invalid = |text: String| Err(HubError::new(ErrorCode::ArgumentInvalid, text));
    let Some(name) = request.operation.as_deref().filter(|_| request.kind == FaultKind::RefuseRequest) else {
        return Ok(());
    };
    if request.method.is_some() || request.path.is_some() {
        return invalid("give either operation, or method and path".to_owned());
    }
    let Some((_, verb, path)) = OPERATIONS.iter().find(|(known, ..)| known.eq_ignore_ascii_case(name)) else {
        let known = OPERATIONS.map(|(name, ..)| name).join(", ");
        return invalid(format!("there is no operation {name:?}; the operations are {known}"));
    };
    let target = request.target.as_deref().unwrap_or("*");
    let module_path = target.split_once('/').map(|(device, module)| format!("{device}/modules/{module}"));
    request.method = Some((*verb).to_owned());
    request.path = Some(path.replace("{id}", module_path.as_deref().unwrap_or(target)));
    Ok(())
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
