//! What a restored data folder has that the folder it replaces had revoked or deleted since, and what it has lost.

use std::path::Path;

use rusqlite::{Connection, params};
use serde::Serialize;

use super::error::BackupError;
use crate::database::{Database, EVENTS_DATABASE, HUB_DATABASE};
use crate::{OpenError, instance, schema};

/// The names that are kept of each kind.
const MAX_NAMED: usize = 20;

/// Things of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Found {
    /// How many there are.
    pub count: u64,
    /// The names of the first of them.
    pub names: Vec<String>,
}

/// The differences between a restored data folder and the one that it replaces.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Comparison {
    /// Devices and modules that were deleted since, and can connect again.
    pub deleted_identities: Found,
    /// Devices and modules whose keys, certificates or kind of authentication were changed since. The old ones are valid
    /// again, and the new ones are not.
    pub changed_credentials: Found,
    /// Devices and modules that were disabled since, and are enabled again.
    pub disabled_identities: Found,
    /// Devices and modules that were deleted and created again since.
    pub recreated_identities: Found,
    /// Shared access policies that were deleted since, and are valid again.
    pub deleted_policies: Found,
    /// Shared access policies whose keys were changed since. The old ones are valid again, and the new ones are not.
    pub changed_policy_keys: Found,
    /// Shared access policies whose rights were changed since.
    pub changed_policy_rights: Found,
    /// Certificate authorities that were removed or replaced since, and are trusted again.
    pub removed_authorities: Found,
    /// Configurations that were deleted or changed since.
    pub changed_configurations: Found,
    /// Jobs that have ended since, and go on again.
    pub ended_jobs: Found,
    /// Files that were deleted or replaced since.
    pub deleted_files: Found,
    /// Cloud-to-device messages that were settled since, and are delivered again.
    pub settled_messages: u64,
    /// Devices and modules that were created since, and are lost.
    pub lost_identities: Found,
    /// Shared access policies that were created since, and are lost.
    pub lost_policies: Found,
    /// Certificate authorities that were added since, and are lost.
    pub lost_authorities: Found,
    /// Files that were stored since, and are lost.
    pub lost_files: Found,
    /// Cloud-to-device messages that were sent since, and are lost.
    pub lost_messages: u64,
    /// Events that were appended since, and are lost.
    pub lost_events: u64,
}

/// Compares a restored folder with the folder that it replaces, on which a hub may run. Neither is changed.
///
/// # Errors
/// [`OpenError`] if one of them cannot be read; [`BackupError::OtherHub`].
pub fn compare(restored: &Path, old: &Path) -> Result<Comparison, BackupError> {
    check_same_hub(restored, old)?;
    let of_hub = Both::open(old, &Database::new(restored, &HUB_DATABASE))?;
    let mut found =
        of_hub.compare().map_err(|source| Database::new(old, &HUB_DATABASE).open_error(source))?;
    if !Database::new(old, &EVENTS_DATABASE).is_empty() {
        let database = Database::new(restored, &EVENTS_DATABASE);
        let of_events = Both::open(old, &database)?;
        found.lost_events = of_events.lost_events().map_err(|source| database.open_error(source))?;
    }
    Ok(found)
}

/// Checks that the old folder has a database that this version can read, of the same hub.
fn check_same_hub(restored: &Path, old: &Path) -> Result<(), BackupError> {
    let id = |folder: &Path| -> Result<Option<String>, OpenError> {
        let database = Database::new(folder, &HUB_DATABASE);
        if database.is_empty() {
            return Err(OpenError::NotInitialized { folder: folder.to_path_buf() });
        }
        let db = database.open_reader()?;
        schema::check(&db, &database)?;
        instance::read(&db).map_err(|source| database.open_error(source))
    };
    match (id(restored)?, id(old)?) {
        // Before version 6 of the schema, there was none.
        (Some(restored), Some(old_id)) if restored != old_id => {
            Err(BackupError::OtherHub { folder: old.to_path_buf() })
        }
        _ => Ok(()),
    }
}

/// A restored database, with the old one attached as `old`. Both are read-only.
struct Both(Connection);

impl Both {
    fn open(old: &Path, database: &Database<'_>) -> Result<Self, OpenError> {
        let db = database.open_reader()?;
        let old = Database::new(old, database.spec());
        let file = std::path::absolute(old.file())
            .map_err(|source| OpenError::Folder { folder: old.file(), source })?;
        // The database is attached with the flags of the connection: read-only.
        db.execute("ATTACH ? AS old", [file.to_string_lossy()]).map_err(|source| old.open_error(source))?;
        Ok(Self(db))
    }

    fn compare(&self) -> rusqlite::Result<Comparison> {
        const SAME: &str = "o.device_id = n.device_id AND o.module_id = n.module_id";
        const KEYS: &str = "o.primary_secret IS NOT n.primary_secret OR o.secondary_secret IS NOT n.secondary_secret \
                            OR o.authentication <> n.authentication";
        let identities = |from: &str| {
            self.find("identity", "n.device_id || iif(n.module_id = '', '', '/' || n.module_id)", from)
        };
        let changed = |condition: &str| {
            identities(&format!("main.identity n JOIN old.identity o ON {SAME} WHERE {condition}"))
        };
        let only = |here: &str, there: &str, table: &str, same: &str| {
            format!("{here}.{table} n WHERE NOT EXISTS (SELECT 1 FROM {there}.{table} o WHERE {same})")
        };
        let by_name = "o.name = n.name";
        let policies = |condition: &str| {
            self.find(
                "policy",
                "n.name",
                &format!("main.policy n JOIN old.policy o ON {by_name} WHERE {condition}"),
            )
        };
        let is_same_file = "o.name = n.name AND o.file = n.file";
        Ok(Comparison {
            deleted_identities: identities(&only("main", "old", "identity", SAME))?,
            lost_identities: identities(&only("old", "main", "identity", SAME))?,
            changed_credentials: changed(&format!("o.generation_id = n.generation_id AND ({KEYS})"))?,
            disabled_identities: changed("o.disabled AND NOT n.disabled")?,
            recreated_identities: changed("o.generation_id <> n.generation_id")?,
            deleted_policies: self.find("policy", "n.name", &only("main", "old", "policy", by_name))?,
            lost_policies: self.find("policy", "n.name", &only("old", "main", "policy", by_name))?,
            changed_policy_keys: policies(
                "o.primary_key <> n.primary_key OR o.secondary_key <> n.secondary_key",
            )?,
            changed_policy_rights: policies("o.rights <> n.rights")?,
            removed_authorities: self.find(
                "authority",
                "n.name",
                &only(
                    "main",
                    "old",
                    "authority",
                    "o.name = n.name AND o.certificate = n.certificate AND o.verified >= n.verified",
                ),
            )?,
            lost_authorities: self.find("authority", "n.name", &only("old", "main", "authority", by_name))?,
            changed_configurations: self.find(
                "configuration",
                "n.id",
                &only("main", "old", "configuration", "o.id = n.id AND o.revision = n.revision"),
            )?,
            ended_jobs: self.find(
                "job",
                "n.id",
                "main.job n WHERE n.phase < 3 \
                 AND NOT EXISTS (SELECT 1 FROM old.job o WHERE o.id = n.id AND o.phase < 3)",
            )?,
            deleted_files: self.find("blob", "n.name", &only("main", "old", "blob", is_same_file))?,
            lost_files: self.find("blob", "n.name", &only("old", "main", "blob", is_same_file))?,
            settled_messages: self
                .count("message", &only("main", "old", "message", "o.sequence = n.sequence"))?,
            lost_messages: self
                .count("message", &only("old", "main", "message", "o.sequence = n.sequence"))?,
            lost_events: 0,
        })
    }

    /// Counts the rows of `from`, and returns the first names. An old database without the table has none.
    fn find(&self, table: &str, name: &str, from: &str) -> rusqlite::Result<Found> {
        let count = self.count(table, from)?;
        if count == 0 {
            return Ok(Found::default());
        }
        let mut select = self.0.prepare(&format!("SELECT {name} FROM {from} ORDER BY 1 LIMIT ?"))?;
        let names =
            select.query_map([MAX_NAMED as i64], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        Ok(Found { count, names })
    }

    fn count(&self, table: &str, from: &str) -> rusqlite::Result<u64> {
        let has_table: bool = self.0.query_row(
            "SELECT count(*) > 0 FROM old.sqlite_schema WHERE type = 'table' AND name = ?",
            params![table],
            |row| row.get(0),
        )?;
        if !has_table {
            return Ok(0);
        }
        let count = self.0.query_row(&format!("SELECT count(*) FROM {from}"), [], |row| row.get::<_, i64>(0));
        count.map(i64::unsigned_abs)
    }

    /// Counts the events that the old log has after those of the backup.
    fn lost_events(&self) -> rusqlite::Result<u64> {
        let count = self.0.query_row(
            "SELECT count(*) FROM old.event e JOIN ( \
                 SELECT partition, max(first) AS first FROM main.lost_events GROUP BY partition \
             ) lost ON e.key >= (lost.partition << 56) + lost.first AND e.key < (lost.partition + 1) << 56",
            [],
            |row| row.get::<_, i64>(0),
        );
        count.map(i64::unsigned_abs)
    }
}
