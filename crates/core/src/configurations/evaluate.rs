//! The background task that evaluates devices: those whose twin changed, and all of them in a [sweep](super::sweep).

use std::sync::Arc;
use std::time::Duration;

use ferrohub_model::{DeviceId, HubError};
use tokio::time::{Instant, sleep};
use tracing::{debug, warn};

use super::{ConfigurationSet, DevicePlan, DeviceTwins, PlanLimits, plan_device};
use crate::background::Stop;
use crate::hub::Hub;
use crate::log_limited;
use crate::metrics::count;
use crate::store::store_failed;

/// Maximum number of devices that are evaluated in one step.
const STEP_DEVICES: usize = 100;
/// How often a device is evaluated again at once if its twins change meanwhile. After that, the next sweep does it.
const MAX_TRIES: usize = 5;
/// Delay after an error of the store.
const RETRY_DELAY: Duration = Duration::from_secs(5);

impl Hub {
    /// Applies configurations until it is stopped: evaluates devices whose twin changed as soon as possible, and all devices
    /// after a change of the configurations and from time to time.
    pub async fn run_configurations(self: Arc<Self>, mut stop: Stop) {
        let mut sweep = self.new_sweep();
        while !stop.is_requested() {
            let step = async {
                self.evaluate_waiting().await?;
                self.step_sweep(&mut sweep).await
            };
            // A step is not dropped half way: what it has written is also notified.
            let wait = match step.await {
                Ok(wait) => wait,
                Err(error) => {
                    let retry_seconds = RETRY_DELAY.as_secs();
                    warn!(%error, retry_seconds, "cannot apply configurations; retrying");
                    count(&self.metrics.configurations.evaluations, "failed");
                    self.configurations.request_sweep();
                    let _ = stop.requested_within(RETRY_DELAY).await;
                    continue;
                }
            };
            if self.configurations.waiting() > 0 {
                continue;
            }
            tokio::select! {
                () = self.configurations.work() => {}
                () = sleep(wait) => {}
                () = stop.requested() => {}
            }
        }
        sweep.end().await;
    }

    /// Evaluates the devices that wait, at most as many as fit into one step.
    async fn evaluate_waiting(&self) -> Result<(), HubError> {
        let devices = self.configurations.take_devices(STEP_DEVICES);
        self.metrics
            .configurations
            .waiting
            .set(i64::try_from(self.configurations.waiting()).unwrap_or(i64::MAX));
        self.evaluate_devices(devices).await
    }

    /// Evaluates devices, again if somebody else changes them meanwhile.
    pub(super) async fn evaluate_devices(&self, mut devices: Vec<DeviceId>) -> Result<(), HubError> {
        for _ in 0..MAX_TRIES {
            if devices.is_empty() {
                return Ok(());
            }
            let mut read = Vec::with_capacity(devices.len());
            for device in &devices {
                read.push(self.store.device_twins(device).await.map_err(store_failed)?);
            }
            devices = self.evaluate(&self.configurations.set(), read).await?;
        }
        debug!(devices = devices.len(), "devices change too often to be evaluated; the next sweep does it");
        Ok(())
    }

    /// Evaluates devices that were read. Returns those that somebody else changed meanwhile.
    pub(super) async fn evaluate(
        &self,
        set: &ConfigurationSet,
        read: Vec<DeviceTwins>,
    ) -> Result<Vec<DeviceId>, HubError> {
        let started = Instant::now();
        let limits = PlanLimits { twins: &self.limits.twins, modules: self.limits.modules_per_device };
        let evaluations = &self.metrics.configurations.evaluations;
        let mut plans = Vec::new();
        for twins in &read {
            let Some(device) =
                twins.first().and_then(|(identity, _)| DeviceId::new(identity.id.device_str()).ok())
            else {
                continue;
            };
            let plan = plan_device(set, twins, limits, self.clock.now());
            count(evaluations, if plan.changes.is_empty() { "unchanged" } else { "changed" });
            self.report_refused(&device, &plan);
            plans.push((device, plan));
            // A large number of twins must not keep other tasks of this thread waiting.
            tokio::task::consume_budget().await;
        }
        let again = self.write_plans(plans).await?;
        self.metrics.configurations.seconds.observe(started.elapsed().as_secs_f64());
        Ok(again)
    }

    fn report_refused(&self, device: &DeviceId, plan: &DevicePlan) {
        for (configuration, error) in &plan.refused {
            count(&self.metrics.configurations.evaluations, "refused");
            log_limited!(
                warn,
                "a device cannot have the settings of a configuration; its other configurations are applied",
                "twin_limit",
                device = %device,
                configuration = %configuration.id(),
                error = %error.message
            );
        }
    }
}
