//! Limits of import and export jobs.

use std::time::Duration;

/// Limits of import and export jobs.
#[derive(Debug, Clone)]
pub struct ImportExportLimits {
    /// Maximum number of jobs that wait or run. They run one after the other.
    pub active_jobs: u32,
    /// How long a job is kept after its end.
    pub retention: Duration,
    /// Maximum size of a blob to import, in bytes.
    pub blob_bytes: u64,
    /// Maximum size of a line, in bytes.
    pub line_bytes: usize,
    /// Maximum number of errors that an import writes to its log. It counts the others.
    pub errors: u64,
    /// Maximum number of lines that wait for the edge device or device they belong to, which comes later in the blob.
    pub deferred_lines: u64,
    /// Maximum duration of a job.
    pub duration: Duration,
    /// How long storage may take to accept or send the next bytes.
    pub idle_timeout: Duration,
}

impl Default for ImportExportLimits {
    fn default() -> Self {
        Self {
            active_jobs: 1,
            retention: Duration::from_secs(30 * 24 * 3600),
            blob_bytes: 4 * 1024 * 1024 * 1024,
            line_bytes: 1024 * 1024,
            errors: 100_000,
            deferred_lines: 1_000_000,
            duration: Duration::from_secs(24 * 3600),
            idle_timeout: Duration::from_secs(60),
        }
    }
}
