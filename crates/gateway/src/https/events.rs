//! `/messages/events`: reads the event log, for services.
//!
//! Azure IoT Hub offers this over AMQP only; the path is the one of its AMQP endpoint.

use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use axum::response::{IntoResponse as _, Response};
use ferrohub_core::auth::Operation;
use ferrohub_core::telemetry::ReadRequest;
use ferrohub_core::telemetry::StartPosition;
use ferrohub_model::message::DEFAULT_CONSUMER_GROUP;
use ferrohub_model::{ErrorCode, HubError, percent};

use super::error::{ApiError, registry_error};
use super::event_stream::{self, ReadLimits, StreamFormat};
use super::request::{self, REQUEST_ID, authorization, check_api_version, fresh_request_id};
use super::server::Api;

/// The position at which the response starts. A client that loses the connection before the first event resumes there.
const POSITION: HeaderName = HeaderName::from_static("ferrohub-position");
/// Sent by a browser's event source when it reconnects: the `id` of the last event that it received.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Maximum value of `wait`, in seconds.
const MAX_WAIT: u64 = 3600;

pub(super) async fn partitions(
    State(api): State<Api>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    api.hub.authorize(authorization(&headers), Operation::ReadEvents).await.map_err(registry_error)?;
    check_api_version(&uri).map_err(registry_error)?;
    request::json(&api.hub.event_log().await.map_err(registry_error)?).map_err(registry_error)
}

/// Streams events from the log, and new events as they arrive. Ends after `max` events or after `wait` seconds without
/// an event; without either, it ends when the client disconnects. The format is one JSON object per line, or
/// server-sent events if `Accept` requests them.
pub(super) async fn read(State(api): State<Api>, uri: Uri, headers: HeaderMap) -> Result<Response, ApiError> {
    api.hub.authorize(authorization(&headers), Operation::ReadEvents).await.map_err(registry_error)?;
    check_api_version(&uri).map_err(registry_error)?;
    let group = text(&uri, "consumerGroup").map_err(registry_error)?;
    let from = position(&uri, &headers).map_err(registry_error)?;
    let partition = number(&uri, "partition").map_err(registry_error)?;
    let limits = ReadLimits {
        max_events: number(&uri, "max").map_err(registry_error)?,
        max_wait: number(&uri, "wait")
            .map_err(registry_error)?
            .map(|wait: u64| Duration::from_secs(wait.min(MAX_WAIT))),
    };
    let request =
        ReadRequest { consumer_group: group.as_deref().unwrap_or(DEFAULT_CONSUMER_GROUP), from, partition };
    let reader = api.hub.read_events(request).await.map_err(registry_error)?;
    let format = StreamFormat::from_accept(headers.get(header::ACCEPT));
    let position = HeaderValue::try_from(reader.position().to_string());
    let answer_headers = [
        (header::CONTENT_TYPE, format.content_type()),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (POSITION, position.unwrap_or(HeaderValue::from_static(""))),
        (REQUEST_ID, fresh_request_id()),
    ];
    let authorization = authorization(&headers).map(str::to_owned);
    let body = event_stream::body(api.hub.clone(), authorization, reader, format, limits);
    Ok((answer_headers, body).into_response())
}

/// Returns the start position; the end of the log if the request names none.
fn position(uri: &Uri, headers: &HeaderMap) -> Result<StartPosition, HubError> {
    let last_seen = headers.get(LAST_EVENT_ID).and_then(|value| value.to_str().ok());
    let position = match last_seen.filter(|seen| !seen.is_empty()) {
        Some(seen) => seen.to_owned(),
        None => match text(uri, "position")? {
            Some(position) => position,
            None => return Ok(StartPosition::End),
        },
    };
    StartPosition::parse(&position).ok_or_else(|| {
        let text = format!(
            "The position {position:?} is not valid: it must be start, end, a time such as 2024-01-31T12:00:00Z, or \
             offsets of partitions such as 0:1200,3:77."
        );
        HubError::new(ErrorCode::ArgumentInvalid, text)
    })
}

/// Returns the decoded value of a query parameter.
fn text(uri: &Uri, name: &str) -> Result<Option<String>, HubError> {
    let malformed = || {
        let text = format!("The query parameter {name} is not valid percent-encoding.");
        HubError::new(ErrorCode::ArgumentInvalid, text)
    };
    request::query(uri, name).map(|value| percent::decode(value).ok_or_else(malformed)).transpose()
}

fn number<N: std::str::FromStr>(uri: &Uri, name: &str) -> Result<Option<N>, HubError> {
    let malformed = |_| {
        let text = format!("The query parameter {name} is not a number, or too large.");
        HubError::new(ErrorCode::ArgumentInvalid, text)
    };
    request::query(uri, name).map(|value| value.parse().map_err(malformed)).transpose()
}
