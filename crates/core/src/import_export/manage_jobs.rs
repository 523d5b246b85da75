//! The operations on jobs.

use ferrohub_model::import_export::{
    ImportExportJob, ImportExportRequest, JobStatus, JobType, StorageAuthentication,
};
use ferrohub_model::{ErrorCode, Guid, HubError};
use tracing::info;

use super::container::check_blob_name;
use super::job::{Job, JobRequest};
use super::{CONFIGURATIONS_BLOB, DEVICES_BLOB, JobProgress, NewJobOutcome};
use crate::callers::ServiceCaller;
use crate::hub::Hub;
use crate::metrics::count;
use crate::operations::Operation;
use crate::store::store_failed;

/// The maximum number of jobs in a list.
const MAX_LISTED: usize = 1000;

impl ServiceCaller {
    /// Begins to import devices and modules from a blob, or to export them to one. Returns the job, which waits.
    ///
    /// # Errors
    ///
    /// `JobQuotaExceeded` if another job waits or runs; `BlobContainerValidationError` if a container is missing or cannot be
    /// used; `ManagedIdentityNotEnabled` if the storage is to be accessed with an identity of the hub.
    pub async fn create_import_export_job(
        &self,
        request: &ImportExportRequest,
    ) -> Result<ImportExportJob, HubError> {
        let hub = self.permit(Operation::CreateImportExportJob)?;
        let request = hub.check_request(request)?;
        if request.include_configurations {
            self.permit(match request.kind {
                JobType::Import => Operation::PutConfiguration,
                JobType::Export => Operation::ListConfigurations,
            })?;
        }
        let job = Job {
            id: Guid::random().version_4().to_string(),
            request,
            status: JobStatus::Enqueued,
            created: hub.clock.now(),
            ended: None,
            run: 0,
            progress: JobProgress::default(),
            failure: None,
        };
        let limit = hub.limits.import_export.active_jobs;
        match hub.store.create_import_export_job(&job, limit).await.map_err(store_failed)? {
            NewJobOutcome::Created => {}
            NewJobOutcome::Full => {
                let text = format!(
                    "The hub runs at most {limit} import and export jobs at a time. Wait until the present one has ended, or cancel it."
                );
                return Err(HubError::new(ErrorCode::JobQuotaExceeded, text));
            }
        }
        count(&hub.metrics.import_export_jobs, "created");
        info!(job = job.id, kind = job.request.kind.name(), "import or export job created");
        hub.job_worker.wake_up();
        Ok(job.present())
    }

    /// Returns the newest import and export jobs, newest first.
    pub async fn list_import_export_jobs(&self) -> Result<Vec<ImportExportJob>, HubError> {
        let hub = self.permit(Operation::ListImportExportJobs)?;
        let jobs = hub.store.import_export_jobs(MAX_LISTED).await.map_err(store_failed)?;
        Ok(jobs.iter().map(Job::present).collect())
    }

    /// Returns an import or export job.
    ///
    /// # Errors
    ///
    /// `JobNotFound`.
    pub async fn get_import_export_job(&self, id: &str) -> Result<ImportExportJob, HubError> {
        let hub = self.permit(Operation::GetImportExportJob)?;
        let job = hub.store.import_export_job(id).await.map_err(store_failed)?;
        job.map(|job| job.present()).ok_or_else(job_not_found)
    }

    /// Cancels an import or export job. What it has imported stays. A job that has ended stays as it is.
    ///
    /// # Errors
    ///
    /// `JobNotFound`.
    pub async fn cancel_import_export_job(&self, id: &str) -> Result<ImportExportJob, HubError> {
        let hub = self.permit(Operation::CancelImportExportJob)?;
        let now = hub.clock.now();
        let cancelled = hub.store.cancel_import_export_job(id, now).await.map_err(store_failed)?;
        let job = cancelled.ok_or_else(job_not_found)?;
        if job.status == JobStatus::Cancelled && job.ended == Some(now) {
            count(&hub.metrics.import_export_jobs, "cancelled");
            info!(job = job.id, "import or export job cancelled");
        }
        Ok(job.present())
    }
}

fn job_not_found() -> HubError {
    HubError::new(ErrorCode::JobNotFound, "There is no import or export job with this id.")
}

impl Hub {
    fn check_request(&self, request: &ImportExportRequest) -> Result<JobRequest, HubError> {
        let kind = request.kind.ok_or_else(|| {
            HubError::new(ErrorCode::ArgumentInvalid, "The member type must be import or export.")
        })?;
        if request.storage_authentication_type == Some(StorageAuthentication::IdentityBased) {
            return Err(HubError::new(
                ErrorCode::ManagedIdentityNotEnabled,
                "The hub has no managed identity. Use a container URI with a shared access signature.",
            ));
        }
        let present = |text: &Option<String>| text.clone().filter(|text| !text.trim().is_empty());
        let missing = |name: &str| {
            let text =
                format!("The member {name} is missing; it is the URI of a container with its signature.");
            HubError::new(ErrorCode::BlobContainerValidationError, text)
        };
        let input_container = match kind {
            JobType::Export => None,
            JobType::Import => Some(
                present(&request.input_blob_container_uri).ok_or_else(|| missing("inputBlobContainerUri"))?,
            ),
        };
        let output_container =
            present(&request.output_blob_container_uri).ok_or_else(|| missing("outputBlobContainerUri"))?;
        let request = JobRequest {
            kind,
            input_blob: present(&request.input_blob_name).unwrap_or_else(|| DEVICES_BLOB.to_owned()),
            output_blob: present(&request.output_blob_name).unwrap_or_else(|| DEVICES_BLOB.to_owned()),
            exclude_keys: request.exclude_keys_in_export.unwrap_or(false),
            include_configurations: request.include_configurations.unwrap_or(false),
            configurations_blob: present(&request.configurations_blob_name)
                .unwrap_or_else(|| CONFIGURATIONS_BLOB.to_owned()),
            input_container,
            output_container,
        };
        for name in [&request.input_blob, &request.output_blob, &request.configurations_blob] {
            check_blob_name(name)?;
        }
        if let Some(input) = &request.input_container {
            self.check_container(input, false)?;
        }
        self.check_container(&request.output_container, true)?;
        Ok(request)
    }
}
