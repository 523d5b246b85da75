//! Exports all identities to a blob, then the configurations if they are wanted, and the log of errors of an import: streams of lines that are read from the store as they
//! are written.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::{BufMut as _, Bytes, BytesMut};
use ferrohub_model::IdentityId;
use ferrohub_model::bulk::{ItemProperties, RegistryItem};
use ferrohub_model::device::{Capabilities, SymmetricKeyPair};

use super::failure::RunFailure;
use super::worker::RunContext;
use super::{ContainerError, Job, JobProgress, JobRecord};
use crate::files::{BlobError, ByteStream};
use crate::hub::Hub;
use crate::metrics::counter;
use crate::registry::{Identity, export_authentication};
use crate::store::Store;
use crate::twins::TwinDocument;

/// The number of identities that are read at a time.
const PAGE: usize = 500;
/// The number of errors that are read at a time.
const ERROR_PAGE: usize = 1000;

impl Hub {
    pub(super) async fn run_export(
        self: &Arc<Self>,
        job: Job,
        context: &RunContext,
    ) -> Result<(), RunFailure> {
        let request = &job.request;
        let output = self
            .container(&request.output_container)
            .map_err(|error| RunFailure::Failed(format!("The container cannot be used: {error}.")))?;
        let devices = self.store.device_counts().await?.total;
        let mut stream = Export {
            hub: self,
            context,
            exclude_keys: request.exclude_keys,
            last: None,
            devices: 0,
            all_devices: devices,
            progress: JobProgress::default(),
            failure: None,
        };
        let written = output.put(&request.output_blob, &mut stream).await;
        counter(&self.metrics.import_export_items, "exported").inc_by(stream.progress.done);
        if let Some(failure) = stream.failure {
            return Err(failure);
        }
        let mut progress = stream.progress;
        written.map_err(|error: ContainerError| RunFailure::of_blob(&request.output_blob, error))?;
        if request.include_configurations {
            progress.done += self.export_configurations(&output, &request.configurations_blob).await?;
            let record = JobRecord { progress, ..JobRecord::default() };
            if !self.store.record_run(&context.run, &record).await? {
                return Err(RunFailure::Ended);
            }
        }
        Ok(())
    }
}

/// All identities, one line each.
struct Export<'a> {
    hub: &'a Arc<Hub>,
    context: &'a RunContext,
    exclude_keys: bool,
    last: Option<IdentityId>,
    devices: u64,
    all_devices: u64,
    progress: JobProgress,
    /// Why the stream ended with an error.
    failure: Option<RunFailure>,
}

impl Export<'_> {
    async fn next_page(&mut self) -> Result<Option<Bytes>, RunFailure> {
        let store = &self.hub.store;
        self.hub.keep_running(self.context).await?;
        let page = store.identities_with_twins(self.last.as_ref(), PAGE).await?;
        let Some((last, _)) = page.last() else { return Ok(None) };
        self.last = Some(last.id.clone());
        let mut text = BytesMut::new();
        for (identity, twin) in &page {
            self.devices += u64::from(identity.id.module_str().is_none());
            let line = serde_json::to_vec(&exported(identity, twin, self.exclude_keys))
                .map_err(|error| RunFailure::Failed(format!("An identity cannot be written: {error}.")))?;
            text.extend_from_slice(&line);
            text.put_u8(b'\n');
        }
        self.progress.done += page.len() as u64;
        let percent = self.devices.saturating_mul(99) / self.all_devices.max(1);
        self.progress.percent = u8::try_from(percent).unwrap_or(99).min(99);
        let record = JobRecord { progress: self.progress.clone(), ..JobRecord::default() };
        match store.record_run(&self.context.run, &record).await? {
            true => Ok(Some(text.freeze())),
            false => Err(RunFailure::Ended),
        }
    }
}

#[async_trait]
impl ByteStream for Export<'_> {
    async fn next(&mut self) -> Result<Option<Bytes>, BlobError> {
        match self.next_page().await {
            Ok(page) => Ok(page),
            Err(failure) => {
                self.failure = Some(failure);
                Err(BlobError::IncompleteBody("the export ended"))
            }
        }
    }
}

/// Returns the line of an identity.
fn exported(identity: &Identity, twin: &TwinDocument, exclude_keys: bool) -> RegistryItem {
    let mut authentication = export_authentication(identity);
    if exclude_keys {
        authentication.symmetric_key = Some(SymmetricKeyPair::default());
    }
    let is_device = identity.id.module_str().is_none();
    RegistryItem {
        id: identity.id.device_str().to_owned(),
        module_id: identity.id.module_str().map(str::to_owned),
        etag: Some(identity.etag.clone()),
        import_mode: None,
        status: Some(identity.status),
        status_reason: identity.status_reason.clone(),
        authentication: Some(authentication),
        twin_etag: Some(twin.etag()),
        tags: Some(twin.tags.clone()),
        properties: Some(ItemProperties {
            desired: Some(twin.desired.values.clone()),
            reported: Some(twin.reported.values.clone()),
        }),
        capabilities: is_device.then_some(Capabilities { iot_edge: identity.iot_edge }),
        device_scope: identity.device_scope.clone(),
        parent_scopes: is_device.then(|| identity.parent_scopes.clone()),
        managed_by: identity.managed_by.clone(),
    }
}

/// The log of errors of an import.
pub(super) struct ErrorLog {
    store: Arc<dyn Store>,
    job: String,
    skip: u64,
}

impl ErrorLog {
    pub(super) fn new(store: Arc<dyn Store>, job: String) -> Self {
        Self { store, job, skip: 0 }
    }
}

#[async_trait]
impl ByteStream for ErrorLog {
    async fn next(&mut self) -> Result<Option<Bytes>, BlobError> {
        let lines = self.store.import_export_errors(&self.job, self.skip, ERROR_PAGE).await?;
        if lines.is_empty() {
            return Ok(None);
        }
        self.skip += lines.len() as u64;
        let mut text = lines.join("\n");
        text.push('\n');
        Ok(Some(text.into()))
    }
}
