//! `/messages/events`: reads the event log, for services.
//!
//! Azure IoT Hub offers this over AMQP only; the path is the one of its AMQP endpoint.

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, header};
use axum::response::IntoResponse as _;
use ferrohub_core::ServiceCaller;
use ferrohub_core::telemetry::{ReadRequest, StartPosition};
use ferrohub_model::message::DEFAULT_CONSUMER_GROUP;
use ferrohub_model::{ErrorCode, HubError};

use super::event_json::log_info;
use super::event_stream::{self, ReadLimits, StreamFormat};
use crate::heads::rest::RestResult;
use crate::heads::rest::request::RestRequest;
use crate::heads::rest::response::json;
use crate::http::{REQUEST_ID, fresh_request_id};

/// The position at which the response starts. A client that loses the connection before the first event resumes there.
const POSITION: HeaderName = HeaderName::from_static("ferrohub-position");
/// Sent by a browser's event source when it reconnects: the `id` of the last event that it received.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Maximum value of `wait`, in seconds.
const MAX_WAIT: u64 = 3600;

pub(in crate::heads::rest) async fn partitions(caller: ServiceCaller, _: RestRequest) -> RestResult {
    json(&log_info(caller.get_event_log().await?))
}

/// Streams events from the log, and new events as they arrive. Ends after `max` events or after `wait` seconds without
/// an event; without either, it ends when the client disconnects. The format is one JSON object per line, or
/// server-sent events if `Accept` requests them.
pub(in crate::heads::rest) async fn read(caller: ServiceCaller, request: RestRequest) -> RestResult {
    let group = request.query_text("consumerGroup")?;
    let from = position(&request)?;
    let partition = request.query_number("partition")?;
    let wait: Option<u64> = request.query_number("wait")?;
    let limits = ReadLimits {
        max_events: request.query_number("max")?,
        max_wait: wait.map(|wait| Duration::from_secs(wait.min(MAX_WAIT))),
    };
    let read = ReadRequest {
        consumer_group: group.as_deref().unwrap_or(DEFAULT_CONSUMER_GROUP),
        from,
        partition,
        owner_level: None,
    };
    let reader = caller.read_events(read).await?;
    let format = StreamFormat::from_accept(request.headers().get(header::ACCEPT));
    let position = HeaderValue::try_from(reader.position().to_string());
    let headers = [
        (header::CONTENT_TYPE, format.content_type()),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (POSITION, position.unwrap_or(HeaderValue::from_static(""))),
        (REQUEST_ID, fresh_request_id()),
    ];
    let panics = request.context.hub.metrics().panics.clone();
    Ok((headers, event_stream::body(caller, reader, format, limits, panics)).into_response())
}

/// Returns the start position; the end of the log if the request names none.
fn position(request: &RestRequest) -> Result<StartPosition, HubError> {
    let last_seen = request.headers().get(LAST_EVENT_ID).and_then(|value| value.to_str().ok());
    let position = match last_seen.filter(|seen| !seen.is_empty()) {
        Some(seen) => seen.to_owned(),
        None => match request.query_text("position")? {
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
