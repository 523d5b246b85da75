//! The fixtures: one database file per migration number, which later versions must open.
//!
//! A fixture of version `n` is made by the first `n` migrations. After each of them, the file of the same name in
//! `fixtures/rows` adds rows, so every table has some when the next migration runs.

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::functions;

/// The command that makes missing fixtures.
const MAKE: &str = "cargo test -p ferrohub-store --test schema_versions -- --ignored make_missing_fixtures";

/// One of the two databases of a data folder.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    /// The file name in a data folder.
    pub(crate) file_name: &'static str,
    application_id: u32,
    /// The folder of its migrations below `src/migrations`, and of its rows below `fixtures/rows`.
    folder: &'static str,
}

pub(crate) const HUB: Kind =
    Kind { file_name: "hub.db", application_id: u32::from_be_bytes(*b"FHub"), folder: "" };
pub(crate) const EVENTS: Kind =
    Kind { file_name: "events.db", application_id: u32::from_be_bytes(*b"FHev"), folder: "events" };
pub(crate) const KINDS: [Kind; 2] = [HUB, EVENTS];

impl Kind {
    /// The files of the migrations in order.
    fn migrations(self) -> Vec<PathBuf> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/migrations").join(self.folder);
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<PathBuf> =
            entries.filter(|path| path.extension().is_some_and(|extension| extension == "sql")).collect();
        files.sort();
        files
    }

    /// The schema versions, from 1 to the newest.
    pub(crate) fn versions(self) -> std::ops::RangeInclusive<usize> {
        1..=self.migrations().len()
    }

    /// The committed file of a version.
    pub(crate) fn fixture(self, version: usize) -> PathBuf {
        let stem = self.file_name.trim_end_matches(".db");
        fixtures().join(format!("{stem}-{version:04}.db"))
    }

    /// Returns a sentence for each version without a fixture.
    pub(crate) fn missing(self) -> Vec<String> {
        let versions = self.versions().filter(|version| !self.fixture(*version).exists());
        let sentence = |version| {
            let (fixture, rows) = (self.fixture(version), self.rows(&self.migrations()[version - 1]));
            format!(
                "{} has no fixture of schema version {version} ({}). Write {} with rows for the new tables and \
                 columns, run `{MAKE}`, and commit both files",
                self.file_name,
                fixture.display(),
                rows.display()
            )
        };
        versions.map(sentence).collect()
    }

    fn rows(self, migration: &Path) -> PathBuf {
        fixtures().join("rows").join(self.folder).join(migration.file_name().unwrap())
    }

    /// Runs the migrations up to `version`. Each one is followed by its rows if `with_rows`.
    fn migrate(self, db: &Connection, version: usize, with_rows: bool) {
        let read = |file: &Path| {
            fs::read_to_string(file).unwrap_or_else(|error| panic!("cannot read {}: {error}", file.display()))
        };
        functions::register(db).unwrap();
        for migration in &self.migrations()[..version] {
            db.execute_batch(&read(migration)).unwrap();
            if with_rows {
                let rows = self.rows(migration);
                db.execute_batch(&read(&rows)).unwrap_or_else(|error| panic!("{}: {error}", rows.display()));
            }
        }
    }

    /// Makes the fixture of a version.
    pub(crate) fn make(self, version: usize) {
        // A fixture that failed half-way must not stay.
        let unfinished = self.fixture(version).with_extension("unfinished");
        let _ = fs::remove_file(&unfinished);
        let db = Connection::open(&unfinished).unwrap();
        // Small pages make a small file. The hub itself uses SQLite's default.
        db.execute_batch("PRAGMA page_size = 512; PRAGMA journal_mode = WAL; PRAGMA foreign_keys = ON")
            .unwrap();
        self.migrate(&db, version, true);
        db.pragma_update(None, "application_id", self.application_id).unwrap();
        db.pragma_update(None, "user_version", version as i64).unwrap();
        db.close().unwrap();
        fs::rename(unfinished, self.fixture(version)).unwrap();
    }

    /// The schema that the migrations up to `version` make.
    pub(crate) fn schema_of(self, version: usize) -> Vec<String> {
        let db = Connection::open_in_memory().unwrap();
        self.migrate(&db, version, false);
        schema(&db)
    }
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// The statements that made the tables, indices and triggers of a database.
pub(crate) fn schema(db: &Connection) -> Vec<String> {
    texts(db, "SELECT coalesce(sql, name) FROM sqlite_schema ORDER BY type, name")
}

/// The tables of a database.
pub(crate) fn tables(db: &Connection) -> Vec<String> {
    texts(
        db,
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name",
    )
}

/// The number of rows of a table.
pub(crate) fn row_count(db: &Connection, table: &str) -> i64 {
    db.query_row(&format!("SELECT count(*) FROM \"{table}\""), [], |row| row.get(0)).unwrap()
}

fn texts(db: &Connection, query: &str) -> Vec<String> {
    let mut select = db.prepare(query).unwrap();
    let rows = select.query_map([], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}
