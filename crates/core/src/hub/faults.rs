//! Faults that a test injects: who adds them, and what goes wrong where.

use std::sync::Arc;
use std::time::Duration;

use ferrohub_model::fault::{Fault, FaultRequest};
use ferrohub_model::{ErrorCode, HubError, IdentityId};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::Hub;
use crate::connections::{Answer, CallEnd, CloseReason, Connection, MethodReply, OutgoingCall, RequestId};
use crate::faults::{Effect, Ended, Faults, Hit, Point};
use crate::limits::Limits;
use crate::metrics::count;

/// How often it is looked whether a fault's time is up. Until then it is only listed and counted no more.
const TENDING: Duration = Duration::from_millis(100);

/// Answers that may be held back at once; others are not held back.
const HELD_ANSWERS: usize = 1000;

/// What a fault refuses with.
const INJECTED: &str = "A fault was injected.";

/// What becomes of a message or an answer on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passage {
    /// It arrives.
    Arrives,
    /// It is lost.
    Lost {
        /// Whether its sender shall believe that it arrived.
        acknowledge: bool,
    },
}

/// A fault's answer to an HTTPS request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedRequest {
    /// What to say.
    pub error: HubError,
    /// When to come again, in seconds.
    pub retry_after: Option<u32>,
}

/// The faults of a hub, and what they hold back.
#[derive(Debug)]
pub(super) struct Injected {
    faults: Faults,
    held: Arc<Semaphore>,
}

impl Injected {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            faults: Faults::new(limits.faults, limits.fault_duration),
            held: Arc::new(Semaphore::new(HELD_ANSWERS)),
        }
    }
}

impl Hub {
    /// Whether faults may be injected.
    #[must_use]
    pub fn faults_are_enabled(&self) -> bool {
        self.injected.faults.are_enabled()
    }

    /// Whether something may go wrong at this point.
    #[must_use]
    pub fn has_fault(&self, point: Point) -> bool {
        self.injected.faults.has(point)
    }

    /// The faults that are injected, the oldest first.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        self.injected.faults.list(Instant::now())
    }

    /// Injects a fault. One that ends connections and has no duration has ended when this returns.
    pub fn add_fault(self: &Arc<Self>, request: FaultRequest) -> Result<Fault, HubError> {
        let mut accepted = self.injected.faults.accept(request, self.clock.now())?;
        let (id, asked) = (accepted.fault().id.clone(), &accepted.fault().fault);
        warn!(
            fault = id,
            kind = asked.kind.name(),
            target = asked.target,
            path = asked.path,
            seconds = asked.duration_seconds,
            count = asked.count,
            "fault added"
        );
        if accepted.drops() {
            let kind = asked.kind;
            for connection in self.connections.select(|connection| connection.closed().is_none()) {
                if accepted.take(&connection.id) {
                    self.came_true(
                        &Hit { id: id.clone(), kind, effect: Effect::Drop { after: Duration::ZERO } },
                        connection.id.as_str(),
                    );
                    connection.close(CloseReason::FaultInjected);
                }
            }
        }
        let fault = accepted.fault().clone();
        if accepted.is_momentary() {
            self.ended(Ended { fault: fault.clone(), why: "it was for once" });
        } else {
            self.metrics.faults_active.inc();
            if self.injected.faults.begin(accepted, Instant::now()) {
                let hub = self.clone();
                tokio::spawn(async move { hub.tend_to_faults().await });
            }
        }
        Ok(fault)
    }

    /// Takes a fault away before its time.
    pub fn remove_fault(&self, id: &str) -> Result<(), HubError> {
        match self.remove_faults(|fault| fault.id == id) {
            0 => Err(HubError::new(ErrorCode::GenericNotFound, format!("There is no fault {id}."))),
            _ => Ok(()),
        }
    }

    /// Takes all faults away; how many.
    pub fn clear_faults(&self) -> usize {
        self.remove_faults(|_| true)
    }

    fn remove_faults(&self, wanted: impl Fn(&Fault) -> bool) -> usize {
        let removed = self.injected.faults.remove(Instant::now(), wanted);
        let count = removed.len();
        for one in removed {
            self.metrics.faults_active.dec();
            self.ended(one);
        }
        count
    }

    /// Ends faults when their time is up, until there are none.
    async fn tend_to_faults(&self) {
        loop {
            sleep(TENDING).await;
            let (ended, more) = self.injected.faults.tend(Instant::now());
            for one in ended {
                self.metrics.faults_active.dec();
                self.ended(one);
            }
            if !more {
                return;
            }
        }
    }

    fn ended(&self, ended: Ended) {
        let Ended { fault, why } = ended;
        warn!(fault = fault.id, kind = fault.fault.kind.name(), hits = fault.hits, why, "fault ended");
    }

    fn came_true(&self, hit: &Hit, whom: &str) {
        count(&self.metrics.fault_hits, hit.kind.name());
        info!(fault = hit.id, kind = hit.kind.name(), whom, "fault hit");
    }

    fn effect(&self, point: Point, id: &IdentityId) -> Option<Effect> {
        // To know what time it is costs more than to know that there is no fault.
        if !self.has_fault(point) {
            return None;
        }
        let hit = self.injected.faults.hit(point, id, Instant::now())?;
        self.came_true(&hit, id.as_str());
        Some(hit.effect)
    }

    /// Whether an HTTPS request is to be refused.
    #[must_use]
    pub fn refuses_request(&self, verb: &str, path: &str) -> Option<RefusedRequest> {
        let hit = self.injected.faults.hit_request(verb, path, Instant::now())?;
        self.came_true(&hit, path);
        match hit.effect {
            Effect::Refuse { code, retry_after } => {
                Some(RefusedRequest { error: HubError::new(code, INJECTED), retry_after })
            }
            _ => None,
        }
    }

    /// What becomes of something that `id` sends or is sent at this point. Returns when it arrives, late if need be.
    pub async fn passage(&self, point: Point, id: &IdentityId) -> Passage {
        match self.effect(point, id) {
            Some(Effect::Delay(delay)) => {
                sleep(delay).await;
                Passage::Arrives
            }
            Some(Effect::Lose { acknowledge }) => Passage::Lost { acknowledge },
            _ => Passage::Arrives,
        }
    }

    /// Whether a connect that would succeed is to be refused; and if so, whether the device should try again.
    pub(super) fn refuses_connect(&self, id: &IdentityId) -> Option<bool> {
        match self.effect(Point::Connect, id)? {
            Effect::RefuseConnect { retry } => Some(retry),
            _ => None,
        }
    }

    /// A connection has begun that may not last.
    pub(super) fn begun(&self, connection: &Arc<Connection>) {
        if let Some(Effect::Drop { after }) = self.effect(Point::Connected, &connection.id) {
            let connection = connection.clone();
            tokio::spawn(async move {
                sleep(after).await;
                connection.close(CloseReason::FaultInjected);
            });
        }
    }

    /// Calls a method where the request may be lost or late. Whoever is not connected has nothing to lose.
    pub(super) async fn call_with_faults(
        &self,
        target: &IdentityId,
        mut call: OutgoingCall,
    ) -> Result<MethodReply, CallEnd> {
        let connected = self.bus.is_connected(target).await;
        let effect = if connected { self.effect(Point::MethodRequest, target) } else { None };
        let held = match effect {
            Some(Effect::Delay(delay)) => delay.min(call.response_timeout),
            Some(Effect::Lose { .. }) => call.response_timeout,
            _ => Duration::ZERO,
        };
        sleep(held).await;
        call.response_timeout -= held;
        if call.response_timeout.is_zero() {
            return Err(CallEnd::TimedOut);
        }
        self.bus.call(target, call).await
    }

    /// A device answered a call.
    pub fn answer(&self, connection: &Arc<Connection>, id: RequestId, reply: MethodReply) -> Answer {
        match self.effect(Point::MethodResponse, &connection.id) {
            None => connection.answer(id, reply),
            Some(Effect::Delay(delay)) => match self.injected.held.clone().try_acquire_owned() {
                Ok(held) => {
                    let connection = connection.clone();
                    tokio::spawn(async move {
                        sleep(delay).await;
                        connection.answer(id, reply);
                        drop(held);
                    });
                    Answer::Delivered
                }
                Err(_) => connection.answer(id, reply),
            },
            // As far as the device can tell it was delivered.
            Some(_) => Answer::Delivered,
        }
    }
}
