//! The sweep: evaluates all devices, after a change of the configurations, after the start of the hub, and from time to time.
//!
//! It reads some devices at a time, so its memory is bounded, and changed devices are evaluated in between. Its position is
//! saved, so that a hub that is started again continues where it was: devices at the end of the order are reached even if the
//! hub never runs long enough for a whole sweep. Only the node with the lease sweeps.

use std::time::Duration;

use ferrohub_model::{DeviceId, HubError};
use tokio::time::Instant;
use tracing::{debug, info};

use super::DeviceTwinsRequest;
use crate::background::{LeaseState, TaskLease};
use crate::hub::Hub;
use crate::metrics::count;
use crate::store::store_failed;

/// Maximum number of devices in one step.
const STEP_DEVICES: usize = 500;
/// The pause after a step is this part of its duration, so that other work has time.
const PAUSE_PART: u32 = 4;

/// The state of the sweep of this node.
pub(super) struct Sweep {
    lease: TaskLease,
    running: Option<Running>,
    /// When the next sweep begins if nothing requests it before.
    next: Instant,
    /// Whether the saved position was read.
    is_restored: bool,
}

struct Running {
    /// The last device that was evaluated; `None` before the first.
    after: Option<DeviceId>,
    /// The sweep began after this device, and ends there.
    began_after: Option<DeviceId>,
    /// Whether the end of the order was passed.
    wrapped: bool,
    started: Instant,
    devices: u64,
}

impl Hub {
    pub(super) fn new_sweep(&self) -> Sweep {
        let lease = self.leases.of_task("configurations");
        Sweep { lease, running: None, next: Instant::now(), is_restored: false }
    }

    /// Does a step of the sweep, if there is something to do. Returns how long to wait before the next step. After an error,
    /// a sweep must be requested again.
    pub(super) async fn step_sweep(&self, sweep: &mut Sweep) -> Result<Duration, HubError> {
        let now = Instant::now();
        let is_requested = self.configurations.take_sweep_request();
        if !is_requested && sweep.running.is_none() && now < sweep.next {
            return Ok(sweep.next - now);
        }
        if let LeaseState::HeldElsewhere { retry_after } = sweep.lease.hold().await.map_err(store_failed)? {
            // The other node knows of the change too, and its sweep evaluates the devices of this one.
            sweep.running = None;
            sweep.next = now + retry_after;
            return Ok(retry_after);
        }
        let mut running = match sweep.running.take() {
            // The devices before were evaluated with other configurations.
            Some(running) if is_requested => Running::new(running.after, now),
            Some(running) => running,
            None => Running::new(self.saved_sweep_position(sweep).await?, now),
        };
        let (set, after) = (self.configurations.set(), running.after.clone());
        let only_configured = set.is_empty();
        let request = DeviceTwinsRequest { after, devices: STEP_DEVICES, only_configured };
        let read = self.store.twins_of_devices(&request).await.map_err(store_failed)?;
        let devices = running.take(read, &mut |twins| {
            twins.first().and_then(|(identity, _)| DeviceId::new(identity.id.device_str()).ok())
        });
        running.devices += devices.len() as u64;
        let was_empty = devices.is_empty();
        let again = self.evaluate(&set, devices).await?;
        self.configurations.add(again);
        if running.is_complete(was_empty) {
            return self.complete_sweep(sweep, &running).await;
        }
        self.store.save_sweep_position(running.after.as_ref()).await.map_err(store_failed)?;
        sweep.running = Some(running);
        Ok(now.elapsed() / PAUSE_PART)
    }

    /// Returns where the sweep of the last process was, once.
    async fn saved_sweep_position(&self, sweep: &mut Sweep) -> Result<Option<DeviceId>, HubError> {
        if std::mem::replace(&mut sweep.is_restored, true) {
            return Ok(None);
        }
        self.store.sweep_position().await.map_err(store_failed)
    }

    async fn complete_sweep(&self, sweep: &mut Sweep, running: &Running) -> Result<Duration, HubError> {
        if running.after.is_some() || running.began_after.is_some() {
            self.store.save_sweep_position(None).await.map_err(store_failed)?;
        }
        let seconds = running.started.elapsed().as_secs_f64();
        count(&self.metrics.configurations.sweeps, "completed");
        if running.devices > 0 {
            debug!(devices = running.devices, seconds, "evaluated the configurations of all devices");
        }
        let interval = self.limits.configurations.sweep_interval;
        sweep.next = Instant::now() + interval;
        Ok(interval)
    }
}

impl Sweep {
    /// Gives the lease back.
    pub(super) async fn end(&self) {
        if self.running.is_some() {
            info!("the configurations of some devices are evaluated when the hub starts again");
        }
        self.lease.release().await;
    }
}

impl Running {
    fn new(after: Option<DeviceId>, started: Instant) -> Self {
        Self { after: after.clone(), began_after: after, wrapped: false, started, devices: 0 }
    }

    /// Takes the devices that were read, without those with which the sweep began, and moves to the last of them.
    fn take<T>(&mut self, mut read: Vec<T>, id: &mut impl FnMut(&T) -> Option<DeviceId>) -> Vec<T> {
        if self.wrapped
            && let Some(end) = self.began_after.clone()
        {
            read.retain(|item| id(item).is_none_or(|id| id <= end));
        }
        if let Some(last) = read.last().and_then(id) {
            self.after = Some(last);
        }
        read
    }

    /// Returns whether all devices were evaluated. `was_empty` is whether the last step found no device.
    fn is_complete(&mut self, was_empty: bool) -> bool {
        if !was_empty {
            return false;
        }
        if self.wrapped || self.began_after.is_none() {
            return true;
        }
        (self.wrapped, self.after) = (true, None);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a sweep over these devices, two in a step. Returns them in the order of their evaluation.
    fn sweep(devices: &[&str], from: Option<&str>) -> String {
        let id = |text: &str| DeviceId::new(text).unwrap();
        let mut running = Running::new(from.map(id), Instant::now());
        let mut seen = String::new();
        for _ in 0..100 {
            let after = running.after.clone();
            let read: Vec<DeviceId> = devices
                .iter()
                .map(|device| id(device))
                .filter(|device| after.as_ref().is_none_or(|after| device > after))
                .take(2)
                .collect();
            let taken = running.take(read, &mut |device| Some(device.clone()));
            seen.extend(taken.iter().map(DeviceId::as_str));
            if running.is_complete(taken.is_empty()) {
                return seen;
            }
        }
        panic!("the sweep does not end: {seen}");
    }

    #[tokio::test]
    async fn a_sweep_reaches_every_device_once_wherever_it_begins() {
        assert_eq!(sweep(&[], None), "");
        assert_eq!(sweep(&[], Some("c")), "");
        assert_eq!(sweep(&["a", "b", "c", "d", "e"], None), "abcde");
        assert_eq!(sweep(&["a", "b", "c", "d", "e"], Some("c")), "deabc");
        assert_eq!(sweep(&["a", "b", "c", "d", "e"], Some("e")), "abcde");
        assert_eq!(sweep(&["a", "b", "d", "e"], Some("c")), "deab");
    }
}
