//! `POST /twins/{id}/methods`: direct methods.

use std::ops::RangeInclusive;

use axum::http::{HeaderName, HeaderValue};
use bytes::Bytes;
use ferrohub_core::Caller;
use ferrohub_core::methods::MethodCall;
use ferrohub_core::node::MethodReply;
use ferrohub_model::method::{
    CONNECT_TIMEOUT_RANGE, DEFAULT_RESPONSE_TIMEOUT, MethodInvocation, MethodName, RESPONSE_TIMEOUT_RANGE,
    Seconds,
};
use ferrohub_model::sas::SasToken;
use ferrohub_model::{ErrorCode, HubError, IdentityId};

use super::RestResult;
use super::request::{RestRequest, from_object};
use super::response::json_bytes;
use crate::http::authorization;

/// Names the module that sends a call, as `device/module`. Every device SDK sends it.
const CALLING_MODULE: HeaderName = HeaderName::from_static("x-ms-edge-moduleid");

/// Returns the module that sends the call: the one that the header names, or the one of the token. Every SDK sends the
/// header, because the resource of the token need not name the module completely.
pub(super) fn calling_module(request: &RestRequest) -> Option<IdentityId> {
    let headers = request.headers();
    let caller = match headers.get(CALLING_MODULE).map(HeaderValue::to_str) {
        Some(name) => IdentityId::parse(name.ok()?).ok(),
        None => SasToken::parse(authorization(headers)?).ok()?.resource()?.identity(),
    };
    caller.filter(|caller| caller.module_str().is_some())
}

pub(super) async fn invoke(caller: Caller, mut request: RestRequest) -> RestResult {
    let target = request.identity();
    if let Caller::Device(module) = &caller {
        module.check_method_target(target.as_ref().ok()).await?;
    }
    let target = target?;
    let call = read_call(&request.read_body().await?)?;
    let reply = match caller {
        Caller::Service(service) => service.invoke_method(&target, call).await?,
        Caller::Device(module) => module.invoke_method(&target, call).await?,
    };
    Ok(json_bytes(render(&reply)))
}

/// Parses the body of a call. The payload is a slice of the body, verbatim.
fn read_call(body: &Bytes) -> Result<MethodCall, HubError> {
    read_invocation(from_object(body)?, body)
}

/// Checks a call that was parsed from a body. The payload is a slice of the body, verbatim.
pub(super) fn read_invocation(
    invocation: MethodInvocation<'_>,
    body: &Bytes,
) -> Result<MethodCall, HubError> {
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

pub(super) fn parse_timeout(
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
    fn an_empty_payload_becomes_null() {
        let render = |status, payload: &'static [u8]| {
            String::from_utf8(render(&MethodReply { status, payload: Bytes::from_static(payload) })).unwrap()
        };
        assert_eq!(render(200, b""), r#"{"status":200,"payload":null}"#);
        assert_eq!(render(-1, b" [1] "), r#"{"status":-1,"payload": [1] }"#);
    }
}
