//! Adding, listing and removing faults.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use ferrohub_model::fault::{Fault, FaultRequest};
use ferrohub_model::{ErrorCode, HubError};
use prometheus_client::metrics::gauge::Gauge;
use tokio::time::Instant;
use tracing::warn;

use super::inject::FaultInjector;
use super::{Effect, EndedFault, FaultHit};
use crate::background::Stop;
use crate::callers::ServiceCaller;
use crate::close_reason::CloseReason;
use crate::hub::Hub;
use crate::operations::Operation;

/// How often expired faults are removed. A fault takes no effect and is not listed from the moment it expires.
const EXPIRY_INTERVAL: Duration = Duration::from_millis(100);

/// Management of faults. It is for tests, so it is off unless the configuration enables it.
impl ServiceCaller {
    /// Returns the active faults, the oldest first.
    ///
    /// # Errors
    ///
    /// `GenericNotFound` from this and the other operations on faults if fault injection is off.
    pub fn list_faults(&self) -> Result<Vec<Fault>, HubError> {
        let hub = self.permit_faults(Operation::ListFaults)?;
        Ok(hub.fault_injector.faults.list(Instant::now()))
    }

    /// Adds a fault. A `dropConnection` without a duration has taken effect and ended when this returns.
    pub fn add_fault(&self, request: FaultRequest) -> Result<Fault, HubError> {
        self.permit_faults(Operation::AddFault)?.add_fault(request)
    }

    /// Removes a fault.
    pub fn remove_fault(&self, id: &str) -> Result<(), HubError> {
        match self.permit_faults(Operation::RemoveFault)?.remove_faults(|fault| fault.id == id) {
            0 => Err(HubError::new(ErrorCode::GenericNotFound, format!("There is no fault {id}."))),
            _ => Ok(()),
        }
    }

    /// Removes all faults. Returns their number.
    pub fn clear_faults(&self) -> Result<usize, HubError> {
        Ok(self.permit_faults(Operation::ClearFaults)?.remove_faults(|_| true))
    }

    fn permit_faults(&self, operation: Operation) -> Result<&Arc<Hub>, HubError> {
        let hub = self.permit(operation)?;
        if hub.fault_injector.faults.is_enabled() {
            return Ok(hub);
        }
        let text = "Fault injection is off. It is for tests: set enabled = true in the section [faults] of the \
                    configuration, or FERROHUB_FAULTS_ENABLED=true, and restart the hub.";
        Err(HubError::new(ErrorCode::GenericNotFound, text))
    }
}

impl Hub {
    /// Adds a fault. A `dropConnection` without a duration has taken effect and ended when this returns.
    fn add_fault(self: &Arc<Self>, request: FaultRequest) -> Result<Fault, HubError> {
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
            log_fault_ended(EndedFault { fault: fault.clone(), reason: "single use" });
        } else {
            self.metrics.faults_active.inc();
            self.fault_injector.faults.activate(accepted, Instant::now());
            self.fault_injector.added.notify_one();
        }
        Ok(fault)
    }

    fn remove_faults(&self, predicate: impl Fn(&Fault) -> bool) -> usize {
        let removed = self.fault_injector.faults.remove(Instant::now(), predicate);
        let count = removed.len();
        for fault in removed {
            self.metrics.faults_active.dec();
            log_fault_ended(fault);
        }
        count
    }
}

/// Removes expired faults until it is stopped: periodically while faults are active.
pub(crate) async fn run_fault_expiry(
    injector: Arc<FaultInjector>,
    active: Gauge<i64, AtomicI64>,
    mut stop: Stop,
) {
    while !stop.is_requested() {
        let (ended, more) = injector.faults.expire(Instant::now());
        for fault in ended {
            active.dec();
            log_fault_ended(fault);
        }
        if more {
            let _ = stop.requested_within(EXPIRY_INTERVAL).await;
        } else {
            tokio::select! {
                () = injector.added.notified() => {}
                () = stop.requested() => {}
            }
        }
    }
}

fn log_fault_ended(ended: EndedFault) {
    let EndedFault { fault, reason } = ended;
    warn!(fault = fault.id, kind = fault.fault.kind.name(), hits = fault.hits, reason, "fault ended");
}
