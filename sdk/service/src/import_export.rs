//! Jobs that import and export devices and modules.

mod container;

pub use container::BlobContainer;

use std::time::Duration;

use ferrohub_model::percent;
use http::Method;

use crate::{Error, ErrorKind, ImportExportJob, ImportExportRequest, JobStatus, ServiceClient};

/// How often [`RunningJob::wait`] asks for the state of a job.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// An import or export job that was created; from [`ServiceClient::create_import_export_job`]. Dropping it does not end the
/// job.
#[derive(Debug, Clone)]
pub struct RunningJob {
    client: ServiceClient,
    job: ImportExportJob,
}

impl RunningJob {
    /// Returns the id of the job.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.job.job_id
    }

    /// Returns the job as it was when it was last read.
    #[must_use]
    pub fn job(&self) -> &ImportExportJob {
        &self.job
    }

    /// Reads the state of the job.
    ///
    /// # Errors
    /// Those of any request.
    pub async fn refresh(&mut self) -> Result<&ImportExportJob, Error> {
        self.job = self.client.get_import_export_job(&self.job.job_id).await?;
        Ok(&self.job)
    }

    /// Waits until the job has ended. `on_progress` is called each time its state is read.
    ///
    /// # Errors
    /// [`ErrorKind::BadRequest`] if the job failed or was cancelled, with the reason; and those of any request. A completed
    /// job may have failed for single lines: [`ImportExportJob::items_failed`] counts them.
    pub async fn wait(
        mut self,
        mut on_progress: impl FnMut(&ImportExportJob),
    ) -> Result<ImportExportJob, Error> {
        loop {
            let job = self.refresh().await?;
            on_progress(job);
            match job.status {
                JobStatus::Completed => return Ok(self.job),
                JobStatus::Failed => {
                    let reason = job.failure_reason.as_deref().unwrap_or("the hub gives no reason");
                    return Err(Error::new(ErrorKind::BadRequest, format!("the job failed: {reason}")));
                }
                JobStatus::Cancelled => {
                    return Err(Error::new(ErrorKind::BadRequest, "the job was cancelled"));
                }
                JobStatus::Enqueued | JobStatus::Running => tokio::time::sleep(POLL_INTERVAL).await,
            }
        }
    }

    /// Cancels the job. What it has imported stays.
    ///
    /// # Errors
    /// Those of any request.
    pub async fn cancel(self) -> Result<ImportExportJob, Error> {
        self.client.cancel_import_export_job(&self.job.job_id).await
    }
}

impl ServiceClient {
    /// Begins to import devices and modules from a blob, or to export them to one. The containers are those of Azure Storage,
    /// with a shared access signature, or the [container](ServiceClient::create_container_url) of a Ferrohub.
    ///
    /// ```no_run
    /// # async fn run(client: ferrohub_service::ServiceClient) -> Result<(), ferrohub_service::Error> {
    /// use ferrohub_service::ImportExportRequest;
    /// let container = client.create_container_url(None).await?;
    /// let job = client.create_import_export_job(&ImportExportRequest::export(container.url())).await?;
    /// let job = job.wait(|job| println!("{} %", job.progress)).await?;
    /// println!("exported {} devices and modules", job.items_done);
    /// let mut lines = container.open_blob(&job.output_blob_name).await?;
    /// while let Some(bytes) = lines.next().await {
    ///     println!("{} bytes", bytes?.len());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::QuotaExceeded`] if another job runs; [`ErrorKind::BadRequest`] if a container cannot be used; and those of any
    /// request.
    pub async fn create_import_export_job(&self, request: &ImportExportRequest) -> Result<RunningJob, Error> {
        let job = self.request(Method::POST, "/jobs/create", "").json(request)?.send_json().await?;
        Ok(RunningJob { client: self.clone(), job })
    }

    /// Returns the import and export jobs, newest first.
    ///
    /// # Errors
    /// Those of any request.
    pub async fn list_import_export_jobs(&self) -> Result<Vec<ImportExportJob>, Error> {
        self.request(Method::GET, "/jobs", "").send_json().await
    }

    /// Returns an import or export job.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; and those of any request.
    pub async fn get_import_export_job(&self, id: &str) -> Result<ImportExportJob, Error> {
        self.request(Method::GET, &job_path(id)?, "").send_json().await
    }

    /// Cancels an import or export job. What it has imported stays. A job that has ended stays as it is.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; and those of any request.
    pub async fn cancel_import_export_job(&self, id: &str) -> Result<ImportExportJob, Error> {
        self.request(Method::DELETE, &job_path(id)?, "").send_json().await
    }
}

fn job_path(id: &str) -> Result<String, Error> {
    match id {
        "" | "." | ".." => Err(Error::invalid_input(format!("invalid id of a job: {id:?}"))),
        id => Ok(format!("/jobs/{}", percent::encode(id))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_named_by_a_path() {
        assert_eq!(job_path("a b/c").unwrap(), "/jobs/a%20b%2Fc");
        for invalid in ["", ".", ".."] {
            assert_eq!(job_path(invalid).unwrap_err().kind(), ErrorKind::InvalidInput);
        }
    }
}
