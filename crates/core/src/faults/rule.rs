//! Converts a fault request into a rule and validates it.

use std::time::Duration;

use ferrohub_model::fault::{FaultKind, FaultRequest};
use ferrohub_model::{ErrorCode, HubError, IdentityId};

use super::pattern::Pattern;
use super::{Effect, FaultPoint};

/// The longest delay.
const MAX_DELAY: Duration = Duration::from_secs(60);

/// A validated fault.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    pub(super) point: FaultPoint,
    pub(super) effect: Effect,
    /// Zero means that the fault only applies at the moment it is added.
    pub(super) duration: Duration,
    pub(super) count: Option<u32>,
    /// The identities that the fault applies to. `None` for a fault of requests, which the protocol head matches.
    pattern: Option<Pattern>,
}

fn invalid(text: impl Into<std::borrow::Cow<'static, str>>) -> HubError {
    HubError::new(ErrorCode::ArgumentInvalid, text)
}

impl Rule {
    pub(super) fn new(request: &FaultRequest, max_duration: Duration) -> Result<Self, HubError> {
        use FaultKind as Kind;
        let kind = request.kind;
        let (point, effect) = match kind {
            Kind::DropConnection => (FaultPoint::Connected, Effect::Drop { after: delay(request, false)? }),
            Kind::RefuseConnect => (FaultPoint::Connect, Effect::RefuseConnect { retry: retry(request)? }),
            Kind::LoseTelemetry => {
                let acknowledge = request.acknowledge.unwrap_or(true);
                (FaultPoint::Telemetry, Effect::Lose { acknowledge })
            }
            Kind::DelayTelemetry => (FaultPoint::Telemetry, Effect::Delay(delay(request, true)?)),
            Kind::LoseMethodRequest => (FaultPoint::MethodRequest, Effect::Lose { acknowledge: true }),
            Kind::DelayMethodRequest => (FaultPoint::MethodRequest, Effect::Delay(delay(request, true)?)),
            Kind::LoseMethodResponse => (FaultPoint::MethodResponse, Effect::Lose { acknowledge: true }),
            Kind::DelayMethodResponse => (FaultPoint::MethodResponse, Effect::Delay(delay(request, true)?)),
            Kind::LoseTwinResponse => (FaultPoint::TwinResponse, Effect::Lose { acknowledge: true }),
            Kind::DelayTwinResponse => (FaultPoint::TwinResponse, Effect::Delay(delay(request, true)?)),
            Kind::RefuseRequest => (FaultPoint::Request, refuse(request)?),
            _ => return Err(invalid(format!("unknown kind of fault {}", kind.name()))),
        };
        reject_inapplicable_fields(request)?;
        let pattern = if point == FaultPoint::Request {
            None
        } else {
            let target = request
                .target
                .as_deref()
                .filter(|target| !target.is_empty())
                .ok_or_else(|| invalid(format!("{} requires a target", kind.name())))?;
            Pattern::check_length(target)?;
            Some(Pattern::new(target))
        };
        if request.count == Some(0) {
            return Err(invalid("count must be at least 1"));
        }
        Ok(Self { point, effect, duration: duration(request, max_duration)?, count: request.count, pattern })
    }

    pub(super) fn matches_identity(&self, id: &IdentityId) -> bool {
        self.pattern.as_ref().is_some_and(|pattern| pattern.matches(id.as_str()))
    }
}

fn duration(request: &FaultRequest, max_duration: Duration) -> Result<Duration, HubError> {
    let max_duration = max_duration.as_secs();
    match request.duration_seconds {
        Some(seconds) if (1..=max_duration).contains(&u64::from(seconds)) => {
            Ok(Duration::from_secs(seconds.into()))
        }
        None if request.kind == FaultKind::DropConnection => Ok(Duration::ZERO),
        _ => Err(invalid(format!(
            "{} requires durationSeconds within [1; {max_duration}]",
            request.kind.name()
        ))),
    }
}

fn delay(request: &FaultRequest, required: bool) -> Result<Duration, HubError> {
    let max_millis = MAX_DELAY.as_millis();
    match request.delay_milliseconds {
        Some(milliseconds) if u128::from(milliseconds) <= max_millis => {
            Ok(Duration::from_millis(milliseconds.into()))
        }
        None if !required => Ok(Duration::ZERO),
        _ => Err(invalid(format!(
            "{} requires delayMilliseconds within [0; {max_millis}]",
            request.kind.name()
        ))),
    }
}

fn retry(request: &FaultRequest) -> Result<bool, HubError> {
    match request.connack {
        None | Some(3) => Ok(true),
        Some(5) => Ok(false),
        Some(_) => Err(invalid("connack must be 3 (try again later) or 5 (not authorized)")),
    }
}

fn refuse(request: &FaultRequest) -> Result<Effect, HubError> {
    let name = request.error.as_deref().ok_or_else(|| invalid("refuseRequest requires an error"))?;
    let code = ErrorCode::from_name(name).ok_or_else(|| invalid(format!("unknown error {name:?}")))?;
    Ok(Effect::Refuse { code, retry_after: request.retry_after_seconds })
}

/// Rejects fields that the kind does not use, because a test that sets such a field would not test what it intends to.
fn reject_inapplicable_fields(request: &FaultRequest) -> Result<(), HubError> {
    use FaultKind as Kind;
    let kind = request.kind;
    let is_request = kind == Kind::RefuseRequest;
    let allows_delay = matches!(
        kind,
        Kind::DropConnection
            | Kind::DelayTelemetry
            | Kind::DelayMethodRequest
            | Kind::DelayMethodResponse
            | Kind::DelayTwinResponse
    );
    for (name, given, allowed) in [
        ("delayMilliseconds", request.delay_milliseconds.is_some(), allows_delay),
        ("acknowledge", request.acknowledge.is_some(), kind == Kind::LoseTelemetry),
        ("connack", request.connack.is_some(), kind == Kind::RefuseConnect),
        ("error", request.error.is_some(), is_request),
        ("retryAfterSeconds", request.retry_after_seconds.is_some(), is_request),
        ("method", request.method.is_some(), is_request),
        ("path", request.path.is_some(), is_request),
        ("operation", request.operation.is_some(), is_request),
        ("target", request.target.is_some(), !is_request || request.operation.is_some()),
    ] {
        if given && !allowed {
            return Err(invalid(format!("{name} is not allowed for {}", kind.name())));
        }
    }
    if kind == Kind::DropConnection
        && request.delay_milliseconds.is_some()
        && request.duration_seconds.is_none()
    {
        return Err(invalid("delayMilliseconds is not allowed for a dropConnection without durationSeconds"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn rule(request: Value) -> Result<Rule, String> {
        let request: FaultRequest = serde_json::from_value(request).map_err(|error| error.to_string())?;
        Rule::new(&request, HOUR).map_err(|error| error.message.into_owned())
    }

    #[test]
    fn a_request_becomes_a_rule_with_its_effect() {
        let second = Duration::from_secs(1);
        for (request, point, effect) in [
            (
                json!({ "kind": "dropConnection", "target": "a" }),
                FaultPoint::Connected,
                Effect::Drop { after: Duration::ZERO },
            ),
            (
                json!({ "kind": "refuseConnect", "target": "a", "durationSeconds": 1 }),
                FaultPoint::Connect,
                Effect::RefuseConnect { retry: true },
            ),
            (
                json!({ "kind": "refuseConnect", "target": "a", "durationSeconds": 1, "connack": 5 }),
                FaultPoint::Connect,
                Effect::RefuseConnect { retry: false },
            ),
            (
                json!({ "kind": "loseTelemetry", "target": "a", "durationSeconds": 1 }),
                FaultPoint::Telemetry,
                Effect::Lose { acknowledge: true },
            ),
            (
                json!({ "kind": "delayTwinResponse", "target": "a", "durationSeconds": 1, "delayMilliseconds": 1000 }),
                FaultPoint::TwinResponse,
                Effect::Delay(second),
            ),
            (
                json!({ "kind": "refuseRequest", "path": "/a", "durationSeconds": 1, "error": "ServerError" }),
                FaultPoint::Request,
                Effect::Refuse { code: ErrorCode::ServerError, retry_after: None },
            ),
        ] {
            let rule = rule(request).unwrap();
            assert_eq!((rule.point, rule.effect), (point, effect));
        }
    }

    #[test]
    fn an_invalid_fault_request_is_refused() {
        for (request, expected) in [
            (json!({ "kind": "loseEverything" }), "unknown variant"),
            (json!({ "kind": "dropConnection", "target": "a", "seconds": 1 }), "unknown field"),
            (json!({ "kind": "dropConnection" }), "requires a target"),
            (json!({ "kind": "refuseConnect", "target": "a" }), "within [1; 3600]"),
            (json!({ "kind": "refuseConnect", "target": "a", "durationSeconds": 0 }), "within [1; 3600]"),
            (json!({ "kind": "refuseConnect", "target": "a", "durationSeconds": 3601 }), "within [1; 3600]"),
            (json!({ "kind": "refuseConnect", "target": "a", "durationSeconds": 1, "connack": 4 }), "3 (try"),
            (
                json!({ "kind": "refuseConnect", "target": "a", "durationSeconds": 1, "count": 0 }),
                "at least 1",
            ),
            (json!({ "kind": "delayTelemetry", "target": "a", "durationSeconds": 1 }), "within [0; 60000]"),
            (
                json!({ "kind": "delayTelemetry", "target": "a", "durationSeconds": 1, "delayMilliseconds": 60001 }),
                "within [0; 60000]",
            ),
            (
                json!({ "kind": "loseMethodRequest", "target": "a", "durationSeconds": 1, "acknowledge": true }),
                "acknowledge is not allowed for loseMethodRequest",
            ),
            (
                json!({ "kind": "dropConnection", "target": "a", "delayMilliseconds": 1 }),
                "without durationSeconds",
            ),
            (json!({ "kind": "refuseRequest", "path": "/a", "durationSeconds": 1 }), "requires an error"),
            (
                json!({ "kind": "refuseRequest", "path": "/a", "durationSeconds": 1, "error": "Nope" }),
                "unknown error \"Nope\"",
            ),
            (
                json!({ "kind": "refuseRequest", "path": "/a", "target": "x", "durationSeconds": 1, "error": "ServerError" }),
                "target is not allowed",
            ),
            (json!({ "kind": "dropConnection", "target": "a".repeat(513) }), "at most 512"),
        ] {
            let error = rule(request).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
