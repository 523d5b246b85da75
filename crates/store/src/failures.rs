//! Failures of a database: SQLite's errors as sentences that name the file, the condition and the remedy.

use std::any::Any;
use std::path::{Path, PathBuf};

use ferrohub_core::metrics::{Outcomes, count};
use ferrohub_core::panics::panic_message;
use ferrohub_core::store::StoreError;
use rusqlite::{Error, ErrorCode, ffi};

/// Converts and counts the failures of one database.
#[derive(Debug, Clone)]
pub(crate) struct Failures {
    file: PathBuf,
    metric: Outcomes,
}

/// The condition behind an SQLite error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    DiskFull,
    ReadOnly,
    NotAccessible,
    Corrupt,
    NotADatabase,
    Io,
    Locked,
    Other,
}

/// A failure that several callers may share.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) condition: Condition,
    pub(crate) text: String,
}

impl Failures {
    pub(crate) fn new(file: PathBuf, metric: Outcomes) -> Self {
        Self { file, metric }
    }

    /// Counts an error of SQLite and describes it.
    pub(crate) fn record(&self, error: &Error) -> Failure {
        let condition = Condition::of(error);
        count(&self.metric, condition.label());
        Failure { condition, text: describe(error, &self.file) }
    }

    /// Converts an SQLite error to the error of a call.
    pub(crate) fn store_error(&self, error: Error) -> StoreError {
        match error {
            Error::FromSqlConversionFailure(..)
            | Error::IntegralValueOutOfRange(..)
            | Error::InvalidColumnType(..)
            | Error::Utf8Error(..) => {
                count(&self.metric, "unreadable_value");
                StoreError::Corrupt(error.to_string())
            }
            other => self.record(&other).into(),
        }
    }

    /// Converts a panic of an operation to the error of its call. The panic hook has logged the location.
    pub(crate) fn panicked(&self, panic: &(dyn Any + Send)) -> StoreError {
        count(&self.metric, "panicked");
        let message = panic_message(panic);
        StoreError::Failed(
            format!("it panicked ({message}); this is a bug, and its changes are undone").into(),
        )
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure.condition {
            Condition::DiskFull => Self::DiskFull(failure.text),
            _ => Self::Failed(failure.text.into()),
        }
    }
}

impl Condition {
    pub(crate) fn of(error: &Error) -> Self {
        let Some(code) = error.sqlite_error() else { return Self::Other };
        match code.code {
            ErrorCode::DiskFull => Self::DiskFull,
            // The file of the WAL index cannot grow.
            ErrorCode::SystemIoFailure if code.extended_code == ffi::SQLITE_IOERR_SHMSIZE => Self::DiskFull,
            ErrorCode::ReadOnly => Self::ReadOnly,
            ErrorCode::CannotOpen | ErrorCode::PermissionDenied => Self::NotAccessible,
            ErrorCode::DatabaseCorrupt => Self::Corrupt,
            ErrorCode::NotADatabase => Self::NotADatabase,
            ErrorCode::SystemIoFailure => Self::Io,
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Self::Locked,
            _ => Self::Other,
        }
    }

    /// Returns the value of the metric's label.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::DiskFull => "disk_full",
            Self::ReadOnly => "read_only",
            Self::NotAccessible => "not_accessible",
            Self::Corrupt => "corrupt",
            Self::NotADatabase => "not_a_database",
            Self::Io => "io_error",
            Self::Locked => "locked",
            Self::Other => "other",
        }
    }
}

/// Returns a sentence that names the file, the condition and the remedy.
pub(crate) fn describe(error: &Error, file: &Path) -> String {
    let name = file.display();
    let folder = file.parent().unwrap_or(file).display();
    let sentence = match Condition::of(error) {
        Condition::DiskFull => format!(
            "cannot write {name}: the disk is full; free space on the file system of {folder}, and the hub continues"
        ),
        Condition::ReadOnly => format!(
            "cannot write {name}: the file or its file system is read-only; make both writable for the hub's user"
        ),
        Condition::NotAccessible => format!(
            "cannot open {name} or a file beside it; check that {folder} exists and that the hub's user may read and \
             write it"
        ),
        Condition::Corrupt => format!(
            "{name} is corrupt; stop the hub, keep a copy of {folder}, and restore the whole folder from a backup"
        ),
        Condition::NotADatabase => format!(
            "{name} is not an SQLite database; move it to another folder and restore the file from a backup"
        ),
        Condition::Io => format!(
            "cannot read or write {name}: the operating system reports an I/O error ({error}); check the disk, its \
             quotas, and the hub's limit of file sizes (ulimit -f)"
        ),
        Condition::Locked => {
            format!("cannot write {name}: another process has locked it; end that process, such as a backup")
        }
        Condition::Other => return error.to_string(),
    };
    match error.sqlite_error() {
        Some(code) => format!("{sentence} (SQLite error {})", code.extended_code),
        None => sentence,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sqlite(code: i32) -> Error {
        Error::SqliteFailure(ffi::Error::new(code), Some("disk I/O error".to_owned()))
    }

    #[test]
    fn conditions_are_sentences_with_file_and_remedy() {
        for (code, start, end) in [
            (
                13,
                "cannot write /d/hub.db: the disk is full; free space on the file system of /d",
                "(SQLite error 13)",
            ),
            (4874, "cannot write /d/hub.db: the disk is full", "(SQLite error 4874)"),
            (8, "cannot write /d/hub.db: the file or its file system is read-only", "(SQLite error 8)"),
            (14, "cannot open /d/hub.db or a file beside it", "(SQLite error 14)"),
            (11, "/d/hub.db is corrupt", "(SQLite error 11)"),
            (26, "/d/hub.db is not an SQLite database", "(SQLite error 26)"),
            (
                778,
                "cannot read or write /d/hub.db: the operating system reports an I/O error",
                "(SQLite error 778)",
            ),
            (5, "cannot write /d/hub.db: another process has locked it", "(SQLite error 5)"),
        ] {
            let text = describe(&sqlite(code), Path::new("/d/hub.db"));
            assert!(text.starts_with(start) && text.ends_with(end), "{text}");
        }
    }

    #[test]
    fn a_full_disk_has_an_error_of_its_own_and_failures_are_counted() {
        let failures = Failures::new("/d/hub.db".into(), Outcomes::default());
        assert!(matches!(failures.store_error(sqlite(13)), StoreError::DiskFull(_)));
        assert!(matches!(failures.store_error(sqlite(778)), StoreError::Failed(_)));
        for label in ["disk_full", "io_error"] {
            assert_eq!(ferrohub_core::metrics::counter(&failures.metric, label).get(), 1, "{label}");
        }
    }
}
