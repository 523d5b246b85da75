//! Jobs.

use async_trait::async_trait;
use ferrohub_core::jobs::{
    AddedDevices, ChangedDevices, CreateJobOutcome, DeviceChange, DeviceEnd, FoundJobs, HeldJob,
    JobDefinition, JobDevice, JobEnd, JobLease, JobStore, JobsRequest, StoredJob, TakeJobs,
};
use ferrohub_core::store::StoreError;
use ferrohub_model::{DeviceId, IdentityId, JobId, Timestamp};

use super::SqliteStore;
use crate::statements::jobs as statements;

#[async_trait]
impl JobStore for SqliteStore {
    async fn create_job(&self, job: &JobDefinition, limit: u64) -> Result<CreateJobOutcome, StoreError> {
        let job = job.clone();
        self.writer.write(move |db| statements::create_job(db, &job, limit)).await
    }

    async fn job(&self, id: &JobId) -> Result<Option<StoredJob>, StoreError> {
        let id = id.clone();
        self.readers.read_inline(move |db| statements::job(db, &id)).await
    }

    async fn jobs(&self, request: &JobsRequest) -> Result<FoundJobs, StoreError> {
        let request = request.clone();
        self.readers.read(move |db| statements::jobs(db, &request)).await
    }

    async fn cancel_job(&self, id: &JobId, now: Timestamp) -> Result<Option<(StoredJob, bool)>, StoreError> {
        let id = id.clone();
        self.writer.write(move |db| statements::cancel_job(db, &id, now)).await
    }

    async fn take_jobs(&self, request: &TakeJobs) -> Result<Vec<HeldJob>, StoreError> {
        // An idle hub asks again and again. It must not write each time.
        let next = self.next_job(&request.holder, &request.held).await?;
        if next.is_none_or(|next| next > request.now) {
            return Ok(Vec::new());
        }
        let request = request.clone();
        self.writer.write(move |db| statements::take_jobs(db, &request)).await
    }

    async fn renew_jobs(&self, leases: &[JobLease], expiry: Timestamp) -> Result<Vec<JobLease>, StoreError> {
        let leases = leases.to_vec();
        self.writer.write(move |db| statements::renew_jobs(db, &leases, expiry)).await
    }

    async fn release_jobs(&self, leases: &[JobLease]) -> Result<(), StoreError> {
        let leases = leases.to_vec();
        self.writer.write(move |db| statements::release_jobs(db, &leases)).await
    }

    async fn next_job(&self, holder: &str, held: &[u64]) -> Result<Option<Timestamp>, StoreError> {
        let (holder, held) = (holder.to_owned(), held.to_vec());
        self.readers.read_inline(move |db| statements::next_job(db, &holder, &held)).await
    }

    async fn add_job_devices(
        &self,
        lease: JobLease,
        ids: &[IdentityId],
        is_last: bool,
        now: Timestamp,
    ) -> Result<AddedDevices, StoreError> {
        let ids = ids.to_vec();
        self.writer.write(move |db| statements::add_job_devices(db, lease, &ids, is_last, now)).await
    }

    async fn last_job_device(&self, number: u64) -> Result<Option<IdentityId>, StoreError> {
        self.readers.read(move |db| statements::last_job_device(db, number)).await
    }

    async fn open_job_devices(
        &self,
        number: u64,
        after: Option<&IdentityId>,
        top: usize,
    ) -> Result<Vec<JobDevice>, StoreError> {
        let after = after.cloned();
        self.readers.read(move |db| statements::open_job_devices(db, number, after.as_ref(), top)).await
    }

    async fn open_jobs_of(&self, devices: &[DeviceId]) -> Result<Vec<(u64, JobDevice)>, StoreError> {
        let devices = devices.to_vec();
        self.readers.read(move |db| statements::open_jobs_of(db, &devices)).await
    }

    async fn change_job_devices(
        &self,
        lease: JobLease,
        changes: Vec<DeviceChange>,
        now: Timestamp,
    ) -> Result<Option<ChangedDevices>, StoreError> {
        self.writer.write(move |db| statements::change_job_devices(db, lease, &changes, now)).await
    }

    async fn end_interrupted_devices(
        &self,
        lease: JobLease,
        end: &DeviceEnd,
        now: Timestamp,
    ) -> Result<Option<u64>, StoreError> {
        let end = end.clone();
        self.writer.write(move |db| statements::end_interrupted_devices(db, lease, &end, now)).await
    }

    async fn end_job(
        &self,
        lease: JobLease,
        end: &JobEnd,
        now: Timestamp,
    ) -> Result<Option<StoredJob>, StoreError> {
        let end = end.clone();
        self.writer.write(move |db| statements::end_job(db, lease, &end, now)).await
    }

    async fn remove_old_jobs(&self, ended_before: Timestamp, rows: usize) -> Result<u64, StoreError> {
        self.writer.write(move |db| statements::remove_old_jobs(db, ended_before, rows)).await
    }
}
