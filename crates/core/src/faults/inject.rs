//! Fault injection in the hub: adding and removing faults, and applying their effects.

use std::sync::Arc;
use std::time::Duration;

use ferrohub_model::fault::{Fault, FaultRequest};
use ferrohub_model::{ErrorCode, HubError, IdentityId};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};
use tracing::warn;

use crate::close_reason::CloseReason;
use crate::faults::{Effect, EndedFault, FaultHit, FaultPoint, Faults};
use crate::hub::Hub;
use crate::limits::Limits;
use crate::log_limited;
use crate::metrics::count;
use crate::node::{Answer, CallEnd, Connection, MethodReply, OutgoingCall, RequestId};

/// How often expired faults are removed. A fault takes no effect and is not listed from the moment it expires.
const EXPIRY_INTERVAL: Duration = Duration::from_millis(100);

/// The maximum number of method responses that are delayed at once. Further responses are not delayed.
const MAX_DELAYED_ANSWERS: usize = 1000;

/// The message of injected errors.
const FAULT_MESSAGE: &str = "A fault was injected.";

/// Whether a message or response is delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// The message or response is delivered.
    Delivered,
    /// The message or response is lost.
    Lost {
        /// Whether the sender receives an acknowledgement nevertheless.
        acknowledge: bool,
    },
}

/// The response of an injected fault to an HTTPS request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedRequest {
    /// The error of the response.
    pub error: HubError,
    /// The value of the `Retry-After` header, in seconds.
    pub retry_after: Option<u32>,
}

/// The faults of a hub, and the permits for delayed method responses.
#[derive(Debug)]
pub(crate) struct FaultInjector {
    faults: Faults,
    delayed_answers: Arc<Semaphore>,
}

impl FaultInjector {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            faults: Faults::new(limits.faults, limits.fault_duration),
            delayed_answers: Arc::new(Semaphore::new(MAX_DELAYED_ANSWERS)),
        }
    }
}

impl Hub {
    /// Returns whether fault injection is enabled.
    #[must_use]
    pub fn faults_are_enabled(&self) -> bool {
        self.fault_injector.faults.is_enabled()
    }

    /// Returns whether a fault is active for this point.
    #[must_use]
    pub fn has_fault(&self, point: FaultPoint) -> bool {
        self.fault_injector.faults.has(point)
    }

    /// Returns the active faults, the oldest first.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        self.fault_injector.faults.list(Instant::now())
    }

    /// Adds a fault. A `dropConnection` without a duration has taken effect and ended when this returns.
    pub fn add_fault(self: &Arc<Self>, request: FaultRequest) -> Result<Fault, HubError> {
        let mut accepted = self.fault_injector.faults.accept(request, self.clock.now())?;
        let (id, requested) = (accepted.fault().id.clone(), &accepted.fault().fault);
        warn!(
            fault = id,
            kind = requested.kind.name(),
            target = requested.target,
            path = requested.path,
            seconds = requested.duration_seconds,
            count = requested.count,
            "fault added"
        );
        if accepted.drops_connections() {
            let kind = requested.kind;
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
            self.log_fault_ended(EndedFault { fault: fault.clone(), reason: "single use" });
        } else {
            self.metrics.faults_active.inc();
            if self.fault_injector.faults.activate(accepted, Instant::now()) {
                let hub = self.clone();
                tokio::spawn(async move { hub.expire_faults().await });
            }
        }
        Ok(fault)
    }

    /// Removes a fault.
    pub fn remove_fault(&self, id: &str) -> Result<(), HubError> {
        match self.remove_faults(|fault| fault.id == id) {
            0 => Err(HubError::new(ErrorCode::GenericNotFound, format!("There is no fault {id}."))),
            _ => Ok(()),
        }
    }

    /// Removes all faults. Returns their number.
    pub fn clear_faults(&self) -> usize {
        self.remove_faults(|_| true)
    }

    fn remove_faults(&self, predicate: impl Fn(&Fault) -> bool) -> usize {
        let removed = self.fault_injector.faults.remove(Instant::now(), predicate);
        let count = removed.len();
        for fault in removed {
            self.metrics.faults_active.dec();
            self.log_fault_ended(fault);
        }
        count
    }

    /// Removes expired faults periodically, until no fault is active.
    async fn expire_faults(&self) {
        loop {
            sleep(EXPIRY_INTERVAL).await;
            let (ended, more) = self.fault_injector.faults.expire(Instant::now());
            for fault in ended {
                self.metrics.faults_active.dec();
                self.log_fault_ended(fault);
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
        // Requests that are not authorized hit faults, too.
        log_limited!(info, "fault hit", hit.kind.name(), fault = hit.id, kind = hit.kind.name(), target);
    }

    fn hit_fault(&self, point: FaultPoint, id: &IdentityId) -> Option<Effect> {
        // Checked first because reading the clock costs more than this check.
        if !self.has_fault(point) {
            return None;
        }
        let hit = self.fault_injector.faults.hit(point, id, Instant::now())?;
        self.record_hit(&hit, id.as_str());
        Some(hit.effect)
    }

    /// Returns the injected refusal of an HTTPS request, if there is one.
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

    /// Applies a fault to a message or response that `id` sends or receives at this point. Waits for an injected delay,
    /// and returns whether to deliver.
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

    /// Returns `Some` if a fault refuses a connect that would succeed; the value is whether the device should try
    /// again.
    pub(crate) fn injected_connect_refusal(&self, id: &IdentityId) -> Option<bool> {
        match self.hit_fault(FaultPoint::Connect, id)? {
            Effect::RefuseConnect { retry } => Some(retry),
            _ => None,
        }
    }

    /// Schedules the close of a new connection if a fault drops it.
    pub(crate) fn schedule_injected_disconnect(&self, connection: &Arc<Connection>) {
        if let Some(Effect::Drop { after }) = self.hit_fault(FaultPoint::Connected, &connection.id) {
            let connection = connection.clone();
            tokio::spawn(async move {
                sleep(after).await;
                connection.close(CloseReason::FaultInjected);
            });
        }
    }

    /// Calls a method while a fault may lose or delay the request. A target that is not connected does not hit the
    /// fault.
    pub(crate) async fn call_with_faults(
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

    /// Forwards a device's method response to its call, unless a fault loses or delays it.
    pub fn answer(
        &self,
        connection: &Arc<Connection>,
        id: RequestId,
        reply: Result<MethodReply, CallEnd>,
    ) -> Answer {
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
            // The response is lost, but the device must not notice.
            Some(_) => Answer::Delivered,
        }
    }
}
