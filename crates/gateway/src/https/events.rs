//! `/messages/events`: the event log, for services.
//!
//! Azure has AMQP for this alone; the path is the one under which its AMQP endpoint is found.

use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use axum::response::{IntoResponse as _, Response};
use ferrohub_core::ReadRequest;
use ferrohub_core::auth::Operation;
use ferrohub_core::events::StartPosition;
use ferrohub_model::message::DEFAULT_CONSUMER_GROUP;
use ferrohub_model::{ErrorCode, HubError, percent};

use super::error::{ApiError, registry_error};
use super::event_stream::{self, ReadLimits, StreamFormat};
use super::request::{self, REQUEST_ID, authorization, check_api_version, fresh_request_id};
use super::server::Api;

/// Where the answer begins: what to ask for again when the connection was lost before the first event.
const POSITION: HeaderName = HeaderName::from_static("ferrohub-position");
/// What a browser's event source sends when it comes back: the `id` of the last event that it saw.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Longest `wait`.
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

/// Events as they are in the log, and on as they come: until there were `max` of them, or none for `wait` seconds, or for
/// as long as somebody reads. One JSON object a line, or server-sent events to whom asks for them.
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

/// Where to begin; at the end if nobody says.
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
            "The position {position:?} is neither start, end, a time such as 2024-01-31T12:00:00Z, nor offsets of \
             partitions such as 0:1200,3:77."
        );
        HubError::new(ErrorCode::ArgumentInvalid, text)
    })
}

/// The decoded value of a query parameter.
fn text(uri: &Uri, name: &str) -> Result<Option<String>, HubError> {
    let malformed =
        || HubError::new(ErrorCode::ArgumentInvalid, format!("The parameter {name} is not well encoded."));
    request::query(uri, name).map(|value| percent::decode(value).ok_or_else(malformed)).transpose()
}

fn number<N: std::str::FromStr>(uri: &Uri, name: &str) -> Result<Option<N>, HubError> {
    let malformed = |_| {
        HubError::new(ErrorCode::ArgumentInvalid, format!("The parameter {name} is no number, or too large."))
    };
    request::query(uri, name).map(|value| value.parse().map_err(malformed)).transpose()
}
