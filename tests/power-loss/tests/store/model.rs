//! What the store should contain: a second, simple implementation of its operations in memory.

use std::collections::BTreeMap;

use rusqlite::Connection;

/// The contents of `hub.db` that the workload changes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Model {
    /// Primary key, by name.
    pub(crate) policies: BTreeMap<String, String>,
    /// Etag and number of messages, by device and module.
    pub(crate) identities: BTreeMap<(String, String), (String, i64)>,
    /// Version and value of the desired properties, by device.
    pub(crate) twins: BTreeMap<String, (i64, String)>,
    /// Device, message id and size of the body, by sequence number.
    pub(crate) messages: BTreeMap<i64, (String, String, i64)>,
    /// Device and message id, by sequence number.
    pub(crate) feedback: BTreeMap<i64, (String, String)>,
    /// Device, by correlation id.
    pub(crate) uploads: BTreeMap<String, String>,
    /// Blob, by sequence number.
    pub(crate) notifications: BTreeMap<i64, String>,
    /// The last sequence number, by table. It is never used again.
    pub(crate) last_sequence: BTreeMap<String, i64>,
}

impl Model {
    /// Reads the database, and checks that it is sound and that its counters are right.
    pub(crate) fn read(db: &Connection) -> Self {
        let sound: String = db.pragma_query_value(None, "integrity_check", |row| row.get(0)).unwrap();
        assert_eq!(sound, "ok");
        let mut orphans = db.prepare("PRAGMA foreign_key_check").unwrap();
        assert!(!orphans.exists([]).unwrap(), "rows refer to identities that do not exist");
        let model = Self {
            policies: rows(db, "SELECT name, primary_key FROM policy", |row| Ok((row.get(0)?, row.get(1)?))),
            identities: rows(db, "SELECT device_id, module_id, etag, messages FROM identity", |row| {
                Ok(((row.get(0)?, row.get(1)?), (row.get(2)?, row.get(3)?)))
            }),
            twins: rows(db, "SELECT device_id, desired_version, json(desired) FROM twin", |row| {
                Ok((row.get(0)?, (row.get(1)?, row.get(2)?)))
            }),
            messages: rows(
                db,
                "SELECT sequence, device_id, message_id, octet_length(body) FROM message",
                |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?, row.get(3)?))),
            ),
            feedback: rows(db, "SELECT sequence, device_id, message_id FROM feedback", |row| {
                Ok((row.get(0)?, (row.get(1)?, row.get(2)?)))
            }),
            uploads: rows(db, "SELECT correlation_id, device_id FROM upload", |row| {
                Ok((row.get(0)?, row.get(1)?))
            }),
            notifications: rows(db, "SELECT sequence, blob FROM file_notification", |row| {
                Ok((row.get(0)?, row.get(1)?))
            }),
            last_sequence: rows(db, "SELECT name, seq FROM sqlite_sequence WHERE seq > 0", |row| {
                Ok((row.get(0)?, row.get(1)?))
            }),
        };
        let counters: (i64, i64) = db
            .query_row("SELECT devices, messages FROM registry_size", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .unwrap();
        assert_eq!(counters, (model.devices(), model.messages.len() as i64), "the counters are wrong");
        model
    }

    /// The number of devices, without modules.
    fn devices(&self) -> i64 {
        self.identities.keys().filter(|(_, module)| module.is_empty()).count() as i64
    }

    pub(crate) fn has_device(&self, device: &str) -> bool {
        self.identities.contains_key(&(device.to_owned(), String::new()))
    }

    /// Returns the next sequence number of a table.
    pub(crate) fn next_sequence(&mut self, table: &str) -> i64 {
        let last = self.last_sequence.entry(table.to_owned()).or_default();
        *last += 1;
        *last
    }

    /// Adds to the number of messages of a device.
    pub(crate) fn count_messages(&mut self, device: &str, change: i64) {
        if let Some((_, messages)) = self.identities.get_mut(&(device.to_owned(), String::new())) {
            *messages += change;
        }
    }
}

fn rows<K: Ord, V>(
    db: &Connection,
    query: &str,
    row: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<(K, V)>,
) -> BTreeMap<K, V> {
    let mut select = db.prepare(query).unwrap();
    let rows = select.query_map([], row).unwrap();
    rows.map(Result::unwrap).collect()
}
