//! `/digitaltwins`: digital twins of IoT Plug and Play, and commands.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::IntoResponse as _;
use bytes::Bytes;
use ferrohub_core::ServiceCaller;
use ferrohub_core::digital_twins::CommandCall;
use ferrohub_core::registry::IfMatch;
use ferrohub_model::digital_twin::{COMMAND_STATUS_HEADER, CommandName, DigitalTwinPatch};
use ferrohub_model::method::{
    CONNECT_TIMEOUT_RANGE, DEFAULT_RESPONSE_TIMEOUT, RESPONSE_TIMEOUT_RANGE, Seconds,
};
use ferrohub_model::{ErrorCode, HubError, json, percent};

use super::RestResult;
use super::methods::parse_timeout;
use super::request::RestRequest;
use super::response::{etag_header, json_bytes, json_with_etag};
use crate::http::{REQUEST_ID, fresh_request_id};

const COMMAND_STATUS: HeaderName = HeaderName::from_static(COMMAND_STATUS_HEADER);

pub(super) async fn get(caller: ServiceCaller, request: RestRequest) -> RestResult {
    let twin = caller.get_digital_twin(&request.device_id()?).await?;
    json_with_etag(&twin.document, Some(&twin.etag))
}

/// Clients expect status 202 and no body.
pub(super) async fn patch(caller: ServiceCaller, mut request: RestRequest) -> RestResult {
    let (device, if_match) = (request.device_id()?, request.if_match()?.unwrap_or(IfMatch::Any));
    let patch = DigitalTwinPatch::parse(&request.read_body().await?).map_err(|error| {
        HubError::new(ErrorCode::InvalidDigitalTwinJsonPatch, format!("The body is not valid: {error}."))
    })?;
    let etag = caller.patch_digital_twin(&device, patch, if_match).await?;
    let mut response = (StatusCode::ACCEPTED, [(REQUEST_ID, fresh_request_id())]).into_response();
    let location = HeaderValue::try_from(format!("/digitaltwins/{}", percent::encode(device.as_str()))).ok();
    let headers = [(header::ETAG, etag_header(&etag)), (header::LOCATION, location)];
    let known = headers.into_iter().filter_map(|(name, value)| Some((name, value?)));
    response.headers_mut().extend(known);
    Ok(response)
}

pub(super) async fn invoke(caller: ServiceCaller, mut request: RestRequest) -> RestResult {
    let device = request.device_id()?;
    let name = {
        let (component, command) = (request.optional_parameter("component")?, request.parameter("command")?);
        match component {
            None => CommandName::of_device(&command),
            Some(component) => CommandName::of_component(&component, &command),
        }
    };
    let call = CommandCall {
        name: name.map_err(|error| HubError::new(ErrorCode::ArgumentInvalid, format!("{error}.")))?,
        response_timeout: parse_timeout(
            "responseTimeoutInSeconds",
            request.query("responseTimeoutInSeconds").map(Seconds::parse),
            &RESPONSE_TIMEOUT_RANGE,
            DEFAULT_RESPONSE_TIMEOUT,
        )?,
        connect_timeout: parse_timeout(
            "connectTimeoutInSeconds",
            request.query("connectTimeoutInSeconds").map(Seconds::parse),
            &CONNECT_TIMEOUT_RANGE,
            0,
        )?,
        payload: payload(request.read_body().await?)?,
    };
    let reply = caller.invoke_command(&device, call).await?;
    // Clients parse the body in every case.
    let body = if reply.payload.is_empty() { b"null".to_vec() } else { reply.payload.to_vec() };
    let mut response = json_bytes(body);
    response.headers_mut().insert(COMMAND_STATUS, HeaderValue::from(reply.status));
    Ok(response)
}

/// Returns the payload, verbatim: the whole body. An empty body is none.
fn payload(body: Bytes) -> Result<Option<Bytes>, HubError> {
    if body.is_empty() {
        return Ok(None);
    }
    json::check(&body).map_err(|reason| {
        HubError::new(ErrorCode::IotHubFormatError, format!("The payload is not valid JSON: {reason}."))
    })?;
    Ok(Some(body))
}
