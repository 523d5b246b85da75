//! The blob of configurations: one line each.
//!
//! A hub has few configurations, so an import that was cut begins with the first line again: a configuration that is already as its
//! line says stays as it is.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::{BufMut as _, Bytes, BytesMut};
use ferrohub_model::configuration::Configuration;
use ferrohub_model::{ErrorCode, HubError};
use serde::Deserialize;
use serde_json::json;
use tracing::info;

use super::container::ContainerLocation;
use super::failure::RunFailure;
use super::lines::{LineError, Lines};
use super::worker::RunContext;
use super::{CONFIGURATION_ERRORS_BLOB, JobProgress, JobRecord};
use crate::files::{BlobError, ByteStream};
use crate::hub::Hub;
use crate::metrics::counter;

/// The only import mode of configurations.
const IMPORT_MODE: &str = "createOrUpdateIfMatchETag";
/// Maximum number of lines, which is the greatest number of configurations that a hub may be set to have.
const MAX_LINES: u64 = 1000;

/// A line of an import.
#[derive(Deserialize)]
struct Imported {
    #[serde(rename = "importMode", default)]
    import_mode: Option<String>,
    #[serde(flatten)]
    configuration: Configuration,
}

impl Hub {
    /// Exports all configurations.
    pub(super) async fn export_configurations(
        &self,
        output: &ContainerLocation,
        blob: &str,
    ) -> Result<u64, RunFailure> {
        let all = self.exported_configurations();
        let count = all.len() as u64;
        let lines = all.iter().map(serde_json::to_vec).collect::<Result<Vec<_>, _>>();
        let lines = lines
            .map_err(|error| RunFailure::Failed(format!("A configuration cannot be written: {error}.")))?;
        put_lines(output, blob, lines).await?;
        Ok(count)
    }

    /// Imports the configurations of a blob, unless an earlier run of the job has done it.
    pub(super) async fn import_configurations(
        self: &Arc<Self>,
        input: &ContainerLocation,
        output: &ContainerLocation,
        blob: &str,
        mut progress: JobProgress,
        context: &RunContext,
    ) -> Result<(), RunFailure> {
        if progress.configurations {
            return Ok(());
        }
        let (mut done, mut errors) = (0, Vec::new());
        let mut lines = self.open_configurations(input, blob).await?;
        let mut number = 0;
        loop {
            self.keep_running(context).await?;
            let line = lines.next().await.map_err(|error| line_failed(blob, number + 1, error))?;
            let Some(line) = line else { break };
            number += 1;
            if number > MAX_LINES {
                return Err(RunFailure::Failed(format!("The blob {blob} has more than {MAX_LINES} lines.")));
            }
            let text = line.text.trim_ascii();
            if text.is_empty() {
                continue;
            }
            match self.import_line(text).await {
                Ok(()) => done += 1,
                Err((_, error)) if error.code == ErrorCode::ServerError => {
                    return Err(RunFailure::Storage(error.message.to_string()));
                }
                Err((id, error)) => errors.push(error_line(&id, &error)),
            }
        }
        let failed = errors.len() as u64;
        if failed > 0 {
            put_lines(output, CONFIGURATION_ERRORS_BLOB, errors).await?;
        }
        info!(job = context.run.job, done, failed, "configurations imported");
        counter(&self.metrics.import_export_items, "imported").inc_by(done);
        counter(&self.metrics.import_export_items, "failed").inc_by(failed);
        progress.configurations = true;
        progress.done += done;
        progress.failed += failed;
        let record = JobRecord { progress, ..JobRecord::default() };
        match self.store.record_run(&context.run, &record).await? {
            true => Ok(()),
            false => Err(RunFailure::Ended),
        }
    }

    async fn open_configurations(&self, input: &ContainerLocation, blob: &str) -> Result<Lines, RunFailure> {
        let limits = &self.limits.import_export;
        let open = input.open(blob, 0).await.map_err(|error| RunFailure::of_blob(blob, error))?;
        Ok(Lines::new(open.stream, 0, open.blob.bytes, limits.line_bytes, limits.idle_timeout))
    }

    /// Imports one configuration. Returns with an error also the id, as far as it is known.
    async fn import_line(&self, text: &[u8]) -> Result<(), (String, HubError)> {
        let invalid = |text: String| HubError::new(ErrorCode::IotHubFormatError, text);
        let Imported { import_mode, configuration } = serde_json::from_slice(text).map_err(|error| {
            (String::new(), invalid(format!("The line is not a configuration in JSON: {error}.")))
        })?;
        let id = configuration.id.clone();
        if let Some(mode) = import_mode.filter(|mode| !mode.eq_ignore_ascii_case(IMPORT_MODE)) {
            let text = format!("The import mode of a configuration must be {IMPORT_MODE}; it is {mode:?}.");
            return Err((id, invalid(text)));
        }
        self.import_configuration(configuration).await.map_err(|error| (id, error))
    }
}

fn line_failed(blob: &str, number: u64, error: LineError) -> RunFailure {
    match error {
        LineError::Read(error) => RunFailure::of_blob(blob, error),
        LineError::TooLong(limit) => {
            RunFailure::Failed(format!("The blob {blob}: line {number} is longer than {limit} bytes."))
        }
    }
}

fn error_line(id: &str, error: &HubError) -> Vec<u8> {
    let (code, message) = (error.code.number(), &error.message);
    json!({ "configurationId": id, "errorCode": code, "errorStatus": message }).to_string().into_bytes()
}

/// Writes a blob of lines.
async fn put_lines(output: &ContainerLocation, blob: &str, lines: Vec<Vec<u8>>) -> Result<(), RunFailure> {
    let mut stream = LineStream(lines.into_iter());
    output.put(blob, &mut stream).await.map_err(|error| RunFailure::of_blob(blob, error))
}

struct LineStream(std::vec::IntoIter<Vec<u8>>);

#[async_trait]
impl ByteStream for LineStream {
    async fn next(&mut self) -> Result<Option<Bytes>, BlobError> {
        Ok(self.0.next().map(|line| {
            let mut text = BytesMut::from(line.as_slice());
            text.put_u8(b'\n');
            text.freeze()
        }))
    }
}
