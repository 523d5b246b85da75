//! Jobs and their rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use ferrohub_core::jobs::{
    AddedDevices, ChangedDevices, CreateJobOutcome, DeviceChange, DeviceEnd, DeviceState, FoundJobs, HeldJob,
    JobCounts, JobDefinition, JobDevice, JobEnd, JobLease, JobPhase, JobRow, JobStore, JobsRequest,
    StoredJob, TakeJobs,
};
use ferrohub_core::store::{Refusal, StoreError};
use ferrohub_model::{DeviceId, IdentityId, JobId, Timestamp};

use super::MemoryStore;
use super::state::State;

/// A job with its lease and rows.
#[derive(Debug, Clone)]
pub(super) struct Job {
    definition: Arc<JobDefinition>,
    phase: JobPhase,
    ended: Option<Timestamp>,
    failure: Option<String>,
    /// Empty if the lease is free.
    holder: String,
    fence: u64,
    expiry: Timestamp,
    /// The rows, in the order of devices, and then modules.
    rows: BTreeMap<(String, String), Row>,
}

/// A row of a job.
#[derive(Debug, Clone)]
struct Row {
    id: IdentityId,
    generation_id: String,
    state: DeviceState,
    updated: Timestamp,
    end: Option<DeviceEnd>,
}

fn key(id: &IdentityId) -> (String, String) {
    (id.device_str().to_owned(), id.module_str().unwrap_or_default().to_owned())
}

impl Row {
    fn set(&mut self, state: DeviceState, now: Timestamp) {
        self.state = state;
        self.updated = now;
    }
}

impl Job {
    fn counts(&self) -> JobCounts {
        let mut counts = JobCounts::default();
        for row in self.rows.values() {
            *counts.of(row.state) += 1;
        }
        counts
    }

    fn stored(&self, number: u64) -> StoredJob {
        StoredJob {
            number,
            definition: self.definition.clone(),
            phase: self.phase,
            ended: self.ended,
            failure: self.failure.clone(),
            counts: self.counts(),
        }
    }

    /// Returns whether there is work to do once the job is due.
    fn has_work(&self) -> bool {
        !self.phase.is_ended() || self.counts().running > 0
    }

    fn due(&self) -> Timestamp {
        if self.phase == JobPhase::Waiting { self.definition.start } else { Timestamp::from_unix_seconds(0) }
    }

    fn change(&mut self, change: &DeviceChange, now: Timestamp) -> bool {
        let runs = self.phase == JobPhase::Running;
        let Some(row) = self.rows.get_mut(&key(change.id())) else { return false };
        match change {
            DeviceChange::Begin(_) if runs && row.state.is_open() => row.set(DeviceState::Running, now),
            DeviceChange::Wait(_) if row.state == DeviceState::Pending => row.set(DeviceState::Waiting, now),
            DeviceChange::GiveBack(_) if row.state == DeviceState::Running => {
                row.set(DeviceState::Waiting, now);
            }
            DeviceChange::End(_, end) if row.state == DeviceState::Running || runs && row.state.is_open() => {
                let is_failed = matches!(end, DeviceEnd::Failed { .. });
                row.set(if is_failed { DeviceState::Failed } else { DeviceState::Completed }, now);
                row.end = Some(end.clone());
            }
            _ => return false,
        }
        true
    }
}

impl State {
    /// Returns the job of a lease that is not lost.
    fn leased_job(&mut self, lease: JobLease) -> Option<&mut Job> {
        self.scheduled_jobs
            .rows
            .get_mut(&lease.number)
            .filter(|job| job.fence == lease.fence && !job.holder.is_empty())
    }

    fn number_of(&self, id: &JobId) -> Option<u64> {
        self.scheduled_jobs.rows.iter().find(|(_, job)| job.definition.id == *id).map(|(number, _)| *number)
    }

    fn open_row(&self, row: &Row) -> JobDevice {
        let identity = self.identities.get(&row.id);
        JobDevice {
            id: row.id.clone(),
            generation_id: row.generation_id.clone(),
            exists: identity.is_some_and(|stored| stored.identity.generation_id == row.generation_id),
            state: row.state,
        }
    }

    /// Ends the row of a job for an identity as done.
    pub(super) fn end_job_device(
        &mut self,
        id: &IdentityId,
        lease: JobLease,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let row = self.leased_job(lease).and_then(|job| job.rows.get(&key(id)));
        let generation = row.ok_or(Refusal::JobDeviceNotOpen)?.generation_id.clone();
        if self.identities.get(id).is_none_or(|stored| stored.identity.generation_id != generation) {
            return Err(Refusal::NotFound);
        }
        let job = self.leased_job(lease).ok_or(Refusal::JobDeviceNotOpen)?;
        match job.change(&DeviceChange::End(id.clone(), DeviceEnd::Changed), now) {
            true => Ok(()),
            false => Err(Refusal::JobDeviceNotOpen),
        }
    }

    /// Returns all rows of all jobs, in their order.
    pub(super) fn job_rows(&self) -> Vec<(StoredJob, JobRow)> {
        let rows = self.scheduled_jobs.rows.iter().flat_map(|(number, job)| {
            let stored = job.stored(*number);
            job.rows.values().map(move |row| {
                let read = JobRow {
                    id: row.id.clone(),
                    state: row.state,
                    updated: row.updated,
                    end: row.end.clone(),
                };
                (stored.clone(), read)
            })
        });
        rows.collect()
    }
}

#[async_trait]
impl JobStore for MemoryStore {
    async fn create_job(&self, job: &JobDefinition, limit: u64) -> Result<CreateJobOutcome, StoreError> {
        self.write(|state| {
            if state.number_of(&job.id).is_some() {
                return CreateJobOutcome::Exists;
            }
            let active = state.scheduled_jobs.rows.values().filter(|job| !job.phase.is_ended()).count();
            if active as u64 >= limit {
                return CreateJobOutcome::Full;
            }
            let new = Job {
                definition: Arc::new(job.clone()),
                phase: JobPhase::Waiting,
                ended: None,
                failure: None,
                holder: String::new(),
                fence: 0,
                expiry: Timestamp::MIN,
                rows: BTreeMap::new(),
            };
            let number = state.scheduled_jobs.push(new.clone());
            CreateJobOutcome::Created(new.stored(number))
        })
        .await
    }

    async fn job(&self, id: &JobId) -> Result<Option<StoredJob>, StoreError> {
        self.read(|state| {
            let number = state.number_of(id)?;
            Some(state.scheduled_jobs.rows.get(&number)?.stored(number))
        })
        .await
    }

    async fn jobs(&self, request: &JobsRequest) -> Result<FoundJobs, StoreError> {
        self.read(|state| {
            let mut found = FoundJobs::default();
            let mut bytes = 0;
            for (number, job) in state.scheduled_jobs.rows.iter().rev() {
                let definition = &job.definition;
                let is_due = |(due, now): (bool, Timestamp)| {
                    job.phase != JobPhase::Waiting || due == (definition.start <= now)
                };
                let is_wanted = request.before.is_none_or(|before| *number < before)
                    && request.job_type.is_none_or(|job_type| job_type == definition.action.job_type)
                    && request.phases.contains(&job.phase)
                    && request.due.is_none_or(is_due);
                if !is_wanted {
                    continue;
                }
                bytes += definition.condition.len() + definition.action.body.len();
                if found.jobs.len() == request.top {
                    break;
                }
                if bytes > request.bytes && !found.jobs.is_empty() {
                    found.is_cut = true;
                    break;
                }
                found.jobs.push(job.stored(*number));
            }
            found
        })
        .await
    }

    async fn cancel_job(&self, id: &JobId, now: Timestamp) -> Result<Option<(StoredJob, bool)>, StoreError> {
        self.write(|state| {
            let number = state.number_of(id)?;
            let job = state.scheduled_jobs.rows.get_mut(&number)?;
            let is_first = !job.phase.is_ended();
            if is_first {
                job.phase = JobPhase::Cancelled;
                job.ended = Some(now);
            }
            Some((job.stored(number), is_first))
        })
        .await
    }

    async fn take_jobs(&self, request: &TakeJobs) -> Result<Vec<HeldJob>, StoreError> {
        let TakeJobs { holder, held, now, expiry } = request;
        self.write(|state| {
            let mut taken = Vec::new();
            for (number, job) in &mut state.scheduled_jobs.rows {
                let is_free = job.holder.is_empty() || job.holder == *holder || job.expiry <= *now;
                if held.contains(number) || !is_free || !job.has_work() || job.due() > *now {
                    continue;
                }
                job.holder.clone_from(holder);
                job.fence += 1;
                job.expiry = *expiry;
                let lease = JobLease { number: *number, fence: job.fence };
                taken.push(HeldJob { job: job.stored(*number), lease });
            }
            taken
        })
        .await
    }

    async fn renew_jobs(&self, leases: &[JobLease], expiry: Timestamp) -> Result<Vec<JobLease>, StoreError> {
        self.write(|state| {
            let mut renew = |lease: &JobLease| match state.leased_job(*lease) {
                Some(job) => {
                    job.expiry = expiry;
                    true
                }
                None => false,
            };
            leases.iter().copied().filter(|lease| !renew(lease)).collect()
        })
        .await
    }

    async fn release_jobs(&self, leases: &[JobLease]) -> Result<(), StoreError> {
        self.write(|state| {
            for lease in leases {
                if let Some(job) = state.leased_job(*lease) {
                    job.holder.clear();
                }
            }
        })
        .await
    }

    async fn next_job(&self, holder: &str, held: &[u64]) -> Result<Option<Timestamp>, StoreError> {
        self.read(|state| {
            let others = state
                .scheduled_jobs
                .rows
                .iter()
                .filter(|(number, job)| !held.contains(number) && job.has_work());
            let time = |job: &Job| match job.holder.is_empty() || job.holder == holder {
                true => job.due(),
                false => job.due().max(job.expiry),
            };
            others.map(|(_, job)| time(job)).min()
        })
        .await
    }

    async fn add_job_devices(
        &self,
        lease: JobLease,
        ids: &[IdentityId],
        is_last: bool,
        now: Timestamp,
    ) -> Result<AddedDevices, StoreError> {
        self.write(|state| {
            let existing: Vec<_> = ids
                .iter()
                .filter_map(|id| {
                    let generation_id = state.identities.get(id)?.identity.generation_id.clone();
                    let row = Row {
                        id: id.clone(),
                        generation_id,
                        state: DeviceState::Pending,
                        updated: now,
                        end: None,
                    };
                    Some((key(id), row))
                })
                .collect();
            let selects = |job: &&mut Job| matches!(job.phase, JobPhase::Waiting | JobPhase::Selecting);
            let Some(job) = state.leased_job(lease).filter(selects) else {
                return AddedDevices::NotSelecting;
            };
            for (key, row) in existing {
                job.rows.entry(key).or_insert(row);
            }
            job.phase = if is_last { JobPhase::Running } else { JobPhase::Selecting };
            AddedDevices::Added
        })
        .await
    }

    async fn last_job_device(&self, number: u64) -> Result<Option<IdentityId>, StoreError> {
        self.read(|state| Some(state.scheduled_jobs.rows.get(&number)?.rows.last_key_value()?.1.id.clone()))
            .await
    }

    async fn open_job_devices(
        &self,
        number: u64,
        after: Option<&IdentityId>,
        top: usize,
    ) -> Result<Vec<JobDevice>, StoreError> {
        let after = after.map(key);
        self.read(|state| {
            let Some(job) = state.scheduled_jobs.rows.get(&number) else { return Vec::new() };
            let rows = job
                .rows
                .iter()
                .filter(|(key, row)| row.state.is_open() && after.as_ref().is_none_or(|after| *key > after));
            rows.take(top).map(|(_, row)| state.open_row(row)).collect()
        })
        .await
    }

    async fn open_jobs_of(&self, devices: &[DeviceId]) -> Result<Vec<(u64, JobDevice)>, StoreError> {
        self.read(|state| {
            let jobs = state.scheduled_jobs.rows.iter().filter(|(_, job)| job.phase == JobPhase::Running);
            let rows = jobs.flat_map(|(number, job)| job.rows.values().map(move |row| (*number, row)));
            let is_of = |row: &Row| devices.iter().any(|device| device.as_str() == row.id.device_str());
            let open = rows.filter(|(_, row)| row.state.is_open() && is_of(row));
            open.map(|(number, row)| (number, state.open_row(row))).collect()
        })
        .await
    }

    async fn change_job_devices(
        &self,
        lease: JobLease,
        changes: Vec<DeviceChange>,
        now: Timestamp,
    ) -> Result<Option<ChangedDevices>, StoreError> {
        self.write(|state| {
            let job = state.leased_job(lease)?;
            let made = changes.iter().map(|change| job.change(change, now)).collect();
            Some(ChangedDevices { made, phase: job.phase, counts: job.counts() })
        })
        .await
    }

    async fn end_interrupted_devices(
        &self,
        lease: JobLease,
        end: &DeviceEnd,
        now: Timestamp,
    ) -> Result<Option<u64>, StoreError> {
        self.write(|state| {
            let job = state.leased_job(lease)?;
            let running = job.rows.values().filter(|row| row.state == DeviceState::Running);
            let ids: Vec<_> = running.map(|row| row.id.clone()).collect();
            for id in &ids {
                job.change(&DeviceChange::End(id.clone(), end.clone()), now);
            }
            Some(ids.len() as u64)
        })
        .await
    }

    async fn end_job(
        &self,
        lease: JobLease,
        end: &JobEnd,
        now: Timestamp,
    ) -> Result<Option<StoredJob>, StoreError> {
        self.write(|state| {
            let job = state.leased_job(lease)?;
            let counts = job.counts();
            let ends = !job.phase.is_ended()
                && match end {
                    JobEnd::Failed(_) => true,
                    JobEnd::Completed => {
                        job.phase == JobPhase::Running
                            && counts.running == 0
                            && (counts.open() == 0 || job.definition.deadline <= now)
                    }
                };
            if ends {
                job.ended = Some(now);
                (job.phase, job.failure) = match end {
                    JobEnd::Completed => (JobPhase::Completed, None),
                    JobEnd::Failed(reason) => (JobPhase::Failed, Some(reason.clone())),
                };
            }
            Some(job.stored(lease.number))
        })
        .await
    }

    async fn remove_old_jobs(&self, ended_before: Timestamp, rows: usize) -> Result<u64, StoreError> {
        self.write(|state| {
            let is_old = |job: &Job| job.ended.is_some_and(|ended| ended < ended_before) && !job.has_work();
            let Some((number, job)) = state.scheduled_jobs.rows.iter_mut().find(|(_, job)| is_old(job))
            else {
                return 0;
            };
            let number = *number;
            let removed = job.rows.len().min(rows);
            for _ in 0..removed {
                job.rows.pop_first();
            }
            if job.rows.is_empty() {
                state.scheduled_jobs.rows.remove(&number);
                return removed as u64 + 1;
            }
            removed as u64
        })
        .await
    }
}
