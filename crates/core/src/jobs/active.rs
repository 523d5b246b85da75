//! The jobs that this node runs, and the devices that have become ready for them.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ferrohub_model::{DeviceId, IdentityId};
use tokio::sync::{Notify, Semaphore};

use super::limits::JobLimits;
use super::store::JobDevice;

/// Maximum number of devices that have become ready and were not looked up yet. Beyond it, the jobs look at all their rows.
const MAX_READY: usize = 8192;
/// Maximum number of devices that are ready for one job. Beyond it, the job looks at all its rows.
const MAX_CANDIDATES: usize = 1024;

/// The jobs that this node runs.
#[derive(Debug)]
pub(crate) struct ActiveJobs {
    jobs: Mutex<HashMap<u64, Arc<ActiveJob>>>,
    /// Number of jobs that wait for devices. A device that connects asks for nothing more if there is none.
    waiting: AtomicUsize,
    ready: Mutex<HashSet<DeviceId>>,
    ready_notify: Notify,
    changed: Notify,
    created: Notify,
    /// One permit for each device on which the node may work.
    pub(super) devices: Arc<Semaphore>,
}

/// A job that this node runs.
#[derive(Debug, Default)]
pub(super) struct ActiveJob {
    candidates: Mutex<Vec<JobDevice>>,
    rescan: AtomicBool,
    cancelled: AtomicBool,
    notify: Notify,
}

/// Registers a job, until it is dropped.
pub(super) struct Registered {
    active: Arc<ActiveJobs>,
    number: u64,
    waits: bool,
    job: Arc<ActiveJob>,
}

impl std::ops::Deref for Registered {
    type Target = ActiveJob;

    fn deref(&self) -> &ActiveJob {
        &self.job
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        lock(&self.active.jobs).remove(&self.number);
        if self.waits {
            self.active.waiting.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

impl ActiveJobs {
    pub(crate) fn new(limits: &JobLimits) -> Self {
        let devices = limits.concurrent_devices_per_node.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            jobs: Mutex::default(),
            waiting: AtomicUsize::new(0),
            ready: Mutex::default(),
            ready_notify: Notify::new(),
            changed: Notify::new(),
            created: Notify::new(),
            devices: Arc::new(Semaphore::new(devices)),
        }
    }

    /// Wakes the runner: a job was created.
    pub(super) fn changed(&self) {
        self.changed.notify_one();
        self.created.notify_one();
    }

    /// Waits until a job was created, for the task that removes old ones. Cancel-safe.
    pub(super) async fn next_creation(&self) {
        self.created.notified().await;
    }

    /// Waits until a job was created. Cancel-safe.
    pub(super) async fn next_change(&self) {
        self.changed.notified().await;
    }

    /// Wakes a job that was cancelled, if this node runs it.
    pub(super) fn cancelled(&self, number: u64) {
        if let Some(job) = lock(&self.jobs).get(&number) {
            job.cancelled.store(true, Ordering::SeqCst);
            job.notify.notify_one();
        }
    }

    /// Registers a job. With `waits`, it is told of devices that become ready from now on.
    pub(super) fn register(self: &Arc<Self>, number: u64, waits: bool) -> Registered {
        let job = Arc::<ActiveJob>::default();
        lock(&self.jobs).insert(number, job.clone());
        if waits {
            self.waiting.fetch_add(1, Ordering::SeqCst);
        }
        Registered { active: self.clone(), number, waits, job }
    }

    /// Notes that a device or module can be called now, or was deleted. Costs next to nothing if no job waits for devices.
    pub(crate) fn device_changed(&self, id: &IdentityId) {
        if self.waiting.load(Ordering::SeqCst) == 0 {
            return;
        }
        let Ok(device) = DeviceId::new(id.device_str()) else { return };
        let mut ready = lock(&self.ready);
        if ready.len() >= MAX_READY {
            ready.clear();
            drop(ready);
            self.rescan_all();
            return;
        }
        ready.insert(device);
        drop(ready);
        self.ready_notify.notify_one();
    }

    /// Lets every job look at all its rows.
    pub(super) fn rescan_all(&self) {
        for job in lock(&self.jobs).values() {
            job.rescan.store(true, Ordering::SeqCst);
            job.notify.notify_one();
        }
    }

    /// Waits for devices that have become ready, and returns at most `top` of them. Cancel-safe.
    pub(super) async fn next_ready(&self, top: usize) -> Vec<DeviceId> {
        loop {
            let taken: Vec<DeviceId> = {
                let mut ready = lock(&self.ready);
                let taken: Vec<_> = ready.iter().take(top).cloned().collect();
                for id in &taken {
                    ready.remove(id);
                }
                taken
            };
            if !taken.is_empty() {
                return taken;
            }
            self.ready_notify.notified().await;
        }
    }

    /// Tells a job of a device, if this node runs it.
    pub(super) fn offer(&self, number: u64, device: JobDevice) {
        let Some(job) = lock(&self.jobs).get(&number).cloned() else { return };
        let mut candidates = lock(&job.candidates);
        if candidates.len() >= MAX_CANDIDATES {
            candidates.clear();
            job.rescan.store(true, Ordering::SeqCst);
        } else {
            candidates.push(device);
        }
        drop(candidates);
        job.notify.notify_one();
    }
}

impl ActiveJob {
    /// Returns the devices that it was told of.
    pub(super) fn take_candidates(&self) -> Vec<JobDevice> {
        std::mem::take(&mut *lock(&self.candidates))
    }

    /// Returns whether it must look at all its rows.
    pub(super) fn take_rescan(&self) -> bool {
        self.rescan.swap(false, Ordering::SeqCst)
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::SeqCst)
    }

    /// Waits until there is something new. Cancel-safe.
    pub(super) async fn notified(&self) {
        self.notify.notified().await;
    }
}

/// Locks a value that stays valid if a thread panics while it holds the lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::super::store::DeviceState;
    use super::*;

    fn device(id: &str) -> JobDevice {
        JobDevice {
            id: IdentityId::parse(id).unwrap(),
            generation_id: "1".to_owned(),
            exists: true,
            state: DeviceState::Waiting,
        }
    }

    fn active() -> Arc<ActiveJobs> {
        Arc::new(ActiveJobs::new(&JobLimits::default()))
    }

    #[test]
    fn without_a_job_that_waits_a_device_leaves_nothing() {
        let active = active();
        active.device_changed(&device("d").id);
        let job = active.register(1, false);
        active.device_changed(&device("d").id);
        assert!(lock(&active.ready).is_empty());
        let waits = active.register(2, true);
        active.device_changed(&device("d").id);
        active.device_changed(&device("d/m").id);
        assert_eq!(active.next_ready(9).now_or_never().unwrap().len(), 1, "a device and its modules are one");
        drop((waits, job));
        active.device_changed(&device("d").id);
        assert!(active.next_ready(9).now_or_never().is_none());
    }

    #[test]
    fn too_many_devices_make_the_jobs_look_at_all_rows() {
        let active = active();
        let job = active.register(1, true);
        for number in 0..MAX_READY {
            active.device_changed(&device(&format!("d{number}")).id);
        }
        assert!(!job.take_rescan());
        active.device_changed(&device("one-more").id);
        assert!(job.take_rescan() && lock(&active.ready).is_empty());
        for number in 0..MAX_CANDIDATES {
            active.offer(1, device(&format!("d{number}")));
        }
        active.offer(2, device("of-no-job"));
        assert_eq!((lock(&job.candidates).len(), job.take_rescan()), (MAX_CANDIDATES, false));
        active.offer(1, device("one-more"));
        assert!(job.take_rescan() && job.take_candidates().is_empty());
    }
}
