//! Imports identities from a blob.
//!
//! The blob is read line by line. A page of lines is applied in a few commits, each of which also records what it has done:
//! the byte before which all lines are done, and which items after it are. So a line is applied once, also if the hub is
//! killed.

use std::collections::HashSet;
use std::sync::Arc;

use ferrohub_model::bulk::BulkError;
use ferrohub_model::{ErrorCode, IdentityId};
use tracing::info;

use super::container::ContainerLocation;
use super::failure::RunFailure;
use super::lines::{Line, LineError, Lines};
use super::page::log_lines;
use super::worker::RunContext;
use super::{DeferredLine, ERRORS_BLOB, Job, JobProgress, JobRecord};
use crate::hub::Hub;
use crate::metrics::counter;
use crate::registry::{RegistryChange, Settled};

/// The maximum number of items in a page, which is also that of a bulk request. [`JobProgress::settled`] has room for it.
pub(super) const PAGE_ITEMS: usize = 100;
/// The maximum number of lines in a page, whether they are items or not.
const PAGE_LINES: usize = 1000;
/// The maximum size of a page in bytes, so that large twins do not make a large transaction.
const PAGE_BYTES: usize = 4 * 1024 * 1024;
/// A blob whose first lines, so many, contain no identity is not a blob of identities.
const MAX_LINES_WITHOUT_ITEM: u64 = 1000;

/// How often an import logs how far it is.
const LOGGED_PERCENT: u8 = 10;

/// What belongs together while an import runs.
pub(super) struct Import<'a> {
    pub(super) hub: &'a Arc<Hub>,
    pub(super) context: &'a RunContext,
    pub(super) blob: &'a str,
    pub(super) progress: JobProgress,
    /// The identities of deferred lines. Later lines of the same identity are deferred too, to keep their order.
    pub(super) deferred: HashSet<IdentityId>,
}

/// Consecutive lines, and what they say.
struct Page {
    /// The number of its lines, and the offset of the byte after them.
    lines: u64,
    end: u64,
    /// What each line is that is an item, with the number and text of the line.
    items: Vec<(u64, Line, Result<RegistryChange, BulkError>)>,
}

impl Hub {
    pub(super) async fn run_import(
        self: &Arc<Self>,
        job: Job,
        context: &RunContext,
    ) -> Result<(), RunFailure> {
        let Job { id, request, progress, .. } = job;
        let location = |url: &str| {
            self.container(url)
                .map_err(|error| RunFailure::Failed(format!("The container cannot be used: {error}.")))
        };
        let Some(input) = &request.input_container else {
            return Err(RunFailure::Failed("The job has no container to read.".to_owned()));
        };
        let (input, output) = (location(input)?, location(&request.output_container)?);
        let (before_done, before_failed) = (progress.done, progress.failed);
        let deferred = HashSet::new();
        let mut import = Import { hub: self, context, blob: &request.input_blob, progress, deferred };
        let imported = import.run(&input, &id).await;
        let progress = &import.progress;
        counter(&self.metrics.import_export_items, "imported").inc_by(progress.done - before_done);
        counter(&self.metrics.import_export_items, "failed").inc_by(progress.failed - before_failed);
        imported?;
        let progress = import.progress;
        self.write_errors(&id, &output, progress.logged).await?;
        if request.include_configurations {
            let blob = &request.configurations_blob;
            self.import_configurations(&input, &output, blob, progress, context).await?;
        }
        Ok(())
    }

    /// Writes the log of errors, if there are any.
    async fn write_errors(&self, id: &str, output: &ContainerLocation, lines: u64) -> Result<(), RunFailure> {
        if lines == 0 {
            return Ok(());
        }
        let mut stream = super::export::ErrorLog::new(self.store.clone(), id.to_owned());
        output.put(ERRORS_BLOB, &mut stream).await.map_err(|error| RunFailure::of_blob(ERRORS_BLOB, error))
    }
}

impl Import<'_> {
    async fn run(&mut self, input: &ContainerLocation, job: &str) -> Result<(), RunFailure> {
        self.load_deferred(job).await?;
        let mut lines = self.open(input).await?;
        let mut held = None;
        loop {
            self.hub.keep_running(self.context).await?;
            let page = self.read_page(&mut lines, &mut held).await?;
            if page.lines == 0 {
                break;
            }
            self.apply_page(page).await?;
        }
        if self.progress.items == 0 && self.progress.lines > 0 {
            return Err(self.no_items());
        }
        self.resolve_deferred(job).await
    }

    async fn open(&mut self, input: &ContainerLocation) -> Result<Lines, RunFailure> {
        let limits = &self.hub.limits.import_export;
        let failed = |error| RunFailure::of_blob(self.blob, error);
        let open = input.open(self.blob, self.progress.offset).await.map_err(failed)?;
        if open.blob.bytes > limits.blob_bytes {
            return Err(RunFailure::Failed(format!(
                "The blob {} has {} bytes; at most {} can be imported. Split it.",
                self.blob, open.blob.bytes, limits.blob_bytes
            )));
        }
        match &self.progress.etag {
            Some(etag) if *etag != open.blob.etag => {
                return Err(RunFailure::Failed(format!(
                    "The blob {} was changed while it was imported. Create a new job.",
                    self.blob
                )));
            }
            _ => self.progress.etag = Some(open.blob.etag),
        }
        self.progress.bytes = open.blob.bytes;
        Ok(Lines::new(
            open.stream,
            self.progress.offset,
            open.blob.bytes,
            limits.line_bytes,
            limits.idle_timeout,
        ))
    }

    /// Reads the next page. `held` is a line that was read and does not belong to the page before.
    async fn read_page(&self, lines: &mut Lines, held: &mut Option<Line>) -> Result<Page, RunFailure> {
        let mut page = Page { lines: 0, end: self.progress.offset, items: Vec::new() };
        let (mut ids, mut bytes) = (HashSet::new(), 0);
        while page.items.len() < PAGE_ITEMS && (page.lines as usize) < PAGE_LINES && bytes < PAGE_BYTES {
            let next = match held.take() {
                Some(line) => Some(line),
                None => lines.next().await.map_err(|error| self.line_failed(error, page.lines))?,
            };
            let Some(line) = next else { break };
            if let Some(item) = parse_line(&line.text, page.items.len()) {
                // Two items of one identity are done one after the other.
                if let Ok(item) = &item
                    && !ids.insert(item.id.clone())
                {
                    *held = Some(line);
                    break;
                }
                bytes += line.text.len();
                page.items.push((self.progress.lines + page.lines + 1, line.clone(), item));
            }
            page.lines += 1;
            page.end = line.end;
        }
        Ok(page)
    }

    fn line_failed(&self, error: LineError, lines: u64) -> RunFailure {
        match error {
            LineError::Read(error) => RunFailure::of_blob(self.blob, error),
            LineError::TooLong(limit) => RunFailure::Failed(format!(
                "The blob {}: line {} is longer than {limit} bytes. Each line must be one identity in JSON.",
                self.blob,
                self.progress.lines + lines + 1
            )),
        }
    }

    fn no_items(&self) -> RunFailure {
        RunFailure::Failed(format!(
            "The blob {} has no identities: none of its first {} lines is a JSON object. Each line must be one identity in JSON.",
            self.blob, self.progress.lines
        ))
    }

    async fn apply_page(&mut self, page: Page) -> Result<(), RunFailure> {
        let (mut devices, mut modules) = (Vec::new(), Vec::new());
        let (mut invalid, mut record) = (Settled::default(), JobRecord::default());
        let valid = page.items.iter().filter(|(_, _, item)| item.is_ok()).count() as u64;
        for (number, (line_number, line, item)) in page.items.into_iter().enumerate() {
            match item {
                Err(error) => invalid.push_failed(number, error),
                Ok(_) if self.progress.is_settled(number) => {}
                Ok(item) if item.id.module_str().is_some() => modules.push((line_number, line, item)),
                Ok(item) => devices.push((line_number, line, item)),
            }
        }
        for items in [devices, modules] {
            let (ready, waiting) = self.separate(items).await?;
            let limits = &self.hub.limits.import_export;
            if self.progress.deferred + (record.deferred.len() + waiting.len()) as u64 > limits.deferred_lines
            {
                return Err(RunFailure::Failed(format!(
                    "The blob {} has more than {} identities before the devices that they belong to. Move edge devices to its beginning.",
                    self.blob, limits.deferred_lines
                )));
            }
            for (line, id) in waiting {
                record.deferred.push(line);
                self.deferred.insert(id);
            }
            let failed = self.apply(ready, None).await?;
            invalid.numbers.extend(failed.numbers);
            invalid.errors.extend(failed.errors);
        }
        let progress = &mut self.progress;
        progress.lines += page.lines;
        progress.items += valid;
        progress.offset = page.end;
        progress.settled = [0; 2];
        self.finish_page(&invalid, record).await
    }

    /// Separates items that can be applied now from those that wait for others.
    async fn separate(
        &self,
        items: Vec<(u64, Line, RegistryChange)>,
    ) -> Result<(Vec<RegistryChange>, Vec<(DeferredLine, IdentityId)>), RunFailure> {
        let (mut ready, mut waiting) = (Vec::new(), Vec::new());
        for (number, line, mut item) in items {
            let is_ready =
                !self.deferred.contains(&item.id) && self.hub.resolve_dependencies(&mut item).await?;
            if is_ready {
                ready.push(item);
            } else {
                let text = String::from_utf8_lossy(&line.text).into_owned();
                waiting.push((DeferredLine { number, text }, item.id));
            }
        }
        Ok((ready, waiting))
    }

    /// Applies items. Returns those that failed and are not recorded yet.
    pub(super) async fn apply(
        &mut self,
        items: Vec<RegistryChange>,
        deferred: Option<Vec<u64>>,
    ) -> Result<Settled, RunFailure> {
        let hub = self.hub;
        hub.apply_for_job(items, &self.context.run, &mut self.progress, deferred).await
    }

    /// Records that all lines of a page are done or deferred.
    async fn finish_page(&mut self, invalid: &Settled, mut record: JobRecord) -> Result<(), RunFailure> {
        let progress = &mut self.progress;
        progress.failed += invalid.errors.len() as u64;
        progress.deferred += record.deferred.len() as u64;
        record.errors = log_lines(progress, self.hub.limits.import_export.errors, &invalid.errors);
        // One percent is left for what was deferred.
        let percent = progress.offset.saturating_mul(99) / progress.bytes.max(1);
        let percent = u8::try_from(percent).unwrap_or(99);
        if percent / LOGGED_PERCENT > progress.percent / LOGGED_PERCENT {
            let JobProgress { done, failed, .. } = *progress;
            info!(job = self.context.run.job, percent, done, failed, "import goes on");
        }
        progress.percent = percent;
        record.progress = progress.clone();
        if progress.items == 0 && progress.lines >= MAX_LINES_WITHOUT_ITEM {
            return Err(self.no_items());
        }
        match self.hub.store.record_run(&self.context.run, &record).await? {
            true => Ok(()),
            false => Err(RunFailure::Ended),
        }
    }
}

/// Returns what a line says. `None` for a line that is no JSON object, such as an empty line or a comment. `number` is that of
/// the item in its page.
pub(super) fn parse_line(text: &[u8], number: usize) -> Option<Result<RegistryChange, BulkError>> {
    const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text).trim_ascii();
    if text.first() != Some(&b'{') {
        return None;
    }
    Some(match serde_json::from_slice(text) {
        Ok(json) => RegistryChange::parse(number, json),
        Err(error) => Err(BulkError {
            device_id: String::new(),
            module_id: None,
            error_code: ErrorCode::IotHubFormatError.name().to_owned(),
            error_status: format!("The line is not valid JSON: {error}."),
            operation: None,
        }),
    })
}
