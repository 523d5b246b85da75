//! Applies the effects of faults.

use std::sync::Arc;
use std::time::Duration;

use ferrohub_model::fault::FaultRequest;
use ferrohub_model::{HubError, IdentityId};
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, sleep};

use crate::close_reason::CloseReason;
use crate::faults::{Effect, FaultHit, FaultPoint, Faults};
use crate::hub::Hub;
use crate::limits::Limits;
use crate::log_limited;
use crate::metrics::count;
use crate::node::{CallEnd, Connection, MethodReply, OutgoingCall};

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
    pub(super) faults: Faults,
    /// Wakes the task that removes expired faults.
    pub(super) added: Notify,
    pub(crate) delayed_answers: Arc<Semaphore>,
}

impl FaultInjector {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            faults: Faults::new(limits.faults, limits.fault_duration),
            added: Notify::new(),
            delayed_answers: Arc::new(Semaphore::new(MAX_DELAYED_ANSWERS)),
        }
    }

    /// Returns whether faults may be added.
    pub(crate) fn is_enabled(&self) -> bool {
        self.faults.is_enabled()
    }
}

impl Hub {
    /// Returns whether a fault is active for this point.
    #[must_use]
    pub fn has_fault(&self, point: FaultPoint) -> bool {
        self.fault_injector.faults.has(point)
    }

    pub(super) fn record_hit(&self, hit: &FaultHit, target: &str) {
        count(&self.metrics.fault_hits, hit.kind.name());
        // Requests that are not authorized hit faults, too.
        log_limited!(info, "fault hit", hit.kind.name(), fault = hit.id, kind = hit.kind.name(), target);
    }

    pub(crate) fn hit_fault(&self, point: FaultPoint, id: &IdentityId) -> Option<Effect> {
        // Checked first because reading the clock costs more than this check.
        if !self.has_fault(point) {
            return None;
        }
        let hit = self.fault_injector.faults.hit(point, id, Instant::now())?;
        self.record_hit(&hit, id.as_str());
        Some(hit.effect)
    }

    /// Returns the injected refusal of a request, if there is one. `matches` returns whether a fault of requests applies to
    /// it; `target` names the request in the log.
    #[must_use]
    pub fn injected_refusal(
        &self,
        target: &str,
        matches: impl Fn(&FaultRequest) -> bool,
    ) -> Option<RefusedRequest> {
        let hit = self.fault_injector.faults.hit_request(matches, Instant::now())?;
        self.record_hit(&hit, target);
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
        call.connect_timeout = call.connect_timeout.saturating_sub(delay);
        call.response_timeout -= delay;
        if call.response_timeout.is_zero() {
            return Err(CallEnd::TimedOut);
        }
        self.bus.call(target, call).await
    }
}
