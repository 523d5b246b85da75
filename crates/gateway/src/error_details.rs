//! What Azure's clients read from an error of methods and twins, in every protocol.

use ferrohub_model::{HubError, Timestamp};
use serde_json::{Map, Value, json};

use crate::http::random_hex;

#[expect(clippy::disallowed_methods, reason = "only for people who read the error")]
fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

fn tracking_id_at(now: Timestamp) -> String {
    format!("{}-G:0-TimeStamp:{}", random_hex(), now.to_tracking_id_format())
}

/// Returns `{"errorCode":…,"trackingId":…,"message":…}`: bodies of REST errors contain it as text,
/// MQTT twin responses as JSON.
pub(crate) fn error_details(error: &HubError) -> Value {
    let now = now();
    let info = error.timeout_seconds.map(|seconds| {
        let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        json!({ "timeout": format!("{hours:02}:{minutes:02}:{seconds:02}") })
    });
    json!({
        "errorCode": error.code.number(),
        "trackingId": tracking_id_at(now),
        "message": error.message,
        "info": info.unwrap_or(Value::Object(Map::new())),
        "timestampUtc": now,
    })
}

/// Returns a new id that support requests can refer to.
pub(crate) fn tracking_id() -> String {
    tracking_id_at(now())
}
