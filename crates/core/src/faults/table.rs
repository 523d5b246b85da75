//! The table of active faults.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ferrohub_model::fault::{Fault, FaultKind, FaultRequest};
use ferrohub_model::{ErrorCode, HubError, IdentityId, Timestamp};
use tokio::time::Instant;

use super::rule::Rule;
use super::{Effect, FaultPoint};

/// The faults of one hub. They are in memory only: a restart removes them.
#[derive(Debug)]
pub struct Faults {
    /// Bit set of the fault points that have an active fault.
    active_points: AtomicU32,
    state: Mutex<State>,
    max_active: usize,
    max_duration: Duration,
}

#[derive(Debug, Default)]
struct State {
    active: Vec<ActiveFault>,
    last_id: u64,
}

#[derive(Debug)]
struct ActiveFault {
    fault: Fault,
    rule: Rule,
    expires_at: Instant,
}

impl ActiveFault {
    fn is_exhausted(&self) -> bool {
        self.rule.count.is_some_and(|count| self.fault.hits >= u64::from(count))
    }

    fn has_ended(&self, now: Instant) -> bool {
        self.expires_at <= now || self.is_exhausted()
    }
}

/// One hit of a fault: the fault takes effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FaultHit {
    /// The id of the fault.
    pub id: String,
    /// The kind of the fault.
    pub kind: FaultKind,
    /// The effect to apply.
    pub effect: Effect,
}

/// A fault that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedFault {
    /// The fault with its final number of hits.
    pub fault: Fault,
    /// Why it ended, as a constant for logs: `used up`, `expired`, `removed` or `single use`.
    pub reason: &'static str,
}

/// A fault that was accepted but is not active yet.
#[derive(Debug)]
pub struct AcceptedFault {
    fault: Fault,
    rule: Rule,
}

impl AcceptedFault {
    /// Returns whether the fault only applies at the moment it is added.
    #[must_use]
    pub fn is_one_shot(&self) -> bool {
        self.rule.duration.is_zero()
    }

    /// Returns whether the fault closes connections.
    #[must_use]
    pub fn drops_connections(&self) -> bool {
        matches!(self.rule.effect, Effect::Drop { .. })
    }

    /// Counts a hit if the fault targets this identity and is not used up. Returns whether it did.
    pub fn try_hit(&mut self, id: &IdentityId) -> bool {
        let has_hits_left = self.rule.count.is_none_or(|count| self.fault.hits < u64::from(count));
        let hit = has_hits_left && self.rule.matches_identity(id);
        self.fault.hits += u64::from(hit);
        hit
    }

    /// Returns the fault as the API shows it.
    #[must_use]
    pub fn fault(&self) -> &Fault {
        &self.fault
    }
}

impl Faults {
    /// Creates an empty table for at most `max_active` faults at once (0 disables fault injection), each lasting at
    /// most `max_duration`.
    #[must_use]
    pub fn new(max_active: usize, max_duration: Duration) -> Self {
        Self { active_points: AtomicU32::new(0), state: Mutex::default(), max_active, max_duration }
    }

    /// Returns whether fault injection is enabled.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.max_active > 0
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn update_active_points(&self, state: &State) {
        let points = state.active.iter().fold(0, |points, active| points | active.rule.point.bit());
        self.active_points.store(points, Ordering::Relaxed);
    }

    /// Validates a fault and assigns its id. Its `ends` is set as if it became active at `now`.
    ///
    /// # Errors
    ///
    /// `ArgumentInvalid` if the request is invalid, `GenericConflict` if the maximum number of faults is active.
    pub fn accept(&self, request: FaultRequest, now: Timestamp) -> Result<AcceptedFault, HubError> {
        let rule = Rule::new(&request, self.max_duration)?;
        let milliseconds = i64::try_from(rule.duration.as_millis()).unwrap_or(i64::MAX);
        let ends = Timestamp::from_unix_millis(now.unix_millis().saturating_add(milliseconds));
        let mut state = self.lock();
        if state.active.len() >= self.max_active {
            let text = format!(
                "The hub has the maximum number of active faults, {} (faults.max_active).",
                self.max_active
            );
            return Err(HubError::new(ErrorCode::GenericConflict, text));
        }
        state.last_id += 1;
        Ok(AcceptedFault {
            fault: Fault { id: state.last_id.to_string(), hits: 0, ends, fault: request },
            rule,
        })
    }

    /// Activates an accepted fault. Call [`expire`](Self::expire) periodically from then on, until none remains.
    pub fn activate(&self, accepted: AcceptedFault, now: Instant) {
        let AcceptedFault { fault, rule } = accepted;
        let mut state = self.lock();
        let expires_at = now + rule.duration;
        state.active.push(ActiveFault { fault, rule, expires_at });
        self.update_active_points(&state);
    }

    /// Returns whether a fault is active for this point. Costs one relaxed load.
    #[must_use]
    pub fn has(&self, point: FaultPoint) -> bool {
        self.active_points.load(Ordering::Relaxed) & point.bit() != 0
    }

    /// Returns the hit of the oldest active fault for this identity at this point, and counts it.
    pub fn hit(&self, point: FaultPoint, id: &IdentityId, now: Instant) -> Option<FaultHit> {
        if self.has(point) {
            self.find_hit(now, |active| active.rule.point == point && active.rule.matches_identity(id))
        } else {
            None
        }
    }

    /// Returns the hit of the oldest active fault of requests that `matches`, and counts it.
    pub fn hit_request(&self, matches: impl Fn(&FaultRequest) -> bool, now: Instant) -> Option<FaultHit> {
        if self.has(FaultPoint::Request) {
            self.find_hit(now, |active| {
                active.rule.point == FaultPoint::Request && matches(&active.fault.fault)
            })
        } else {
            None
        }
    }

    fn find_hit(&self, now: Instant, predicate: impl Fn(&ActiveFault) -> bool) -> Option<FaultHit> {
        let mut state = self.lock();
        let active = state.active.iter_mut().find(|active| !active.has_ended(now) && predicate(active))?;
        active.fault.hits += 1;
        Some(FaultHit {
            id: active.fault.id.clone(),
            kind: active.fault.fault.kind,
            effect: active.rule.effect,
        })
    }

    /// Returns the active faults, the oldest first.
    #[must_use]
    pub fn list(&self, now: Instant) -> Vec<Fault> {
        let state = self.lock();
        state
            .active
            .iter()
            .filter(|active| !active.has_ended(now))
            .map(|active| active.fault.clone())
            .collect()
    }

    /// Removes the active faults that match `predicate`, and returns them.
    pub fn remove(&self, now: Instant, predicate: impl Fn(&Fault) -> bool) -> Vec<EndedFault> {
        let mut state = self.lock();
        let removed = state
            .active
            .extract_if(.., |active| !active.has_ended(now) && predicate(&active.fault))
            .map(|active| EndedFault { fault: active.fault, reason: "removed" })
            .collect();
        self.update_active_points(&state);
        removed
    }

    /// Removes the faults that have expired or are used up. Returns them, and whether active faults remain.
    #[must_use]
    pub fn expire(&self, now: Instant) -> (Vec<EndedFault>, bool) {
        let mut state = self.lock();
        let ended = state
            .active
            .extract_if(.., |active| active.has_ended(now))
            .map(|active| EndedFault {
                reason: if active.is_exhausted() { "used up" } else { "expired" },
                fault: active.fault,
            })
            .collect();
        self.update_active_points(&state);
        (ended, !state.active.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn id(text: &str) -> IdentityId {
        IdentityId::parse(text).unwrap()
    }

    fn accept(faults: &Faults, request: Value) -> Result<AcceptedFault, HubError> {
        let request: FaultRequest = serde_json::from_value(request).unwrap();
        faults.accept(request, Timestamp::from_unix_seconds(100))
    }

    fn refuse_connect(target: &str, seconds: u32) -> Value {
        json!({ "kind": "refuseConnect", "target": target, "durationSeconds": seconds })
    }

    #[test]
    fn a_fault_hits_its_targets_until_it_expires() {
        let (faults, now) = (Faults::new(8, SECOND * 60), Instant::now());
        assert!(!faults.has(FaultPoint::Connect));
        let accepted = accept(&faults, refuse_connect("dev*", 3)).unwrap();
        assert_eq!(accepted.fault().ends, Timestamp::from_unix_seconds(103));
        faults.activate(accepted, now);
        assert!(faults.has(FaultPoint::Connect) && !faults.has(FaultPoint::Telemetry));
        let hit = faults.hit(FaultPoint::Connect, &id("dev1"), now).unwrap();
        assert_eq!((hit.id.as_str(), hit.effect), ("1", Effect::RefuseConnect { retry: true }));
        assert_eq!(faults.hit(FaultPoint::Connect, &id("other"), now), None);
        assert_eq!(faults.hit(FaultPoint::Telemetry, &id("dev1"), now), None);
        assert_eq!(faults.list(now)[0].hits, 1);
        assert_eq!(faults.expire(now + SECOND * 2), (Vec::new(), true));
        let expired = now + SECOND * 3;
        assert_eq!(
            faults.hit(FaultPoint::Connect, &id("dev1"), expired),
            None,
            "a fault ends exactly on time, even before `expire` is called"
        );
        assert!(faults.list(expired).is_empty());
        let (ended, more) = faults.expire(expired);
        assert_eq!((ended.len(), ended[0].reason, more), (1, "expired", false));
        assert!(!faults.has(FaultPoint::Connect));
    }

    #[test]
    fn when_a_fault_is_used_up_the_next_one_takes_effect() {
        let (faults, now) = (Faults::new(8, SECOND * 60), Instant::now());
        let mut first = refuse_connect("dev1", 10);
        first["count"] = 2.into();
        faults.activate(accept(&faults, first).unwrap(), now);
        faults.activate(accept(&faults, refuse_connect("**", 10)).unwrap(), now);
        let hits: Vec<String> =
            (0..3).map(|_| faults.hit(FaultPoint::Connect, &id("dev1"), now).unwrap().id).collect();
        assert_eq!(hits, ["1", "1", "2"]);
        let (ended, more) = faults.expire(now);
        assert_eq!((ended[0].reason, ended[0].fault.hits, more), ("used up", 2, true));
        assert_eq!(faults.remove(now, |fault| fault.id == "1"), []);
        assert_eq!(faults.remove(now, |fault| fault.id == "2")[0].reason, "removed");
        assert!(!faults.has(FaultPoint::Connect));
        assert_eq!(faults.expire(now), (Vec::new(), false));
    }

    #[test]
    fn more_faults_than_the_maximum_are_refused() {
        let (faults, now) = (Faults::new(1, SECOND * 60), Instant::now());
        faults.activate(accept(&faults, refuse_connect("a", 1)).unwrap(), now);
        assert_eq!(accept(&faults, refuse_connect("a", 1)).unwrap_err().code, ErrorCode::GenericConflict);
    }

    #[test]
    fn a_request_fault_matches_by_verb_and_path() {
        let (faults, now) = (Faults::new(8, SECOND * 60), Instant::now());
        let request = json!({
            "kind": "refuseRequest", "method": "get", "path": "/devices/*", "durationSeconds": 9,
            "error": "ThrottlingException", "retryAfterSeconds": 2,
        });
        faults.activate(accept(&faults, request).unwrap(), now);
        let hit = faults.hit_request(|fault| fault.method.as_deref() == Some("get"), now).unwrap();
        let expected = Effect::Refuse { code: ErrorCode::ThrottlingException, retry_after: Some(2) };
        assert_eq!(hit.effect, expected);
        assert_eq!(faults.hit_request(|_| false, now), None);
        assert_eq!(faults.hit(FaultPoint::Connect, &id("a"), now), None);
    }
}
