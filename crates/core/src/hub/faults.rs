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
use crate::faults::{Effect, EndedFault, FaultHit, FaultPoint, Faults};
use crate::limits::Limits;
use crate::metrics::count;

/// How often it is looked whether a fault's time is up. Until then it is only listed and counted no more.
const EXPIRY_INTERVAL: Duration = Duration::from_millis(100);

/// Answers that may be held back at once; others are not held back.
const MAX_DELAYED_ANSWERS: usize = 1000;

/// What a fault refuses with.
const FAULT_MESSAGE: &str = "A fault was injected.";

/// What becomes of a message or an answer on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// It arrives.
    Delivered,
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
pub(super) struct FaultInjector {
    faults: Faults,
    delayed_answers: Arc<Semaphore>,
}

impl FaultInjector {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            faults: Faults::new(limits.faults, limits.fault_duration),
            delayed_answers: Arc::new(Semaphore::new(MAX_DELAYED_ANSWERS)),
        }
    }
}

impl Hub {
    /// Whether faults may be injected.
    #[must_use]
    pub fn faults_are_enabled(&self) -> bool {
        self.fault_injector.faults.is_enabled()
    }

    /// Whether something may go wrong at this point.
    #[must_use]
    pub fn has_fault(&self, point: FaultPoint) -> bool {
        self.fault_injector.faults.has(point)
    }

    /// The faults that are injected, the oldest first.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        self.fault_injector.faults.list(Instant::now())
    }

    /// Injects a fault. One that ends connections and has no duration has ended when this returns.
    pub fn add_fault(self: &Arc<Self>, request: FaultRequest) -> Result<Fault, HubError> {
        let mut accepted = self.fault_injector.faults.accept(request, self.clock.now())?;
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
        if accepted.drops_connections() {
            let kind = asked.kind;
            for connection in self.connections.select(|connection| connection.close_reason().is_none()) {
                if accepted.try_hit(&connection.id) {
                    self.record_hit(
                        &FaultHit { id: id.clone(), kind, effect: Effect::Drop { after: Duration::ZERO } },
                        connection.id.as_str(),
                    );
                    connection.close(CloseReason::FaultInjected);
                }
            }
        }
        let fault = accepted.fault().clone();
        if accepted.is_one_shot() {
            self.log_fault_ended(EndedFault { fault: fault.clone(), reason: "it was for once" });
        } else {
            self.metrics.faults_active.inc();
            if self.fault_injector.faults.activate(accepted, Instant::now()) {
                let hub = self.clone();
                tokio::spawn(async move { hub.expire_faults().await });
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
        let removed = self.fault_injector.faults.remove(Instant::now(), wanted);
        let count = removed.len();
        for one in removed {
            self.metrics.faults_active.dec();
            self.log_fault_ended(one);
        }
        count
    }

    /// Ends faults when their time is up, until there are none.
    async fn expire_faults(&self) {
        loop {
            sleep(EXPIRY_INTERVAL).await;
            let (ended, more) = self.fault_injector.faults.expire(Instant::now());
            for one in ended {
                self.metrics.faults_active.dec();
                self.log_fault_ended(one);
            }
            if !more {
                return;
            }
        }
    }

    fn log_fault_ended(&self, ended: EndedFault) {
        let EndedFault { fault, reason } = ended;
        warn!(fault = fault.id, kind = fault.fault.kind.name(), hits = fault.hits, reason, "fault ended");
    }

    fn record_hit(&self, hit: &FaultHit, target: &str) {
        count(&self.metrics.fault_hits, hit.kind.name());
        info!(fault = hit.id, kind = hit.kind.name(), target, "fault hit");
    }

    fn hit_fault(&self, point: FaultPoint, id: &IdentityId) -> Option<Effect> {
        // To know what time it is costs more than to know that there is no fault.
        if !self.has_fault(point) {
            return None;
        }
        let hit = self.fault_injector.faults.hit(point, id, Instant::now())?;
        self.record_hit(&hit, id.as_str());
        Some(hit.effect)
    }

    /// Whether an HTTPS request is to be refused.
    #[must_use]
    pub fn injected_refusal(&self, verb: &str, path: &str) -> Option<RefusedRequest> {
        let hit = self.fault_injector.faults.hit_request(verb, path, Instant::now())?;
        self.record_hit(&hit, path);
        match hit.effect {
            Effect::Refuse { code, retry_after } => {
                Some(RefusedRequest { error: HubError::new(code, FAULT_MESSAGE), retry_after })
            }
            _ => None,
        }
    }

    /// What becomes of something that `id` sends or is sent at this point. Returns when it arrives, late if need be.
    pub async fn await_delivery(&self, point: FaultPoint, id: &IdentityId) -> Delivery {
        match self.hit_fault(point, id) {
            Some(Effect::Delay(delay)) => {
                sleep(delay).await;
                Delivery::Delivered
            }
            Some(Effect::Lose { acknowledge }) => Delivery::Lost { acknowledge },
            _ => Delivery::Delivered,
        }
    }

    /// Whether a connect that would succeed is to be refused; and if so, whether the device should try again.
    pub(super) fn injected_connect_refusal(&self, id: &IdentityId) -> Option<bool> {
        match self.hit_fault(FaultPoint::Connect, id)? {
            Effect::RefuseConnect { retry } => Some(retry),
            _ => None,
        }
    }

    /// A connection has begun that may not last.
    pub(super) fn schedule_injected_disconnect(&self, connection: &Arc<Connection>) {
        if let Some(Effect::Drop { after }) = self.hit_fault(FaultPoint::Connected, &connection.id) {
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
        let effect = if connected { self.hit_fault(FaultPoint::MethodRequest, target) } else { None };
        let delay = match effect {
            Some(Effect::Delay(delay)) => delay.min(call.response_timeout),
            Some(Effect::Lose { .. }) => call.response_timeout,
            _ => Duration::ZERO,
        };
        sleep(delay).await;
        call.response_timeout -= delay;
        if call.response_timeout.is_zero() {
            return Err(CallEnd::TimedOut);
        }
        self.bus.call(target, call).await
    }

    /// A device answered a call.
    pub fn answer(&self, connection: &Arc<Connection>, id: RequestId, reply: MethodReply) -> Answer {
        match self.hit_fault(FaultPoint::MethodResponse, &connection.id) {
            None => connection.answer(id, reply),
            Some(Effect::Delay(delay)) => {
                match self.fault_injector.delayed_answers.clone().try_acquire_owned() {
                    Ok(permit) => {
                        let connection = connection.clone();
                        tokio::spawn(async move {
                            sleep(delay).await;
                            connection.answer(id, reply);
                            drop(permit);
                        });
                        Answer::Delivered
                    }
                    Err(_) => connection.answer(id, reply),
                }
            }
            // As far as the device can tell it was delivered.
            Some(_) => Answer::Delivered,
        }
    }
}
