//! The faults that are injected now.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ferrohub_model::fault::{Fault, FaultKind, FaultRequest};
use ferrohub_model::{ErrorCode, HubError, IdentityId, Timestamp};
use tokio::time::Instant;

use super::rule::Rule;
use super::{Effect, Point};

/// The faults of one hub, in memory only.
#[derive(Debug)]
pub struct Faults {
    /// The points for which there is one.
    points: AtomicU32,
    state: Mutex<State>,
    most: usize,
    longest: Duration,
}

#[derive(Debug, Default)]
struct State {
    active: Vec<Active>,
    last_id: u64,
    /// Whether somebody sees to it that they end.
    tended: bool,
}

#[derive(Debug)]
struct Active {
    fault: Fault,
    rule: Rule,
    until: Instant,
}

impl Active {
    fn is_used_up(&self) -> bool {
        self.rule.count.is_some_and(|count| self.fault.hits >= u64::from(count))
    }

    fn is_over(&self, now: Instant) -> bool {
        self.until <= now || self.is_used_up()
    }
}

/// A fault came true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// Of which fault.
    pub id: String,
    /// Of which kind.
    pub kind: FaultKind,
    /// What is to be done.
    pub effect: Effect,
}

/// A fault that is no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The fault, as it was.
    pub fault: Fault,
    /// Why: it was used up, its time was up, or somebody removed it.
    pub why: &'static str,
}

/// A fault that was accepted, and is not active yet.
#[derive(Debug)]
pub struct Accepted {
    fault: Fault,
    rule: Rule,
}

impl Accepted {
    /// Whether it only concerns what there is now.
    #[must_use]
    pub fn is_momentary(&self) -> bool {
        self.rule.duration.is_zero()
    }

    /// Whether it ends connections.
    #[must_use]
    pub fn drops(&self) -> bool {
        matches!(self.rule.effect, Effect::Drop { .. })
    }

    /// Takes one hit on this identity, if the fault is for it and not used up.
    pub fn take(&mut self, id: &IdentityId) -> bool {
        let left = self.rule.count.is_none_or(|count| self.fault.hits < u64::from(count));
        let hit = left && self.rule.is_for(id);
        self.fault.hits += u64::from(hit);
        hit
    }

    /// The fault as its owner sees it.
    #[must_use]
    pub fn fault(&self) -> &Fault {
        &self.fault
    }
}

impl Faults {
    /// None yet. At most `most` at once (0: none may be injected), each of `longest` at most.
    #[must_use]
    pub fn new(most: usize, longest: Duration) -> Self {
        Self { points: AtomicU32::new(0), state: Mutex::default(), most, longest }
    }

    /// Whether faults may be injected.
    #[must_use]
    pub fn are_enabled(&self) -> bool {
        self.most > 0
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember_points(&self, state: &State) {
        let points = state.active.iter().fold(0, |points, active| points | active.rule.point.bit());
        self.points.store(points, Ordering::Relaxed);
    }

    /// Checks a fault and gives it an id. `ends` is when it ends if it begins now.
    pub fn accept(&self, request: FaultRequest, now: Timestamp) -> Result<Accepted, HubError> {
        let rule = Rule::new(&request, self.longest)?;
        let milliseconds = i64::try_from(rule.duration.as_millis()).unwrap_or(i64::MAX);
        let ends = Timestamp::from_unix_millis(now.unix_millis().saturating_add(milliseconds));
        let mut state = self.lock();
        if state.active.len() >= self.most {
            let text = format!("There are {} faults, as many as there may be at once.", self.most);
            return Err(HubError::new(ErrorCode::GenericConflict, text));
        }
        state.last_id += 1;
        Ok(Accepted { fault: Fault { id: state.last_id.to_string(), hits: 0, ends, fault: request }, rule })
    }

    /// Makes an accepted fault active. True if somebody must [`tend`](Self::tend) to the faults from now on.
    #[must_use]
    pub fn begin(&self, accepted: Accepted, now: Instant) -> bool {
        let Accepted { fault, rule } = accepted;
        let mut state = self.lock();
        let until = now + rule.duration;
        state.active.push(Active { fault, rule, until });
        self.remember_points(&state);
        !std::mem::replace(&mut state.tended, true)
    }

    /// Whether there is a fault for this point. Costs one relaxed load.
    #[must_use]
    pub fn has(&self, point: Point) -> bool {
        self.points.load(Ordering::Relaxed) & point.bit() != 0
    }

    /// What goes wrong for this identity at this point, if something does: the oldest fault that is for it.
    pub fn hit(&self, point: Point, id: &IdentityId, now: Instant) -> Option<Hit> {
        if self.has(point) { self.take(now, |rule| rule.point == point && rule.is_for(id)) } else { None }
    }

    /// What goes wrong with this HTTPS request, if something does.
    pub fn hit_request(&self, verb: &str, path: &str, now: Instant) -> Option<Hit> {
        if self.has(Point::Request) { self.take(now, |rule| rule.is_for_request(verb, path)) } else { None }
    }

    fn take(&self, now: Instant, wanted: impl Fn(&Rule) -> bool) -> Option<Hit> {
        let mut state = self.lock();
        let active = state.active.iter_mut().find(|active| !active.is_over(now) && wanted(&active.rule))?;
        active.fault.hits += 1;
        Some(Hit { id: active.fault.id.clone(), kind: active.fault.fault.kind, effect: active.rule.effect })
    }

    /// The faults that are injected, the oldest first.
    #[must_use]
    pub fn list(&self, now: Instant) -> Vec<Fault> {
        let state = self.lock();
        state.active.iter().filter(|active| !active.is_over(now)).map(|active| active.fault.clone()).collect()
    }

    /// Ends those that `wanted` picks before their time.
    pub fn remove(&self, now: Instant, wanted: impl Fn(&Fault) -> bool) -> Vec<Ended> {
        let mut state = self.lock();
        let removed = state
            .active
            .extract_if(.., |active| !active.is_over(now) && wanted(&active.fault))
            .map(|active| Ended { fault: active.fault, why: "removed" })
            .collect();
        self.remember_points(&state);
        removed
    }

    /// Takes away those that are over, and says whether others are left. Call it again and again once
    /// [`begin`](Self::begin) said so, until none is.
    #[must_use]
    pub fn tend(&self, now: Instant) -> (Vec<Ended>, bool) {
        let mut state = self.lock();
        let ended = state
            .active
            .extract_if(.., |active| active.is_over(now))
            .map(|active| Ended {
                why: if active.is_used_up() { "used up" } else { "its time is up" },
                fault: active.fault,
            })
            .collect();
        self.remember_points(&state);
        state.tended = !state.active.is_empty();
        (ended, state.tended)
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

    fn accept(faults: &Faults, request: Value) -> Result<Accepted, HubError> {
        let request: FaultRequest = serde_json::from_value(request).unwrap();
        faults.accept(request, Timestamp::from_unix_seconds(100))
    }

    fn refuse_connect(target: &str, seconds: u32) -> Value {
        json!({ "kind": "refuseConnect", "target": target, "durationSeconds": seconds })
    }

    #[test]
    fn a_fault_is_hit_by_its_targets_for_its_time() {
        let (faults, now) = (Faults::new(8, SECOND * 60), Instant::now());
        assert!(!faults.has(Point::Connect));
        let accepted = accept(&faults, refuse_connect("dev*", 3)).unwrap();
        assert_eq!(accepted.fault().ends, Timestamp::from_unix_seconds(103));
        assert!(faults.begin(accepted, now), "nobody tended to them before");
        assert!(faults.has(Point::Connect) && !faults.has(Point::Telemetry));
        let hit = faults.hit(Point::Connect, &id("dev1"), now).unwrap();
        assert_eq!((hit.id.as_str(), hit.effect), ("1", Effect::RefuseConnect { retry: true }));
        assert_eq!(faults.hit(Point::Connect, &id("other"), now), None);
        assert_eq!(faults.hit(Point::Telemetry, &id("dev1"), now), None);
        assert_eq!(faults.list(now)[0].hits, 1);
        assert_eq!(faults.tend(now + SECOND * 2), (Vec::new(), true));
        let over = now + SECOND * 3;
        assert_eq!(faults.hit(Point::Connect, &id("dev1"), over), None, "to the moment, tended to or not");
        assert!(faults.list(over).is_empty());
        let (ended, more) = faults.tend(over);
        assert_eq!((ended.len(), ended[0].why, more), (1, "its time is up", false));
        assert!(!faults.has(Point::Connect));
    }

    #[test]
    fn a_fault_is_used_up_and_the_next_takes_its_place() {
        let (faults, now) = (Faults::new(8, SECOND * 60), Instant::now());
        let mut first = refuse_connect("dev1", 10);
        first["count"] = 2.into();
        assert!(faults.begin(accept(&faults, first).unwrap(), now));
        assert!(!faults.begin(accept(&faults, refuse_connect("**", 10)).unwrap(), now));
        let hits: Vec<String> =
            (0..3).map(|_| faults.hit(Point::Connect, &id("dev1"), now).unwrap().id).collect();
        assert_eq!(hits, ["1", "1", "2"]);
        let (ended, more) = faults.tend(now);
        assert_eq!((ended[0].why, ended[0].fault.hits, more), ("used up", 2, true));
        assert_eq!(faults.remove(now, |fault| fault.id == "1"), []);
        assert_eq!(faults.remove(now, |fault| fault.id == "2")[0].why, "removed");
        assert!(!faults.has(Point::Connect));
        assert_eq!(faults.tend(now), (Vec::new(), false));
        let again = accept(&faults, refuse_connect("**", 10)).unwrap();
        assert!(faults.begin(again, now), "somebody has to begin again");
    }

    #[test]
    fn there_are_only_so_many() {
        let (faults, now) = (Faults::new(1, SECOND * 60), Instant::now());
        let _ = faults.begin(accept(&faults, refuse_connect("a", 1)).unwrap(), now);
        assert_eq!(accept(&faults, refuse_connect("a", 1)).unwrap_err().code, ErrorCode::GenericConflict);
    }

    #[test]
    fn requests_are_told_by_verb_and_path() {
        let (faults, now) = (Faults::new(8, SECOND * 60), Instant::now());
        let request = json!({
            "kind": "refuseRequest", "method": "get", "path": "/devices/*", "durationSeconds": 9,
            "error": "ThrottlingException", "retryAfterSeconds": 2,
        });
        let _ = faults.begin(accept(&faults, request).unwrap(), now);
        let hit = faults.hit_request("GET", "/devices/a", now).unwrap();
        let expected = Effect::Refuse { code: ErrorCode::ThrottlingException, retry_after: Some(2) };
        assert_eq!(hit.effect, expected);
        assert_eq!(faults.hit_request("PUT", "/devices/a", now), None);
        assert_eq!(faults.hit_request("GET", "/devices", now), None);
        assert_eq!(faults.hit(Point::Connect, &id("a"), now), None);
    }
}
