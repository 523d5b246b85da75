//! The background tasks of a hub. A head or the program may add others with [`Hub::background`].

use std::sync::Arc;

use super::Hub;
use crate::cloud_to_device::run_expiry;
use crate::connections::ActivityWriter;
use crate::faults::run_fault_expiry;

impl Hub {
    /// Starts the background tasks. None of them keeps the hub from being dropped.
    pub(super) fn start_tasks(self: &Arc<Self>) {
        let leases = &self.leases;
        let (queues, lease) = (self.queues.clone(), Arc::new(leases.of_task("message-expiry")));
        self.background.start("message expiry", move |stop| run_expiry(queues.clone(), lease.clone(), stop));
        let (events, clock) = (self.events.clone(), self.clock.clone());
        let lease = Arc::new(leases.of_task("event-retention"));
        self.background
            .start("event retention", move |stop| events.run_retention(clock.clone(), lease.clone(), stop));
        if let Some(events) = self.connection_events.clone() {
            self.background.start("connection events", move |stop| events.clone().run(stop));
        }
        let (recent, store) = (self.recent_activity.clone(), self.store.clone());
        self.background.start("connection times", move |stop| recent.clone().run(store.clone(), stop));
        let writer = Arc::new(ActivityWriter {
            connections: self.connections.clone(),
            store: self.store.clone(),
            clock: self.clock.clone(),
            interval: self.limits.activity_flush_interval,
        });
        self.background.start("activity writer", move |stop| writer.clone().run(stop));
        let maintenance = Arc::new(self.file_maintenance(leases.of_task("file-maintenance")));
        self.background.start("file maintenance", move |stop| maintenance.clone().run(stop));
        self.start_jobs(leases.node.clone());
        let (injector, active) = (self.fault_injector.clone(), self.metrics.faults_active.clone());
        if injector.is_enabled() {
            self.background
                .start("fault expiry", move |stop| run_fault_expiry(injector.clone(), active.clone(), stop));
        }
    }
}
