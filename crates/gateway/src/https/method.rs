//! `POST /twins/{id}/methods`: direct methods.

use std::ops::RangeInclusive;

use axum::http::HeaderName;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use ferrohub_core::auth::Operation;
use ferrohub_core::methods::MethodCall;
use ferrohub_core::node::MethodReply;
use ferrohub_model::method::{
    CONNECT_TIMEOUT_RANGE, DEFAULT_RESPONSE_TIMEOUT, MethodInvocation, MethodName, RESPONSE_TIMEOUT_RANGE,
    Seconds,
};
use ferrohub_model::{ErrorCode, HubError, IdentityId, percent};
use hyper::Request;
use hyper::body::Incoming;

use super::connection::HttpConnection;
use super::error::nested_error;
use super::request::{
    authorization, check_api_version, device_id, from_object, json_bytes, module_id, read_body,
};
use super::request_body::RequestBody;
use super::server::Api;

/// Names the module that sends a call, as `device/module`. Every device SDK sends it.
const CALLING_MODULE: HeaderName = HeaderName::from_static("x-ms-edge-moduleid");

/// Returns the target of a method call from a path below `/twins`; `None` if the path is not one of a method call.
pub(super) fn parse_target(path: &str) -> Option<Result<IdentityId, HubError>> {
    let path = path.strip_prefix("/twins/")?.strip_suffix("/methods")?;
    let (device, module) = match path.split_once('/') {
        None => (path, None),
        Some((device, module)) => (device, Some(module.strip_prefix("modules/")?)),
    };
    if module.is_some_and(|module| module.contains('/')) {
        return None;
    }
    Some(identity(device, module))
}

fn identity(device: &str, module: Option<&str>) -> Result<IdentityId, HubError> {
    let decoded = |text: &str| percent::decode(text).unwrap_or_default();
    let device = device_id(&decoded(device))?;
    let Some(module) = module else { return Ok(device.into()) };
    let module = module_id(&decoded(module))?;
    Ok(IdentityId::module(&device, &module))
}

/// Serves `POST` on the path of a method call.
pub(super) async fn invoke(
    api: &Api,
    connection: &HttpConnection,
    target: Result<IdentityId, HubError>,
    request: Request<Incoming>,
) -> Response {
    match try_invoke(api, connection, target, request).await {
        Ok(reply) => json_bytes(render(&reply)),
        Err(error) => nested_error(error).into_response(),
    }
}

async fn try_invoke(
    api: &Api,
    connection: &HttpConnection,
    target: Result<IdentityId, HubError>,
    request: Request<Incoming>,
) -> Result<MethodReply, HubError> {
    let (head, body) = request.into_parts();
    // The client can send the whole body, also of a refused request.
    let body = RequestBody::new(body, &head.headers, api.limits.request_timeout, connection.clone());
    let target = match target {
        Ok(target) => {
            let headers = &head.headers;
            let calling_module = || headers.get(CALLING_MODULE)?.to_str().ok();
            api.hub.authorize_call(authorization(headers), calling_module, &target).await?;
            target
        }
        // A caller without permission must not learn whether the path is valid.
        Err(error) => {
            api.hub.authorize(authorization(&head.headers), Operation::InvokeMethod).await?;
            return Err(error);
        }
    };
    check_api_version(&head.uri)?;
    let call = read_call(&read_body(body, &api.limits).await?)?;
    api.hub.invoke_method(&target, call).await
}

/// Parses the body of a call. The payload is a slice of the body, verbatim.
fn read_call(body: &Bytes) -> Result<MethodCall, HubError> {
    let invocation: MethodInvocation<'_> = from_object(body)?;
    let name = invocation
        .method_name
        .ok_or_else(|| HubError::new(ErrorCode::ArgumentNull, "methodName is required."))
        .and_then(|name| {
            MethodName::new(&name)
                .map_err(|error| HubError::new(ErrorCode::ArgumentInvalid, format!("{error}.")))
        })?;
    if let Some(payload) = invocation.payload {
        ferrohub_model::json::check_surrogates(payload.get()).map_err(|reason| {
            HubError::new(ErrorCode::IotHubFormatError, format!("The payload is not valid JSON: {reason}."))
        })?;
    }
    Ok(MethodCall {
        name,
        payload: invocation.payload.map(|payload| body.slice_ref(payload.get().as_bytes())),
        response_timeout: parse_timeout(
            "responseTimeoutInSeconds",
            invocation.response_timeout_in_seconds,
            &RESPONSE_TIMEOUT_RANGE,
            DEFAULT_RESPONSE_TIMEOUT,
        )?,
        connect_timeout: parse_timeout(
            "connectTimeoutInSeconds",
            invocation.connect_timeout_in_seconds,
            &CONNECT_TIMEOUT_RANGE,
            0,
        )?,
    })
}

fn parse_timeout(
    name: &str,
    value: Option<Seconds>,
    range: &RangeInclusive<i64>,
    default: u32,
) -> Result<u32, HubError> {
    match value {
        None => Ok(default),
        Some(Seconds::Valid(value)) if range.contains(&value) => Ok(u32::try_from(value).unwrap_or(default)),
        Some(_) => Err(HubError::new(
            ErrorCode::ArgumentInvalid,
            format!("{name} must be within [{}; {}].", range.start(), range.end()),
        )),
    }
}

/// Returns `{"status":200,"payload":…}` with the device's JSON verbatim; an empty payload becomes `null`.
fn render(reply: &MethodReply) -> Vec<u8> {
    let payload: &[u8] = if reply.payload.is_empty() { b"null" } else { &reply.payload };
    let mut body = Vec::with_capacity(payload.len() + 40);
    body.extend_from_slice(b"{\"status\":");
    body.extend_from_slice(reply.status.to_string().as_bytes());
    body.extend_from_slice(b",\"payload\":");
    body.extend_from_slice(payload);
    body.push(b'}');
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &'static str) -> Result<MethodCall, HubError> {
        read_call(&Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn the_payload_of_a_call_is_kept_verbatim() {
        let call = read(
            r#"{"methodName":"m","payload":{ "a":1.0 },"responseTimeoutInSeconds":"5","timeoutInSeconds":1}"#,
        )
        .unwrap();
        assert_eq!(call.payload.as_deref(), Some(&br#"{ "a":1.0 }"#[..]));
        assert_eq!((call.response_timeout, call.connect_timeout), (5, 0));
        assert_eq!(read(r#"{"methodName":"m"}"#).unwrap().payload, None);
    }

    #[test]
    fn each_invalid_argument_has_its_error_code_and_message() {
        for (text, code, message) in [
            ("{", ErrorCode::IotHubFormatError, ""),
            ("[]", ErrorCode::IotHubFormatError, ""),
            (
                r#"{"methodName":"m","payload":["\ud800"]}"#,
                ErrorCode::IotHubFormatError,
                "The payload is not valid JSON: a string contains half of a surrogate pair.",
            ),
            ("{}", ErrorCode::ArgumentNull, "methodName is required."),
            (r#"{"methodName":" "}"#, ErrorCode::ArgumentInvalid, "methodName must not be blank."),
            (
                r#"{"methodName":"m","responseTimeoutInSeconds":4}"#,
                ErrorCode::ArgumentInvalid,
                "responseTimeoutInSeconds must be within [5; 300].",
            ),
            (
                r#"{"methodName":"m","connectTimeoutInSeconds":301}"#,
                ErrorCode::ArgumentInvalid,
                "connectTimeoutInSeconds must be within [0; 300].",
            ),
        ] {
            let error = read(text).unwrap_err();
            assert_eq!(error.code, code, "{text}");
            assert!(message.is_empty() || error.message == message, "{}", error.message);
        }
    }

    #[test]
    fn a_path_names_a_device_or_a_module() {
        let name = |path| {
            parse_target(path).map(|target| target.map(|id| id.to_string()).map_err(|error| error.code))
        };
        assert_eq!(name("/twins/d1/methods"), Some(Ok("d1".to_owned())));
        assert_eq!(name("/twins/d%231/modules/m/methods"), Some(Ok("d#1/m".to_owned())));
        for invalid in
            ["/twins//methods", "/twins/a%2Fb/methods", "/twins/%/methods", "/twins/d/modules//methods"]
        {
            assert_eq!(name(invalid), Some(Err(ErrorCode::ArgumentInvalid)), "{invalid}");
        }
        for other in
            ["/twins/d1", "/twins/d1/methods/", "/twins/d/x/m/methods", "/twins/d/modules/m/n/methods"]
        {
            assert_eq!(name(other), None, "{other}");
        }
    }

    #[test]
    fn an_empty_payload_becomes_null() {
        let render = |status, payload: &'static [u8]| {
            String::from_utf8(render(&MethodReply { status, payload: Bytes::from_static(payload) })).unwrap()
        };
        assert_eq!(render(200, b""), r#"{"status":200,"payload":null}"#);
        assert_eq!(render(-1, b" [1] "), r#"{"status":-1,"payload": [1] }"#);
    }
}
